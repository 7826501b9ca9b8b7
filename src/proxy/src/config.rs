//! The configuration in force: read from its file, compiled into an immutable [`Snapshot`], swapped whole. A file that
//! does not read or compile leaves the former in force and is remembered with the reason.
//!
//! Does not know when to look again ([`crate::reload`]) nor what a request is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cardea_contract::{Listens, ProxyConfig, TokenKind, pod};
use cardea_policy::{CompileError, Policy, Redaction, RedactionError};
use sha2::{Digest, Sha256};

use crate::authn::jwks::KeySourceError;
use crate::authn::{self, Means, StaticTokens, TrustedIssuer};
use crate::identity::{PlainHeaders, unix_now};
use crate::limits::callers::Callers;
use crate::metadata::Endpoint;
use crate::reload::{Reload, Seen};

/// Largest configuration file. A ConfigMap holds 1 MiB at most.
const MAX_BYTES: u64 = 2 << 20;

/// One configuration, compiled. A request takes one and keeps it to its end.
pub(crate) struct Snapshot {
    /// As it was written.
    pub(crate) config: ProxyConfig,
    /// SHA-256 (hex) of what was written.
    pub(crate) digest: String,
    /// Its rules, compiled.
    pub(crate) policy: Policy,
    /// What may not be written down.
    pub(crate) redaction: Redaction,
    /// Plain headers that tell the server who calls.
    pub(crate) identity_headers: PlainHeaders,
    /// The endpoint that is answered, with its RFC 9728 metadata.
    pub(crate) endpoint: Endpoint,
    /// What each caller has taken, by its limits.
    pub(crate) callers: Arc<Callers>,
    /// Its issuers, each with its own keys.
    pub(crate) issuers: Vec<Arc<TrustedIssuer>>,
    /// Its static tokens, if it takes any.
    pub(crate) static_tokens: Option<Arc<StaticTokens>>,
}

/// Why a configuration file is not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, unreadable or too large.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a [`ProxyConfig`] in JSON.
    #[error("the file is not a proxy configuration: {0}")]
    Parse(String),
    /// A rule that makes no sense.
    #[error("the rules do not compile")]
    Rules(#[from] CompileError),
    /// What is to be cut out makes no sense.
    #[error("redact cannot be used")]
    Redact(#[from] RedactionError),
    /// A field that makes no sense.
    #[error("{field}: {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An issuer whose keys cannot be used.
    #[error("issuer {name:?} cannot be used")]
    Issuer {
        /// Its name.
        name: String,
        /// Why.
        source: KeySourceError,
    },
}

impl Snapshot {
    /// Compiles. Issuers that `former` has in the same form keep the keys they have fetched, callers under the same limits
    /// what they have taken.
    fn compile(bytes: &[u8], former: Option<&Self>, means: &Means) -> Result<Self, ConfigError> {
        let config: ProxyConfig = serde_json::from_slice(bytes).map_err(|error| ConfigError::Parse(place(&error)))?;
        validate(&config)?;
        Self::of(config, crate::tls::hex(&Sha256::digest(bytes)), former, means)
    }

    fn of(config: ProxyConfig, digest: String, former: Option<&Self>, means: &Means) -> Result<Self, ConfigError> {
        let policy = Policy::compile_at(&config.rules, now())?;
        let endpoint = Endpoint::new(&config, policy.least_scopes())?;
        let redaction = Redaction::compile(&config.redact)?;
        let identity_headers = match &config.identity_headers {
            None => PlainHeaders::default(),
            Some(asked) => PlainHeaders::compile(asked)
                .ok_or(ConfigError::Field { field: "identityHeaders", problem: "must be different names with x-" })?,
        };
        let mut issuers = Vec::with_capacity(config.authentication.issuers.len());
        for issuer in &config.authentication.issuers {
            let kept = former.and_then(|former| former.issuers.iter().find(|kept| kept.config == *issuer));
            issuers.push(match kept {
                Some(kept) => kept.clone(),
                None => Arc::new(
                    TrustedIssuer::new(issuer.clone(), means)
                        .map_err(|source| ConfigError::Issuer { name: issuer.name.clone(), source })?,
                ),
            });
        }
        let static_tokens = config.authentication.static_tokens.then(|| {
            let kept = former.and_then(|former| former.static_tokens.clone());
            kept.unwrap_or_else(|| Arc::new(StaticTokens::load(means.credentials.join(pod::STATIC_TOKENS))))
        });
        let callers = match former.map(|former| &former.callers) {
            Some(former) if former.limits == config.limits => former.clone(),
            _ => Arc::new(Callers::new(config.limits)),
        };
        Ok(Self { config, digest, policy, redaction, identity_headers, endpoint, callers, issuers, static_tokens })
    }
}

/// Where a file goes wrong, and about which field: never what stands there.
fn place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if ["unknown field", "missing field", "duplicate field"].iter().any(|about| text.starts_with(about)) {
        return text;
    }
    let problem = if error.is_data() { "a value of another kind than expected" } else { "no JSON" };
    format!("{problem} at line {} column {}", error.line(), error.column())
}

