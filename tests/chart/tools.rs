//! Helm, kubectl, and the folders they work on. Knows nothing of what is tested.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Namespace of the operator in every test.
pub(crate) const SYSTEM: &str = "cardea-system";
/// The oldest supported cluster: what is rendered without asking a cluster is rendered for this one.
const OLDEST: &str = "1.33.0";

/// A file or folder of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of a file of the repository.
pub(crate) fn text(path: &str) -> String {
    let file = repository(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Names and texts of the files of a folder, by name.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut names: Vec<String> = std::fs::read_dir(repository(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(extension))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{folder} has no {extension}");
    names.into_iter().map(|name| (name.clone(), text(&format!("{folder}/{name}")))).collect()
}

/// Documents of a YAML stream.
pub(crate) fn documents(stream: &str) -> Vec<Value> {
    stream
        .split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .map(|document| {
            serde_yaml::from_str::<Value>(document).unwrap_or_else(|error| panic!("{error} in:\n{document}"))
        })
        .filter(|document| !document.is_null())
        .collect()
}

/// The document of a kind and name.
pub(crate) fn document<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    documents
        .iter()
        .find(|document| document["kind"] == kind && document["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What a chart renders to with these settings, as of `helm --set`.
pub(crate) fn render(chart: &str, settings: &[&str]) -> String {
    succeed(&mut rendering(chart, settings), None)
}

/// What Helm says when it refuses these settings.
pub(crate) fn render_refused(chart: &str, settings: &[&str]) -> String {
    fail(&mut rendering(chart, settings), None)
}

fn rendering(chart: &str, settings: &[&str]) -> Command {
    let mut helm = helm(&["template", chart, "--namespace", SYSTEM, "--kube-version", OLDEST]);
    helm.arg(repository("charts").join(chart));
    settings.iter().for_each(|setting| {
        helm.args(["--set", setting]);
    });
    helm
}

/// Helm with these arguments.
pub(crate) fn helm(arguments: &[&str]) -> Command {
    let mut helm = Command::new("helm");
    helm.args(arguments);
    helm
}

/// The standard output of kubectl.
pub(crate) fn kubectl(arguments: &[&str]) -> String {
    succeed(Command::new("kubectl").args(arguments), None)
}

/// The standard output of kubectl, which reads `input`.
pub(crate) fn kubectl_with(arguments: &[&str], input: &str) -> String {
    succeed(Command::new("kubectl").args(arguments), Some(input))
}

/// What kubectl says when the API server refuses `input`.
pub(crate) fn kubectl_refused(arguments: &[&str], input: &str) -> String {
    fail(Command::new("kubectl").args(arguments), Some(input))
}

/// The standard output of kubectl, which reads `input`, or what it says when it fails.
pub(crate) fn kubectl_try(arguments: &[&str], input: &str) -> Result<String, String> {
    let (succeeded, out, err) = output(Command::new("kubectl").args(arguments), Some(input));
    if succeeded { Ok(out) } else { Err(err) }
}

/// An object of the cluster, or why there is none.
pub(crate) fn object(arguments: &[&str]) -> Result<Value, String> {
    let (succeeded, out, err) =
        output(Command::new("kubectl").arg("get").args(arguments).args(["--output", "json"]), None);
    if succeeded { Ok(serde_json::from_str(&out).unwrap()) } else { Err(err) }
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command, input: Option<&str>) -> String {
    let (succeeded, out, err) = output(command, input);
    assert!(succeeded, "{command:?} failed: {err}{out}");
    out
}

fn fail(command: &mut Command, input: Option<&str>) -> String {
    let (succeeded, out, err) = output(command, input);
    assert!(!succeeded, "{command:?} should have been refused, but said: {out}");
    err
}

fn output(command: &mut Command, input: Option<&str>) -> (bool, String, String) {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child =
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error} (`cluster path` prints a folder with these programs)")
        });
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that ends early has said why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "a test has no flags")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The cluster of the launcher, for one test at a time, since the names of an installation are fixed; cleared of what the
/// test before it left. None outside of the launcher: whatever cluster KUBECONFIG names then is somebody's own.
pub(crate) fn cluster() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if variable("CARDEA_CLUSTER_TIER").is_none() {
        eprintln!("skipped: no cluster; run this under `cluster run --tier control-plane -- …`");
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for release in ["cardea", "cardea-crds"] {
        succeed(&mut helm(&["uninstall", release, "--namespace", SYSTEM, "--ignore-not-found", "--wait"]), None);
    }
    let crds = ["mcpservers.cardea.dev", "mcpauthpolicies.cardea.dev", "mcpaccesspolicies.cardea.dev"];
    kubectl(&[&["delete", "crd", "--ignore-not-found"][..], &crds].concat());
    kubectl(&["delete", "namespace", SYSTEM, "tools", "elsewhere", "--ignore-not-found"]);
    Some(turn)
}

/// Waits until `check` is content.
#[expect(clippy::disallowed_methods, reason = "nothing to wait on but the passing of time")]
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    const LIMIT: Duration = Duration::from_secs(90);
    let started = Instant::now();
    loop {
        match check() {
            Ok(found) => return found,
            Err(problem) if started.elapsed() > LIMIT => panic!("{what}: not after {LIMIT:?}: {problem}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
