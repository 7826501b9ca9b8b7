//! Cardea as a user has it: installed from its charts, on a node that runs pods and enforces policies. The first trial is
//! the demo, and what it installs is what all others work with.

#![expect(clippy::indexing_slicing, reason = "a JSON value without the member gives null")]

mod agent;
mod bed;
mod demo;
mod identities;
mod network;
mod operator;
mod pod;
mod pods;
mod propagation;
mod reload;
mod rollout;
mod secrets;
mod tools;

use std::process::ExitCode;
use std::sync::Arc;

use cardea_tests::trials::trial;
use cardea_tests::{cluster, trials};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let Ok(runtime) = Runtime::new().map(Arc::new) else { return ExitCode::FAILURE };
    let missing = (cluster::tier().as_deref() != Some("node"))
        .then_some("no cluster with a node was started (`make test` does, as root on Linux)");
    let bed = Arc::new(bed::Bed::default());
    macro_rules! trials {
        ($($module:ident::$name:ident),* $(,)?) => {
            vec![$({
                let bed = bed.clone();
                let name = concat!(stringify!($module), "::", stringify!($name));
                trial(name, &runtime, async move || $module::$name(&bed).await)
            }),*]
        };
    }
    if cluster::setting("CARDEA_BENCH").is_some() {
        return trials::conclude(trials![propagation::figures], missing);
    }
    let trials = trials![
        demo::the_demo_passes,
        secrets::they_reach_the_server_alone_and_follow_their_source,
        rollout::an_image_that_cannot_be_pulled_is_named_while_the_old_pod_serves,
        rollout::a_crashing_server_is_named,
        reload::rules_change_in_the_running_proxy,
        reload::a_certificate_changes_under_load,
        propagation::a_revoked_grant_is_refused_and_nothing_restarts,
        tools::what_is_not_as_it_was_approved_is_refused_until_it_is_approved,
        network::the_server_reaches_what_the_manifest_opens,
        network::the_proxy_alone_is_reached_and_by_declared_peers_alone,
        pod::it_is_restricted_and_has_no_token,
        identities::a_foreign_authority_vouches_for_its_own_alone,
        operator::its_restart_is_not_noticed,
    ];
    trials::conclude(trials, missing)
}