/// What JSON and types do not say. The operator has checked this too; a file by another hand must not open anything.
fn validate(config: &ProxyConfig) -> Result<(), ConfigError> {
    let no = |field, problem| Err(ConfigError::Field { field, problem });
    if config.hosts.is_empty() || config.hosts.iter().any(|host| host.is_empty() || *host != host.to_ascii_lowercase())
    {
        return no("hosts", "must be a list of lower-case authorities");
    }
    if !authn::certificate::is_trust_domain(&config.trust_domain) {
        return no("trustDomain", "must be a SPIFFE trust domain without scheme");
    }
    if authn::certificate::trust_domain_of(&config.operator) != Some(config.trust_domain.as_str()) {
        return no("operator", "must be a SPIFFE id of the trust domain");
    }
    if !config.upstream.path.starts_with('/') || config.upstream.path.parse::<http::uri::PathAndQuery>().is_err() {
        return no("upstream.path", "must be a path");
    }
    match &config.upstream.listens {
        Listens::Port(0) => return no("upstream.listens", "the port must not be 0"),
        Listens::Socket(path) if !path.starts_with('/') => {
            return no("upstream.listens", "the socket must be an absolute path");
        }
        Listens::Port(_) | Listens::Socket(_) => {}
    }
    if config.limits.max_body_bytes == 0 || config.limits.request_seconds == 0 || config.limits.concurrent == 0 {
        return no("limits", "must all be above 0");
    }
    let rate = &config.limits.rate;
    let mut rates = [rate.per_server, rate.per_principal, rate.per_tool, rate.failures_per_peer].into_iter().flatten();
    if rates.any(|rate| rate.requests.max(rate.burst).get() > 1_000_000 || rate.per_seconds.get() > 3600) {
        return no("limits.rate", "must be at most 1000000 requests in at most 3600 seconds");
    }
    let issuers = &config.authentication.issuers;
    if issuers.iter().any(|issuer| authn::RESERVED.contains(&issuer.name.as_str())) {
        // A rule about that name would mean both.
        return no("authentication.issuers", "must not bear the name of another kind of evidence");
    }
    let names: HashSet<_> = issuers.iter().map(|issuer| &issuer.name).collect();
    let urls: HashSet<_> = issuers.iter().map(|issuer| &issuer.url).collect();
    if names.len() != issuers.len() || urls.len() != issuers.len() {
        // Two issuers behind one `iss` would make it a matter of order whose keys and rules count.
        return no("authentication.issuers", "must differ in name and in url");
    }
    if issuers.iter().any(|issuer| issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty)) {
        return no("authentication.issuers", "must each list an audience");
    }
    let introspected: Vec<_> = issuers.iter().filter(|issuer| issuer.introspection.is_some()).collect();
    if introspected.len() > 1 {
        // A token that names no issuer would be shown to one that it is not of.
        return no("authentication.issuers", "must not have introspection in more than one");
    }
    if introspected.iter().any(|issuer| issuer.kind == TokenKind::KubernetesServiceAccount) {
        return no("authentication.issuers", "must not have introspection of ServiceAccounts");
    }
    if introspected
        .iter()
        .any(|issuer| issuer.introspection.as_ref().is_some_and(|asked| asked.cache_seconds == Some(0)))
    {
        return no("authentication.issuers", "must have cacheSeconds above 0, or none");
    }
    Ok(())
}

