//! `cardea-operator`: flags, wiring, the lease and the end. All else is in the library.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use cardea_operator::access_policies::AccessPolicies;
use cardea_operator::admin::{self, Readiness};
use cardea_operator::auth_policies::AuthPolicies;
use cardea_operator::controller::{self, Context};
use cardea_operator::inquiry::{Identity, Inquiry};
use cardea_operator::installation::Installation;
use cardea_operator::left_alone::LeftAlone;
use cardea_operator::metrics::Metrics;
use cardea_operator::nudge;
use cardea_operator::publish::Publisher;
use cardea_operator::secret_stores::SecretStores;
use cardea_operator::watches::Watches;
use cardea_operator::{authority, cluster_issuer, manifests};
use cardea_pki::TrustDomain;
use clap::{Parser, Subcommand};
use futures::future;
use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube_lease_manager::{LeaseManagerBuilder, LeaseParams};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Turns McpServer manifests into closed, working MCP servers.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
enum Command {
    /// Run the operator.
    Run(Run),
    /// Print the CRDs.
    Crd,
}

#[derive(clap::Args)]
struct Run {
    /// Namespace that the operator runs in. The authority's key and the lease live there.
    #[arg(long, env = "CARDEA_NAMESPACE", default_value = "cardea-system")]
    namespace: String,
    /// ServiceAccount that the operator runs under.
    #[arg(long, env = "CARDEA_SERVICE_ACCOUNT", default_value = "cardea-operator")]
    service_account: String,
    /// Name of this replica in the lease and in events. No two replicas may share it: each would think that it leads.
    #[arg(long, env = "CARDEA_INSTANCE")]
    instance: String,
    /// Trust domain of the built-in authority.
    #[arg(long, env = "CARDEA_TRUST_DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// DNS domain of the cluster.
    #[arg(long, env = "CARDEA_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Image of the proxy that stands in front of every server.
    #[arg(long, env = "CARDEA_PROXY_IMAGE")]
    proxy_image: String,
    /// When to pull it.
    #[arg(long, env = "CARDEA_PROXY_PULL_POLICY", default_value = "IfNotPresent")]
    proxy_pull_policy: String,
    /// Image of the agent, for servers with secrets from stores or on stdin and stdout.
    #[arg(long, env = "CARDEA_AGENT_IMAGE")]
    agent_image: String,
    /// When to pull it.
    #[arg(long, env = "CARDEA_AGENT_PULL_POLICY", default_value = "IfNotPresent")]
    agent_pull_policy: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "CARDEA_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    admin_listen: SocketAddr,
    /// What is logged: a level, or directives as of tracing's EnvFilter.
    #[arg(long, env = "CARDEA_LOG", default_value = "info")]
    log: String,
}

/// Seconds that a lease holds without being renewed.
const LEASE_SECONDS: u64 = 15;
/// Seconds before its end at which it is renewed.
const LEASE_GRACE_SECONDS: u64 = 5;
/// How long the cluster's token issuer is waited for at the start: servers that do not name it have no need of it.
const LONGEST_WAIT_FOR_ISSUER: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Crd => print_crds(),
        Command::Run(flags) => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the runtime")
            .and_then(|runtime| runtime.block_on(run(flags))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "cardea-operator ends");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "printing is what this command is for")]
fn print_crds() -> anyhow::Result<()> {
    for (_, crd) in manifests::crds() {
        print!("---\n{}", manifests::yaml(&crd)?);
    }
    Ok(())
}

