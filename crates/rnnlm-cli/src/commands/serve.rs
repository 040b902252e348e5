//! `rnnlm serve`: an HTTP server for runs.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rnnlm_model::{Backend, Recurrence, Run};
use rnnlm_server::{Loader, ModelInfo, Models, ServedModel, ServerConfig};

use crate::args::{Compute, warn_if_untrained};
use crate::compute::{self, Task};
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::values::at_least_one;
use crate::{describe, output};

const EXAMPLES: &str = "\
Examples:
  rnnlm serve runs/names
  rnnlm serve names=runs/names-gru-1 logs=runs/log-lstm-2 --port 9000
  curl http://127.0.0.1:8080/v1/completions -d '{\"prompt\": \"A\"}' -H 'Content-Type: application/json'

SIGHUP loads the runs again without dropping requests. SIGTERM and Ctrl-C refuse new requests and let the others
finish within --shutdown-timeout.";

/// Serve runs over HTTP: OpenAI's completions API, scores, and a page for the browser.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Folders of runs. A model has the name of its folder, or NAME. The first one is the default of requests.
    #[arg(value_name = "[NAME=]RUN", required = true)]
    runs: Vec<String>,
    /// Serve the models with the best validation perplexity instead of the last ones.
    #[arg(long)]
    best: bool,
    /// Address to listen on. 0.0.0.0 and :: are all networks of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Network")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one, which is printed.
    #[arg(long, value_name = "N", default_value_t = 8080, help_heading = "Network")]
    port: u16,
    /// File with keys, one in a line, of which a request must have one: `Authorization: Bearer KEY`.
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    api_key_file: Option<PathBuf>,
    /// Origin of pages that may call the server, such as `https://example.org`; * for all. May be repeated.
    #[arg(long = "cors-origin", value_name = "ORIGIN", help_heading = "Network")]
    cors_origins: Vec<String>,
    /// Name of this server in the Host header, besides those of this machine. May be repeated.
    #[arg(long = "allowed-host", value_name = "NAME", help_heading = "Network")]
    allowed_hosts: Vec<String>,
    /// Texts that are generated at a time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one, help_heading = "Limits")]
    max_slots: usize,
    /// Requests that may wait; more get status 429.
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Limits")]
    max_queue: usize,
    /// Tokens that a request may ask for, for each text.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = at_least_one, help_heading = "Limits")]
    max_tokens: usize,
    /// Tokens of the prompts or documents of a request.
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = at_least_one, help_heading = "Limits")]
    max_prompt_tokens: usize,
    /// Seconds after which a request ends with what it has.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, help_heading = "Limits")]
    request_timeout: u64,
    /// Seconds that requests have to finish after a signal to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, help_heading = "Limits")]
    shutdown_timeout: u64,
    /// Print no line for each request. No line has a text of a request.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    compute: Compute,
}

pub(crate) fn run(args: &ServeArgs) -> Result<Exit> {
    let runs: Vec<(String, PathBuf)> = args.runs.iter().map(|run| named(run)).collect();
    for (index, (name, path)) in runs.iter().enumerate() {
        if let Some((_, other)) = runs[..index].iter().find(|(other, _)| other == name) {
            let message = format!("`{}` and `{}` have the same name, {name}", other.display(), path.display());
            return Err(Failure::usage(message).with_hint("name one of them: NAME=RUN"));
        }
    }
    let api_keys = args.api_key_file.as_deref().map(read_keys).transpose()?.unwrap_or_default();
    if !args.host.is_loopback() && api_keys.is_empty() {
        error_line("warning: other machines can call this server without a key; --api-key-file requires one");
    }
    let config = ServerConfig {
        host: args.host,
        port: args.port,
        api_keys,
        cors_origins: args.cors_origins.clone(),
        allowed_hosts: args.allowed_hosts.clone(),
        max_slots: args.max_slots,
        max_queue: args.max_queue,
        max_tokens: args.max_tokens,
        max_prompt_tokens: args.max_prompt_tokens,
        request_timeout: Duration::from_secs(args.request_timeout),
        shutdown_timeout: Duration::from_secs(args.shutdown_timeout),
        log: (!args.quiet).then_some(error_line as fn(&str)),
        ..ServerConfig::default()
    };
    compute::run(&args.compute, ServeTask { args, runs, config })
}

