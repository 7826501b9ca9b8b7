//! kubectl and helm as a user has them, found on the PATH. What they complain about becomes the error.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

/// Runs kubectl and gives what it printed.
///
/// # Errors
/// When it fails: its own words.
pub fn kubectl(arguments: &[&str]) -> anyhow::Result<String> {
    run("kubectl", arguments, "")
}

/// Runs helm and gives what it printed.
///
/// # Errors
/// When it fails: its own words.
pub fn helm(arguments: &[&str]) -> anyhow::Result<String> {
    run("helm", arguments, "")
}

/// Applies objects.
///
/// # Errors
/// When the API server refuses one: its own words.
pub fn apply(objects: &[Value]) -> anyhow::Result<()> {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    run("kubectl", &["apply", "--server-side", "--filename=-"], &list.to_string()).map(drop)
}

/// Reads an object.
///
/// # Errors
/// When there is none.
pub fn read(namespace: &str, object: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&kubectl(&["get", object, "--namespace", namespace, "--output=json"])?)?)
}

/// Waits for a condition or a field of objects, as `kubectl wait --for` names it, and tells about the wait every few
/// seconds.
///
/// # Errors
/// When it does not come about within the limit.
pub fn wait(
    namespace: &str,
    objects: &[&str],
    what: &str,
    limit: Duration,
    mut tell: impl FnMut(),
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    let wanted = format!("--for={what}");
    let mut arguments = vec!["wait", "--namespace", namespace, &wanted, "--timeout=3s"];
    arguments.extend(objects);
    loop {
        match kubectl(&arguments) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end || !error.to_string().contains("timed out") => {
                return Err(error.context(format!("waited in vain for {what} of {}", objects.join(" and "))));
            }
            Err(_) => tell(),
        }
    }
}

/// Runs a program to its end with something to read.
///
/// # Errors
/// When it fails: its own words.
pub fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}: is it on the PATH?"))?;
    if let Some(mut stdin) = process.stdin.take() {
        // A program that ends without reading says why in its own words.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = process.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}
