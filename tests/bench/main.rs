//! `make bench`: what the operator and the proxy cost, on a control plane of their own, one `bench: NAME=VALUE UNIT` a
//! line. Figures are printed, not judged: a machine that is busy makes them worse, not wrong.

mod kubelet;
mod operators;
mod proxies;

use anyhow::Context as _;

#[expect(clippy::print_stdout, reason = "printing figures is what this program is for")]
fn bench(name: &str, value: f64, unit: &str) {
    println!("bench: {name}={value:.1} {unit}");
}

#[expect(clippy::print_stderr, reason = "a minute of silence looks like a hang")]
fn say(what: &str) {
    eprintln!("bench: {what}");
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    proxies::run().await.context("proxy")?;
    operators::run().await.context("operator")
}
