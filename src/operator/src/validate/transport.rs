//! How a server speaks MCP, where the proxy finds it, and what the agent in its container is told where one is needed.

use std::num::NonZeroU32;

use cardea_api::v1alpha1::{Isolation, Transport, TransportType};
use cardea_contract::pod;
use cardea_contract::{self as contract, GivenSecret, Listens, ServeConfig};

use super::Rejection;

/// Most processes of a stdio server in a pod.
const MAX_PROCESSES: u32 = 32;
/// Seconds after which one ends that nobody asks anything.
const IDLE_SECONDS: u32 = 300;
/// What a bridge takes as one message at least: answers are longer than questions.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Longest configuration of the agent: Linux takes 128 KiB in one variable.
pub(super) const LONGEST_CONFIG: usize = 96 * 1024;

/// Where the proxy finds the server.
///
/// # Errors
/// When a port or path is taken.
pub(super) fn upstream(transport: &Transport) -> Result<contract::Upstream, Rejection> {
    let path = transport.path.clone().unwrap_or_else(|| pod::DEFAULT_SERVER_PATH.to_owned());
    if ["/.cardea/", "/.well-known/"].iter().any(|taken| path.starts_with(taken)) {
        return Err(Rejection::invalid(format!("spec.transport.path: {path:?} belongs to the proxy: choose another")));
    }
    let (listens, transport) = match transport.kind.unwrap_or_default() {
        TransportType::StreamableHttp => (Listens::Port(port(transport)?), contract::Transport::StreamableHttp),
        TransportType::Sse => (Listens::Port(port(transport)?), contract::Transport::Sse),
        TransportType::Stdio => (Listens::Socket(pod::BRIDGE_SOCKET.to_owned()), contract::Transport::StreamableHttp),
    };
    Ok(contract::Upstream { listens, path, transport })
}

fn port(transport: &Transport) -> Result<u16, Rejection> {
    let Some(port) = transport.port else { return Ok(pod::DEFAULT_SERVER_PORT) };
    u16::try_from(port)
        .ok()
        .filter(|port| ![0, pod::PROXY_PORT, pod::ADMIN_PORT].contains(port))
        .ok_or_else(|| Rejection::invalid(format!("spec.transport.port: {port} cannot be used: choose another")))
}

/// What the agent in the server's container is told; none if the server needs no agent there. `command` is that of a server
/// which listens by itself.
///
/// # Errors
/// When there is no command, or more of it than a process can be told.
pub(super) fn serve(
    transport: &Transport,
    path: &str,
    command: Vec<String>,
    secrets: Vec<GivenSecret>,
    max_body_bytes: usize,
) -> Result<Option<ServeConfig>, Rejection> {
    let stdio = transport.kind == Some(TransportType::Stdio);
    let config = match &transport.stdio {
        Some(asked) if stdio => ServeConfig {
            command: asked.command.clone(),
            stdio: Some(contract::Stdio {
                path: path.to_owned(),
                isolation: match asked.isolation.unwrap_or_default() {
                    Isolation::PerSession => contract::Isolation::PerSession,
                    Isolation::Shared => contract::Isolation::Shared,
                },
                max_processes: positive(asked.max_processes).map_or(MAX_PROCESSES, NonZeroU32::get),
                idle_seconds: positive(asked.idle_seconds).map_or(IDLE_SECONDS, NonZeroU32::get),
                max_message_bytes: max_body_bytes.max(MAX_MESSAGE_BYTES),
            }),
            secrets,
        },
        _ if stdio => {
            return Err(Rejection::invalid(
                "spec.transport.type: a stdio server needs spec.transport.stdio.command: its program and arguments",
            ));
        }
        _ if secrets.iter().any(needs_agent) => ServeConfig { command, stdio: None, secrets },
        _ => return Ok(None),
    };
    let bytes = serde_json::json!(config).to_string().len();
    if bytes > LONGEST_CONFIG {
        return Err(Rejection::invalid(format!(
            "{}: {bytes} bytes with all that belongs to it, and a process can be told {LONGEST_CONFIG}: put long arguments into a file of the image",
            if stdio { "spec.transport.stdio.command" } else { "spec.workload.command" }
        )));
    }
    Ok(Some(config))
}

/// Whether whoever is given this secret must be started by the agent.
pub(super) fn needs_agent(secret: &GivenSecret) -> bool {
    !secret.env.is_empty() || secret.on_rotation == contract::OnRotation::Signal
}

/// The schema has refused what is not positive.
fn positive(number: Option<i32>) -> Option<NonZeroU32> {
    number.and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(command: &[&str], max_body_bytes: usize) -> Result<Option<ServeConfig>, Rejection> {
        let transport = json!({"type": "Stdio", "stdio": {"command": command}});
        let transport = serde_json::from_value(transport).unwrap();
        serve(&transport, "/mcp", vec![], vec![], max_body_bytes)
    }

    #[test]
    fn a_bridge_takes_as_much_as_the_proxy_and_no_less_than_its_own() {
        let bytes =
            |max_body_bytes| told(&["server"], max_body_bytes).unwrap().unwrap().stdio.unwrap().max_message_bytes;
        assert_eq!(bytes(1), 8 << 20);
        assert_eq!(bytes(64 << 20), 64 << 20);
    }

    #[test]
    fn what_a_process_cannot_be_told_is_refused() {
        let long = "x".repeat(4096);
        assert!(told(&[long.as_str(); 20], 0).is_ok());
        let message = told(&[long.as_str(); 30], 0).unwrap_err().message;
        assert!(message.starts_with("spec.transport.stdio.command: 12"), "{message}");
        let transport = serde_json::from_value(json!({"type": "Stdio"})).unwrap();
        assert!(serve(&transport, "/mcp", vec![], vec![], 0).unwrap_err().message.contains("stdio.command"));
    }
}
