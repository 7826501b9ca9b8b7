//! Whether every secret has been delivered: what holds the server back until then. A program of its own each time, so it
//! knows only what lies in the folders and what the report says.

use cardea_contract::pod;

use super::{Fetch, report};

/// Most secrets that a message names.
const NAMED: usize = 5;

/// Prints what is not delivered yet, and what the matter is, if that is known: it becomes an event of the pod. Gives
/// whether everything is.
#[expect(clippy::print_stdout, reason = "the kubelet shows what its probes print")]
pub fn ready(fetch: &Fetch) -> bool {
    let report = report::read(&fetch.report).unwrap_or_default();
    let missing: Vec<_> = fetch
        .config
        .secrets
        .iter()
        .filter_map(|secret| {
            let told = report.secrets.iter().find(|told| told.name == secret.name);
            // A report may be older than what is in memory.
            let there = fetch.secrets_dir.join(&secret.name).join(pod::SECRETS_IN_FORCE).exists();
            if there && told.is_some_and(|told| told.version.is_some()) {
                return None;
            }
            let trouble =
                told.and_then(|told| told.trouble.as_ref()).map_or("not fetched yet", |trouble| &trouble.message);
            Some(format!("{}: {trouble}", secret.name))
        })
        .collect();
    if !missing.is_empty() {
        let named = missing.get(..NAMED).unwrap_or(&missing).join("; ");
        println!("{} of {} secrets are not there: {named}", missing.len(), fetch.config.secrets.len());
    }
    missing.is_empty()
}
