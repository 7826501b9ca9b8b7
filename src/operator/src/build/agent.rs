//! The agent in the server's container: put there by an init container, through a volume in memory, and told by its
//! environment how to start the server. Where it bridges stdio, the proxy reaches it by a socket in a volume of its own.

use cardea_contract::{ServeConfig, pod};
use serde_json::{Value, json};

use super::workload::{NOBODY, folder, hardened};
use crate::installation::Installation;

const PROGRAM_VOLUME: &str = "agent";
const BRIDGE_VOLUME: &str = "bridge";

/// Puts the agent's program where the server's container finds it.
pub(super) fn install(installation: &Installation) -> Value {
    json!({
        "name": "cardea-install",
        "image": installation.agent_image,
        "imagePullPolicy": installation.agent_pull_policy,
        "args": ["install"],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            // What it writes stays in memory.
            "limits": {"memory": "128Mi"},
        },
        "securityContext": hardened(Some(NOBODY)),
        "volumeMounts": [{"name": PROGRAM_VOLUME, "mountPath": folder(pod::AGENT_PROGRAM)}],
    })
}

/// The variable by which it is told.
pub(super) fn told(serve: &ServeConfig) -> Value {
    variable(pod::SERVE_CONFIG, &json!(serve))
}

/// A variable with JSON in it, to the letter: the kubelet would put values of other variables in place of `$(NAME)`.
pub(super) fn variable(name: &str, config: &Value) -> Value {
    json!({"name": name, "value": config.to_string().replace('$', "$$")})
}

/// What the server's container has of it.
pub(super) fn server_mounts(serve: &ServeConfig) -> Vec<Value> {
    let program = json!({"name": PROGRAM_VOLUME, "mountPath": folder(pod::AGENT_PROGRAM), "readOnly": true});
    let bridge = json!({"name": BRIDGE_VOLUME, "mountPath": folder(pod::BRIDGE_SOCKET)});
    std::iter::once(program).chain(serve.stdio.is_some().then_some(bridge)).collect()
}

/// What the proxy has of it: the way to the bridge.
pub(super) fn proxy_mount(serve: &ServeConfig) -> Option<Value> {
    let bridge = json!({"name": BRIDGE_VOLUME, "mountPath": folder(pod::BRIDGE_SOCKET), "readOnly": true});
    serve.stdio.is_some().then_some(bridge)
}

pub(super) fn volumes(serve: &ServeConfig) -> Vec<Value> {
    let memory = |name: &str, size: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}});
    let bridge = serve.stdio.is_some().then(|| memory(BRIDGE_VOLUME, "1Mi"));
    std::iter::once(memory(PROGRAM_VOLUME, "64Mi")).chain(bridge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_variable_gets_into_a_configuration() {
        let told = variable("A", &json!(["$(HOME)", "$1", "a$$b"]));
        assert_eq!(told["value"], r#"["$$(HOME)","$$1","a$$$$b"]"#);
    }
}
