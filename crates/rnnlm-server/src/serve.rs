//! The life of a server: listening, reloading, stopping.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::ServerConfig;
use crate::engine::Command;
use crate::error::{Error, Result};
use crate::routes;
use crate::state::{AppState, Loader, Models};

/// Serves models until SIGTERM or Ctrl-C. `on_ready` is called with the address. SIGHUP calls `reload`; if it returns models,
/// they replace the others, and requests that have begun keep theirs.
///
/// After the first signal to stop, new requests are refused, and those that have begun have
/// [`ServerConfig::shutdown_timeout`] to finish; then every text ends with what it has. A second signal ends them at once.
///
/// # Errors
/// If the address cannot be used, or the system refuses threads or signal handlers.
pub fn serve(
    config: ServerConfig,
    loader: &Loader,
    models: Models,
    on_ready: impl FnOnce(SocketAddr),
    reload: impl Fn() -> Option<Models> + Send + Sync + 'static,
) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build()?;
    let state = Arc::new(AppState::new(config, models, loader.metrics.clone()));
    let app = routes::app(state.clone())?;
    let outcome = runtime.block_on(async {
        let address = SocketAddr::new(state.config.host, state.config.port);
        let listening = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listening)?;
        on_ready(listener.local_addr().map_err(listening)?);
        let (stop, stopped) = watch::channel(false);
        let signals = tokio::spawn(handle_signals(state.clone(), stop, Arc::new(reload)));
        let shutdown = wait_for(stopped.clone());
        let server = axum::serve(listener, app).with_graceful_shutdown(shutdown);
        // connections that stay open after all texts have ended do not delay the end
        let limit = async {
            wait_for(stopped).await;
            tokio::time::sleep(state.config.shutdown_timeout + GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = server => outcome.map_err(Error::from),
            () = limit => Ok(()),
        };
        signals.abort();
        outcome
    });
    runtime.shutdown_background();
    outcome
}

/// The time after the last text in which responses are written.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // an error means that the sender is gone, which ends the server as well
    let _ = stopped.wait_for(|&is_stopped| is_stopped).await;
}

/// Waits for signals until the server stops.
async fn handle_signals(
    state: Arc<AppState>,
    stop: watch::Sender<bool>,
    reload: Arc<dyn Fn() -> Option<Models> + Send + Sync>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                let reload = reload.clone();
                if let Ok(Some(models)) = tokio::task::spawn_blocking(move || reload()).await {
                    state.replace_models(models);
                }
            }
        }
    }
    state.stop();
    let _ = stop.send(true);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(state.config.shutdown_timeout) => {}
    }
    for model in &state.models().models {
        let _ = model.engine.send(Command::End);
    }
    // the server ends when the responses are written
    std::future::pending().await
}
