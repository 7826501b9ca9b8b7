//! What a server's pod may do, as its manifest says and as the kernel enforces it.

use anyhow::{Context as _, ensure};
use cardea_tests::kubectl::{kubectl, read, run};
use serde_json::{Value, json};

use crate::bed::{Bed, DEMO};
use crate::pods;

pub(crate) async fn it_is_restricted_and_has_no_token(bed: &Bed) -> anyhow::Result<()> {
    bed.made().await?;
    let bare = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": DEMO},
        "spec": {"containers": [{"name": "bare", "image": "bare"}]},
    });
    let refused = run("kubectl", &["apply", "--dry-run=server", "--filename=-"], &bare.to_string());
    let why = refused.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(
        why.contains("violates PodSecurity \"restricted"),
        "the namespace admits pods that are not restricted: {why}"
    );

    let label = "--selector=cardea.dev/server=everything";
    let name = kubectl(&["get", "pods", "--namespace", DEMO, label, "--output=jsonpath={.items[*].metadata.name}"])?;
    let name = name.split_whitespace().next().context("no pod of everything")?;
    let pod = read(DEMO, &format!("pod/{name}"))?;
    let spec = &pod["spec"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    ensure!(spec["automountServiceAccountToken"] == false, "a token is mounted by default");
    let tokens = list(&spec["volumes"]).into_iter().filter(|volume| {
        list(&volume["projected"]["sources"]).iter().any(|source| source.get("serviceAccountToken").is_some())
    });
    ensure!(tokens.count() == 0, "a volume has a token: {}", spec["volumes"]);
    let containers = [list(&spec["initContainers"]), list(&spec["containers"])].concat();
    ensure!(containers.len() == 2, "the pod has {} containers", containers.len());
    for container in containers {
        let mounts = list(&container["volumeMounts"]);
        let token = mounts.iter().any(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
        ensure!(!token, "a token is mounted into {}", container["name"]);
        let security = &container["securityContext"];
        let closed = security["allowPrivilegeEscalation"] == false
            && security["runAsNonRoot"] == true
            && security["readOnlyRootFilesystem"] == true
            && security["capabilities"] == json!({"drop": ["ALL"]});
        ensure!(closed, "{} may do more than it should: {security}", container["name"]);
    }
    from_inside(name)
}

/// The same, as the process finds it.
fn from_inside(pod: &str) -> anyhow::Result<()> {
    let script = r#"
        const fs = require('fs');
        const status = fs.readFileSync('/proc/1/status', 'utf8');
        const field = name => status.match(new RegExp(`^${name}:\\s*(\\w+)`, 'm'))[1];
        let written = 'written';
        try { fs.writeFileSync('/probe', ''); } catch (error) { written = error.code; }
        console.log(JSON.stringify({
            token: ['/var/run/secrets', '/run/secrets'].filter(folder => fs.existsSync(folder)),
            root: field('Uid') === '0',
            capabilities: field('CapEff') + field('CapBnd'),
            noNewPrivileges: field('NoNewPrivs'),
            seccomp: field('Seccomp'),
            written,
        }));
    "#;
    let found = pods::node(DEMO, pod, script, &[])?;
    let expected = json!({
        "token": [], "root": false, "capabilities": "0".repeat(32), "noNewPrivileges": "1", "seccomp": "2",
        "written": "EROFS",
    });
    ensure!(found == expected, "inside of the container: {found}");
    Ok(())
}
