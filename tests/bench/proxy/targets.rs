//! Who is measured: how each is started and reached, and what it must refuse before anything of it is measured.

mod envoy;
mod mcp_proxy;
mod ours;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::material::{HOST, Material};
use crate::rules;
use crate::running::Running;
use crate::work::Way;

/// One target.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// What it does, for the reader of the figures.
    pub(crate) does: &'static str,
    pub(crate) process: Running,
    pub(crate) way: Way,
    pub(crate) refuses: Refuses,
    /// Tools that its caller sees.
    pub(crate) shown: usize,
    /// Whether a server's stream reaches the caller as it comes.
    pub(crate) streams: bool,
    /// Where it writes a line for each request, if it does.
    pub(crate) log: Option<PathBuf>,
}

/// How a target refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuses {
    /// It lets everybody do everything.
    Nothing,
    /// Callers without certificate.
    Strangers,
    /// Callers without certificate or token (401), tools that no rule allows (403).
    ByStatus,
    /// Callers without token (401), tools that its role does not have (an error in the answer).
    InAnswer,
}

/// Programs that are measured.
pub(crate) struct Programs {
    pub(crate) proxy: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) mcp_proxy: Option<PathBuf>,
}

/// Starts the server and all targets, in the order of their turns. The server comes first and is a target of its own.
pub(crate) fn start(programs: &Programs, material: &Material) -> anyhow::Result<Vec<Target>> {
    let direct = direct(material)?;
    let upstream = direct.way.address.port();
    let mut all = vec![direct];
    all.push(ours::plain(&programs.proxy, material, upstream)?);
    all.push(ours::everything(&programs.proxy, material, upstream)?);
    if let Some(envoy) = &programs.envoy {
        all.push(envoy::plain(envoy, material, upstream)?);
        all.push(envoy::everything(envoy, material, upstream)?);
    }
    if let Some(program) = &programs.mcp_proxy {
        all.push(mcp_proxy::plain(program, material, upstream)?);
        all.push(mcp_proxy::token(program, material, upstream)?);
    }
    Ok(all)
}

fn direct(material: &Material) -> anyhow::Result<Target> {
    let keys = material.write("keys.json", &material.keys.to_string())?;
    let mut process = Running::itself(&["upstream", "--keys", &text(&keys)])?;
    let port: u16 = process.says()?.parse()?;
    Ok(Target {
        name: "direct",
        does: "the server alone, plain HTTP",
        process,
        way: plain_way(port),
        refuses: Refuses::Nothing,
        shown: rules::all(),
        streams: true,
        log: None,
    })
}

fn plain_way(port: u16) -> Way {
    Way {
        address: ([127, 0, 0, 1], port).into(),
        host: HOST.into(),
        path: "/mcp".into(),
        tls: None,
        token: None,
        prefix: String::new(),
    }
}

/// A file to append to: cut to nothing between cells, it begins anew.
fn log_to(path: &Path) -> anyhow::Result<Stdio> {
    Ok(std::fs::File::options().create(true).append(true).open(path)?.into())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