async fn run(flags: Run) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&flags.log).context("--log")?)
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    let installation = Installation {
        namespace: flags.namespace,
        service_account: flags.service_account,
        trust_domain: TrustDomain::parse(&flags.trust_domain).context("--trust-domain")?,
        cluster_domain: flags.cluster_domain,
        proxy_image: flags.proxy_image,
        proxy_pull_policy: flags.proxy_pull_policy,
        agent_image: flags.agent_image,
        agent_pull_policy: flags.agent_pull_policy,
    };
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let on_signal = stop.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tasks.spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        on_signal.cancel();
    });

    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let listener = TcpListener::bind(flags.admin_listen).await.context("--admin-listen")?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), admin = %listener.local_addr()?, "cardea-operator starts");
    let served = admin::serve(listener, metrics.clone(), readiness.clone());
    tasks.spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "the admin endpoints ended");
        }
    });

    let client = Client::try_default().await.context("cannot find the API server")?;
    let lease = LeaseManagerBuilder::new(client.clone(), "cardea-operator")
        .with_namespace(&installation.namespace)
        .with_parameters(LeaseParams::new(&flags.instance, LEASE_SECONDS, LEASE_GRACE_SECONDS))
        .with_field_manager("cardea-lease")
        .build()
        .await
        .context("cannot read the lease")?;
    let (mut leads, lease) = lease.watch().await;
    // Standing by is what a second replica is for.
    readiness.set(true);
    tokio::select! {
        () = stop.cancelled() => {}
        led = leads.wait_for(|leads| *leads) => {
            led.context("the lease was given up")?;
        }
    }
    if !stop.is_cancelled() {
        tracing::info!(instance = flags.instance, "leads");
        metrics.leads(true);
        readiness.set(false);
        let led = lead(client, installation, flags.instance, metrics.clone(), readiness, stop.clone(), &mut tasks);
        tokio::select! {
            outcome = led => outcome?,
            _ = leads.wait_for(|leads| !*leads) => anyhow::bail!("lost the lease: another replica goes on"),
        }
    }
    // Closing the channel gives the lease back, so that the next replica need not wait for it to run out.
    drop(leads);
    let _ = lease.await;
    tracing::info!("cardea-operator has stopped");
    Ok(())
}

async fn lead(
    client: Client,
    installation: Installation,
    instance: String,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let authority = Arc::new(
        authority::read_or_create(&client, &installation.namespace, &installation.trust_domain, Timestamp::now())
            .await
            .context("cannot read or make the authority")?,
    );
    let (wake, wakes) = mpsc::unbounded_channel();
    let watches = Watches::new(client.clone(), wake.clone());
    let (publish, mut cluster_issuer) = watch::channel(None);
    tasks.spawn(cluster_issuer::follow(client.clone(), publish));
    let (inquiry, commands) = Inquiry::new();
    let (nudge, behind) = mpsc::unbounded_channel();
    tasks.spawn(nudge::run(client.clone(), metrics.clone(), behind));
    tasks.spawn(inquiry.clone().run(commands, Identity::new(authority.clone(), &installation), wake.clone(), nudge));
    let recorder =
        Recorder::new(client.clone(), Reporter { controller: "cardea-operator".to_owned(), instance: Some(instance) });
    let (auth_policies, kept) =
        AuthPolicies::new(client.clone(), recorder.clone(), metrics.clone(), wake.clone(), stop.clone());
    tasks.spawn(kept);
    let (access_policies, kept) =
        AccessPolicies::new(client.clone(), recorder.clone(), metrics.clone(), wake.clone(), stop.clone());
    tasks.spawn(kept);
    let (secret_stores, kept) =
        SecretStores::new(client.clone(), recorder.clone(), metrics.clone(), wake.clone(), stop.clone());
    tasks.spawn(kept);
    // A server that is looked at before these are known would be found wanting, for a moment and for all to see.
    let issuer = tokio::time::timeout(LONGEST_WAIT_FOR_ISSUER, cluster_issuer.changed());
    let known = future::join5(
        watches.start(tasks),
        auth_policies.known(),
        access_policies.known(),
        secret_stores.known(),
        issuer,
    );
    tokio::select! {
        _ = known => readiness.set(true),
        () = stop.cancelled() => return Ok(()),
    }
    let context = Arc::new(Context {
        client,
        installation,
        authority,
        watches,
        auth_policies,
        access_policies,
        secret_stores,
        inquiry,
        cluster_issuer,
        metrics,
        recorder,
        publisher: Publisher::default(),
        left_alone: LeftAlone::default(),
        failures: Mutex::new(HashMap::new()),
    });
    controller::run(context, wakes, stop).await;
    Ok(())
}