/// The configuration in force, and why the newest file is not, if it is not.
pub(crate) struct ConfigStore {
    path: PathBuf,
    means: Means,
    current: ArcSwap<Snapshot>,
    seen: Mutex<Seen>,
}

impl ConfigStore {
    /// Loads for the first time.
    pub(crate) fn load(path: PathBuf, means: Means) -> Result<Self, ConfigError> {
        let bytes = read(&path)?;
        let snapshot = Snapshot::compile(&bytes, None, &means)?;
        snapshot.issuers.iter().for_each(|issuer| issuer.start());
        let seen = Mutex::new(Seen::in_force(bytes));
        Ok(Self { path, means, current: ArcSwap::from_pointee(snapshot), seen })
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Why the newest file is not in force, if it is not.
    pub(crate) fn rejected(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).rejected()
    }

    /// Time until a rule comes to its end, if one does.
    pub(crate) fn until_an_end(&self) -> Option<Duration> {
        let end = Duration::from_secs(u64::try_from(self.current().policy.until()?).unwrap_or_default());
        Some(end.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// Puts the rules in force that are left, if one has come to its end, or that are again, if the clock was set back: also
    /// while the newest file is not in force. True if it did.
    pub(crate) fn end_rules(&self) -> bool {
        // While it is looked at, nothing else is put in force.
        let _seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if current.policy.holds_at(now()) {
            return false;
        }
        match Snapshot::of(current.config.clone(), current.digest.clone(), Some(&current), &self.means) {
            Ok(snapshot) => self.current.store(Arc::new(snapshot)),
            Err(error) => tracing::error!(error = reason(&error), "a rule stays beyond its end"),
        }
        true
    }

    /// Folder to watch: kubelet swaps a symlink beside the file, not the file.
    pub(crate) fn folder(&self) -> PathBuf {
        self.path.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    /// Folder to watch for static tokens.
    pub(crate) fn static_tokens_folder(&self) -> Option<PathBuf> {
        self.means.credentials.join(pod::STATIC_TOKENS).parent().map(Path::to_path_buf)
    }

    /// Looks at the file again.
    pub(crate) fn reload(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look(read(&self.path), |bytes| {
            let snapshot = Snapshot::compile(bytes, Some(&self.current()), &self.means)?;
            snapshot.issuers.iter().for_each(|issuer| issuer.start());
            self.current.store(Arc::new(snapshot));
            Ok(())
        })
    }
}

/// Seconds since 1970, as rules have them.
fn now() -> i64 {
    i64::try_from(unix_now()).unwrap_or(i64::MAX)
}

/// An error with its sources in one bounded line.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    crate::reload::read_bounded(path, MAX_BYTES).map_err(failed)
}

/// Whether these bytes could be put in force.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn compiles(bytes: &[u8], means: &Means) -> bool {
    Snapshot::compile(bytes, None, means).is_ok()
}

#[cfg(any(test, feature = "fuzzing"))]
impl ConfigStore {
    /// One that has no file.
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub(crate) fn of(config: &str, means: Means) -> Self {
        let snapshot = Snapshot::compile(config.as_bytes(), None, &means).unwrap();
        Self { path: PathBuf::new(), means, current: ArcSwap::from_pointee(snapshot), seen: Mutex::default() }
    }
}

#[cfg(test)]
mod tests;
