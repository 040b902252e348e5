//! The settings of a server.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The settings of a server. The defaults serve this machine only.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system choose one.
    pub port: u16,
    /// Keys of which a request must have one, as `Authorization: Bearer KEY`. Without keys, every request is accepted.
    pub api_keys: Vec<String>,
    /// Origins whose pages may call the server; `*` for all.
    pub cors_origins: Vec<String>,
    /// Names in the `Host` header that are accepted besides those of this machine.
    pub allowed_hosts: Vec<String>,
    /// Texts that are generated at a time.
    pub max_slots: usize,
    /// Requests that wait for a slot; more are refused with 429.
    pub max_queue: usize,
    /// Tokens that a request may ask for, for each text.
    pub max_tokens: usize,
    /// Tokens of a prompt or of the documents of a request.
    pub max_prompt_tokens: usize,
    /// Texts of a request: prompts times samples.
    pub max_texts: usize,
    /// Bytes of the body of a request.
    pub max_body_bytes: usize,
    /// The time after which a request ends with what it has.
    pub request_timeout: Duration,
    /// Called with a line for each request, which has no text of it.
    pub log: Option<fn(&str)>,
    /// The time that requests have to finish after a signal to stop.
    pub shutdown_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            api_keys: Vec::new(),
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_slots: 64,
            max_queue: 256,
            max_tokens: 4096,
            max_prompt_tokens: 65_536,
            max_texts: 128,
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(300),
            log: None,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
