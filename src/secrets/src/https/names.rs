//! Names of stores as the pod's own resolver knows them, asked for without libc: the image has none that could.
//!
//! Does not know who is asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::OnceCell;

/// The resolver of this machine, made when the first name is asked for.
#[derive(Default)]
pub(super) struct Names(Arc<OnceCell<TokioResolver>>);

/// No address belongs to the name, as far as the resolver knows.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct Unresolved;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let resolver = resolver.get_or_try_init(async || made()).await?;
            let found = resolver.lookup_ip(name.as_str()).await.map_err(|_| Unresolved)?;
            let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn made() -> Result<TokioResolver, Unresolved> {
    let mut builder = TokioResolver::builder_tokio().map_err(|_| Unresolved)?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    builder.build().map_err(|_| Unresolved)
}
