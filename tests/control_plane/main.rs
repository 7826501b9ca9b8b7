//! The operator against a real API server with its real controllers, and no node: pods are wanted but never run.

#![expect(clippy::indexing_slicing, reason = "a JSON value without the member gives null, and a test may fail")]

mod access_policies;
mod auth_policies;
mod bed;
mod children;
mod lifecycle;
mod pods;
mod questions;
mod refusal;
mod secrets;
mod status;

use std::process::ExitCode;
use std::sync::Arc;

use cardea_tests::{cluster, trials};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let Ok(runtime) = Runtime::new().map(Arc::new) else { return ExitCode::FAILURE };
    let missing = cluster::tier().is_none().then_some("no cluster was started (`make test` does)");
    let bed = bed::Bed::lazily();
    let trials = [
        access_policies::trials(&bed, &runtime),
        auth_policies::trials(&bed, &runtime),
        children::trials(&bed, &runtime),
        lifecycle::trials(&bed, &runtime),
        questions::trials(&bed, &runtime),
        refusal::trials(&bed, &runtime),
        secrets::trials(&bed, &runtime),
        status::trials(&bed, &runtime),
    ];
    let code = trials::conclude(trials.into_iter().flatten().collect(), missing);
    runtime.block_on(bed.tear_down());
    code
}
