//! What a target must refuse, asked for by hand before it is measured: figures of one that lets everything through would
//! be worth nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use http::StatusCode;
use http_body_util::BodyExt as _;

use crate::caller::Dialer;
use crate::rules;
use crate::running::pause;
use crate::targets::{Refuses, Target};
use crate::work::{TEXT, Tls, Way, Work};

/// Until a line must stand in a log: Envoy writes its own every ten seconds.
const LOG: Duration = Duration::from_secs(20);

/// Fails unless the target does all it is there for.
pub(crate) async fn check(target: &Target) -> anyhow::Result<()> {
    let way = &target.way;
    let mut caller = Dialer::new(way)?.greet().await?;
    caller.ask(Work::Call).await.context("a permitted call")?;
    caller.ask(Work::Big).await.context("a large result")?;
    caller.ask(Work::List { shown: target.shown }).await.context("a list")?;
    if target.streams {
        caller.ask(Work::Events).await.context("a stream")?;
    }
    let without_token = Way { token: None, ..way.clone() };
    let with_broken_token = Way { token: way.token.as_deref().map(broken), ..way.clone() };
    match target.refuses {
        Refuses::Nothing => {}
        Refuses::Strangers => refused_stranger(way).await?,
        Refuses::ByStatus => {
            expect(&without_token, "echo", StatusCode::UNAUTHORIZED).await.context("without token")?;
            expect(&with_broken_token, "echo", StatusCode::UNAUTHORIZED).await.context("with a broken token")?;
            expect(way, &rules::forbidden(), StatusCode::FORBIDDEN).await.context("a forbidden tool")?;
            refused_stranger(way).await?;
        }
        Refuses::InAnswer => {
            expect(&without_token, "echo", StatusCode::UNAUTHORIZED).await.context("without token")?;
            let answer = caller.call(&rules::forbidden()).await?.into_body().collect().await?.to_bytes();
            let answer = String::from_utf8_lossy(&answer).into_owned();
            ensure!(answer.contains("-32602") && !answer.contains(TEXT), "a forbidden tool was not refused: {answer}");
        }
    }
    target.log.as_deref().map_or(Ok(()), logged)
}

/// The same call on a connection that was not greeted: what is refused needs no session.
async fn expect(way: &Way, tool: &str, status: StatusCode) -> anyhow::Result<()> {
    let answer = Dialer::new(way)?.connect().await?.call(tool).await?;
    ensure!(answer.status() == status, "{} instead of {status}", answer.status());
    Ok(())
}

/// Over TLS but without a certificate. TLS 1.3 lets the caller believe that it is connected until it reads.
async fn refused_stranger(way: &Way) -> anyhow::Result<()> {
    let Some(tls) = way.tls.clone() else { bail!("no TLS") };
    let stranger = Way { tls: Some(Tls { caller: None, ..tls }), ..way.clone() };
    let outcome = async { Dialer::new(&stranger)?.connect().await?.call("echo").await };
    ensure!(outcome.await.is_err(), "a caller without certificate was answered");
    Ok(())
}

/// The same token with another signature.
fn broken(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    format!("{signed}.{}", signature.chars().rev().collect::<String>())
}

fn logged(log: &std::path::Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + LOG;
    while !std::fs::read_to_string(log)?.contains("echo") {
        ensure!(Instant::now() < deadline, "a call stands in no line of the log");
        pause(Duration::from_millis(100));
    }
    Ok(())
}
