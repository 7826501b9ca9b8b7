//! Certificates: an authority, the leaf of a server, and when it is due. The only place that uses `rcgen`.
//!
//! Draws keys at random, and is otherwise pure: the clock is an argument, PEM goes in and out as text. Knows nothing of
//! Kubernetes, of where keys are kept or how they reach a proxy.

mod authority;
mod leaf;
mod renewal;
mod spiffe;

pub use authority::Authority;
pub use leaf::{Leaf, LeafRequest};
pub use renewal::{LeafFacts, Renewal, decide, due};
pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};

/// A private key in PEM (PKCS#8). Wiped when dropped, and deliberately without `Debug`.
pub type PrivateKeyPem = zeroize::Zeroizing<String>;

/// A key that seals sessions (32 bytes). Wiped when dropped, and deliberately never shown.
pub type SessionKey = zeroize::Zeroizing<Vec<u8>>;

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making or reading a key or certificate.
    #[error("cannot make or read a key or certificate")]
    Rcgen(#[from] rcgen::Error),
    /// The authority's certificate is not one.
    #[error("the authority's certificate cannot be read")]
    Unreadable,
    /// The authority's key and certificate do not belong together.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// The trust bundle lacks the authority's own certificate.
    #[error("the trust bundle lacks the authority's own certificate")]
    Untrusted,
    /// A leaf must not outlive its authority.
    #[error("the authority ends at {authority_end}, before the leaf would: it must be replaced first")]
    OutlivesAuthority {
        /// End of the authority.
        authority_end: jiff::Timestamp,
    },
    /// A moment that a certificate cannot carry.
    #[error("{0} cannot stand in a certificate")]
    Moment(jiff::Timestamp),
}