/// The name of a model and the folder of its run.
fn named(run: &str) -> (String, PathBuf) {
    match run.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') => (name.to_owned(), PathBuf::from(path)),
        _ => {
            let path = PathBuf::from(run);
            let folder = path.canonicalize().unwrap_or_else(|_| path.clone());
            let name = folder.file_name().map_or_else(|| run.to_owned(), |name| name.to_string_lossy().into_owned());
            (name, path)
        }
    }
}

/// The keys of a file, one in a line.
fn read_keys(path: &Path) -> Result<Vec<String>> {
    let cannot_read = |error| Failure::failed(format!("`{}` cannot be read: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(cannot_read)?;
    let keys: Vec<String> = text.lines().map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(Failure::failed(format!("`{}` has no key", path.display())).with_hint("write one key in a line"));
    }
    Ok(keys)
}

struct ServeTask<'a> {
    args: &'a ServeArgs,
    runs: Vec<(String, PathBuf)>,
    config: ServerConfig,
}

impl Task for ServeTask<'_> {
    fn run<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, runs, config } = self;
        let loader = Loader::new(&config);
        let models = load_all(args.best, args.compute.path.into(), &runs, &loader, backend)?;
        let names = models.names().collect::<Vec<_>>().join(", ");
        error_line(&format!("models  {names} on {}", Backend::name(backend)));
        let (best, path, again, backend) = (args.best, args.compute.path.into(), loader.clone(), backend.clone());
        let reload = move || match load_all(best, path, &runs, &again, &backend) {
            Ok(models) => {
                error_line("the runs were loaded again");
                Some(models)
            }
            Err(failure) => {
                error_line(&format!("warning: the runs cannot be loaded again, the old ones stay: {failure}"));
                None
            }
        };
        let on_ready = |address| {
            // a closed standard output does not stop the server
            let _ = output::line(&format!("http://{address}"));
        };
        rnnlm_server::serve(config, &loader, models, on_ready, reload).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let failure = Failure::failed(format!("{error}{cause}"));
            match error {
                rnnlm_server::Error::Listen { .. } => failure.with_hint("--port 0 takes a free port"),
                rnnlm_server::Error::Origin(_) => failure.with_hint("write it as --cors-origin https://example.org"),
                _ => failure,
            }
        })?;
        Ok(Exit::Success)
    }
}

/// Loads every run.
fn load_all<B: Recurrence>(
    best: bool,
    path: rnnlm_rnn::ExecutionPath,
    runs: &[(String, PathBuf)],
    loader: &Loader,
    backend: &B,
) -> Result<Models> {
    let load = |(name, folder): &(String, PathBuf)| -> Result<ServedModel> {
        let run = Run::open(folder)?;
        if !best {
            warn_if_untrained(&run)?;
        }
        let model = if best { run.load_best(backend, path)? } else { run.load(backend, path)? };
        let metrics = run.all_metrics().unwrap_or_default();
        let info = ModelInfo {
            digest: run.model_sha256(best)?.unwrap_or_default(),
            description: describe::model(run.model()),
            parameters: model.parameters().layout().len() as u64,
            metrics: metrics.iter().filter_map(|line| serde_json::to_value(line).ok()).collect(),
        };
        loader.load(name.clone(), model, run.vocab().clone(), info).map_err(|error| match error {
            rnnlm_server::Error::Model(error) => Failure::from(error),
            error => Failure::failed(error.to_string()),
        })
    };
    runs.iter().map(load).collect()
}
