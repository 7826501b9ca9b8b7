//! What Vault's HTTP API is told and says, as far as it is needed, and what its statuses mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::members::Members;
use crate::store::Lease;

/// Enough for what is sent, so that no buffer grows and leaves a copy behind.
const ROOM: usize = 80 << 10;

/// The role and the token with which one logs in, the same for both methods.
#[derive(Serialize)]
pub(super) struct LoginRequest<'a> {
    pub(super) role: &'a str,
    pub(super) jwt: &'a str,
}

/// What a lease is prolonged with.
#[derive(Serialize)]
pub(super) struct Renewal<'a> {
    pub(super) lease_id: &'a str,
    /// Seconds.
    pub(super) increment: u64,
}

/// What is sent, wiped when it is dropped.
pub(super) fn body(sent: &impl Serialize) -> Bytes {
    let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
    // Nothing that is sent has keys that are no texts, and memory takes whatever is written.
    let _ = serde_json::to_writer(&mut *text, sent);
    Bytes::from_owner(text)
}

/// What logging in and renewing a token give.
#[derive(Deserialize)]
pub(super) struct LoginAnswer<'a> {
    #[serde(borrow)]
    pub(super) auth: Auth<'a>,
}

#[derive(Deserialize)]
pub(super) struct Auth<'a> {
    #[serde(borrow)]
    pub(super) client_token: Cow<'a, str>,
    /// Seconds; 0: for ever.
    pub(super) lease_duration: u32,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// What was asked for lies in `data`.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

/// A version of a secret of KV version 2. Without values it is deleted.
#[derive(Deserialize)]
pub(super) struct KvVersion<'a> {
    #[serde(borrow)]
    pub(super) data: Option<Members<'a>>,
    pub(super) metadata: KvVersionMetadata,
}

#[derive(Deserialize)]
pub(super) struct KvVersionMetadata {
    pub(super) version: u64,
}

/// What is known of a secret of KV version 2 without its values.
#[derive(Deserialize)]
pub(super) struct KvMetadata<'a> {
    pub(super) current_version: u64,
    #[serde(default, borrow)]
    pub(super) versions: BTreeMap<Cow<'a, str>, KvVersionState<'a>>,
}

#[derive(Deserialize)]
pub(super) struct KvVersionState<'a> {
    /// Empty: never.
    #[serde(default, borrow)]
    pub(super) deletion_time: Cow<'a, str>,
    #[serde(default)]
    pub(super) destroyed: bool,
}

/// The lease in an answer; its id is empty if there is none.
#[derive(Deserialize)]
pub(super) struct LeaseTerms<'a> {
    #[serde(default, borrow)]
    lease_id: Cow<'a, str>,
    /// Seconds.
    #[serde(default)]
    lease_duration: u32,
    #[serde(default)]
    renewable: bool,
}

impl LeaseTerms<'_> {
    pub(super) fn lease(self) -> Option<Lease> {
        (!self.lease_id.is_empty()).then(|| Lease {
            id: Zeroizing::new(self.lease_id.into_owned()),
            lasts: Duration::from_secs(self.lease_duration.into()),
            renewable: self.renewable,
        })
    }
}

/// What helps when a secret is asked for.
pub(super) fn help_with_secrets(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        403 => Some("a policy of the role must allow it to be read, and the namespace must be right"),
        404 => Some("check mount, path and version, and whether the engine is KV of version 1 or 2"),
        503 => SEALED,
        _ => None,
    }
}

/// What helps when a login fails.
pub(super) fn help_with_logins(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        400 | 403 => Some(
            "check loginMount and the role, and that the role is bound to the pod's ServiceAccount, its namespace and the token's audience",
        ),
        404 => Some("no such login is mounted: check loginMount and the namespace"),
        503 => SEALED,
        _ => None,
    }
}

/// What helps when a lease cannot be prolonged.
pub(super) fn help_with_leases(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        403 => Some("a policy of the role must allow sys/leases/renew"),
        503 => SEALED,
        _ => None,
    }
}

const SEALED: Option<&str> = Some("it may be sealed");
