//! Tests that need a cluster: run where there is one, and otherwise named as not run.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// Makes a trial of an async test.
pub fn trial<F, T>(name: &str, runtime: &Arc<Runtime>, test: F) -> Trial
where
    F: FnOnce() -> T + Send + 'static,
    T: Future<Output = anyhow::Result<()>>,
{
    let runtime = runtime.clone();
    Trial::test(name, move || runtime.block_on(test()).map_err(|error| Failed::from(format!("{error:#}"))))
}

/// Leaves a trial out, and says so, if something is missing for it.
#[expect(clippy::print_stderr, reason = "a test binary speaks to a person")]
pub fn unless(trial: Trial, missing: Option<&str>) -> Trial {
    if let Some(why) = missing {
        eprintln!("not run here, since {why}: {}", trial.name());
    }
    trial.with_ignored_flag(missing.is_some())
}

/// Runs the trials, or says which of them had no cluster to run on, and why.
#[expect(clippy::print_stderr, reason = "a test binary speaks to a person")]
pub fn conclude(trials: Vec<Trial>, missing: Option<&str>) -> ExitCode {
    let arguments = Arguments::from_args();
    match missing {
        None => libtest_mimic::run(&arguments, trials).exit_code(),
        Some(why) => {
            eprintln!("not run here, since {why}:");
            for trial in &trials {
                eprintln!("  {}", trial.name());
            }
            let ignored = trials.into_iter().map(|trial| trial.with_ignored_flag(true)).collect();
            libtest_mimic::run(&arguments, ignored).exit_code()
        }
    }
}
