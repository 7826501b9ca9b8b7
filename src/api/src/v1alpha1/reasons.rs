//! Reasons: the closed set of words that conditions, events and metrics share. They are part of the API.

/// Condition types.
pub mod condition {
    /// The spec makes sense.
    pub const ACCEPTED: &str = "Accepted";
    /// The proxy's certificate and the trust bundle exist and are current.
    pub const CERTIFICATE_READY: &str = "CertificateReady";
    /// Every secret that the spec names was found by the kubelet, or delivered from its store.
    pub const SECRETS_READY: &str = "SecretsReady";
    /// The NetworkPolicy is in place.
    pub const NETWORK_ISOLATED: &str = "NetworkIsolated";
    /// The rules are compiled and, once a proxy reports, in force in every one.
    pub const POLICY_READY: &str = "PolicyReady";
    /// The wanted pods are ready.
    pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
    /// An MCP handshake through the proxy has succeeded.
    pub const VERIFIED: &str = "Verified";
    /// A client that has never been here could log in at every authorization server. Ready does not wait for it.
    pub const LOGIN_READY: &str = "LoginReady";
    /// The tools are as they were approved. Ready does not wait for it.
    pub const TOOLS_PINNED: &str = "ToolsPinned";
    /// Every proxy that is concerned decides by the newest version (McpAccessPolicy).
    pub const IN_FORCE: &str = "InForce";
    /// The store answers those who ask it (McpSecretStore).
    pub const REACHED: &str = "Reached";
    /// Nothing unsafe was opened.
    pub const HARDENED: &str = "Hardened";
    /// All of the above.
    pub const READY: &str = "Ready";
    /// Work towards the spec goes on (kstatus).
    pub const RECONCILING: &str = "Reconciling";
    /// Work towards the spec cannot go on without a change by someone else (kstatus).
    pub const STALLED: &str = "Stalled";
    /// An object that shall go is still used (McpAuthPolicy, McpSecretStore).
    pub const DELETION_HELD: &str = "DeletionHeld";

    /// All of them.
    pub const ALL: [&str; 16] = [
        ACCEPTED,
        CERTIFICATE_READY,
        SECRETS_READY,
        NETWORK_ISOLATED,
        POLICY_READY,
        WORKLOAD_AVAILABLE,
        VERIFIED,
        LOGIN_READY,
        TOOLS_PINNED,
        IN_FORCE,
        REACHED,
        HARDENED,
        READY,
        RECONCILING,
        STALLED,
        DELETION_HELD,
    ];
}

/// The spec makes sense.
pub const ACCEPTED: &str = "Accepted";
/// The spec breaks a rule that the schema cannot express.
pub const INVALID: &str = "Invalid";
/// `spec.suspend` is set.
pub const SUSPENDED: &str = "Suspended";
/// An object of the same name stands in the way and belongs to someone else.
pub const FOREIGN_OBJECT: &str = "ForeignObject";
/// The API server refused or failed a write; it is tried again.
pub const APPLY_FAILED: &str = "ApplyFailed";
/// The operator may not write Secrets in this namespace.
pub const NO_RIGHT_ON_SECRETS: &str = "NoRightOnSecrets";
/// The certificate is valid and its renewal is scheduled.
pub const ISSUED: &str = "Issued";
/// The certificate cannot be issued or renewed.
pub const ISSUE_FAILED: &str = "IssueFailed";
/// A ConfigMap with authorities that the spec names is missing or unreadable.
pub const CA_NOT_FOUND: &str = "CaNotFound";
/// The spec names no secret.
pub const NONE_DECLARED: &str = "NoneDeclared";
/// Every secret was found.
pub const MOUNTED: &str = "Mounted";
/// A Secret or one of its keys is missing.
pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// The McpSecretStore that a secret names does not exist.
pub const STORE_NOT_FOUND: &str = "StoreNotFound";
/// A secret is brought by what is not installed in the cluster.
pub const KIND_NOT_INSTALLED: &str = "KindNotInstalled";
/// Every secret of a store is delivered, and every Secret exists.
pub const ALL_DELIVERED: &str = "AllDelivered";
/// A store cannot be reached; what it gave before stands.
pub const STORE_UNAVAILABLE: &str = "StoreUnavailable";
/// A secret was not delivered yet, so the server has not started.
pub const NOT_DELIVERED: &str = "NotDelivered";
/// A secret could not be looked after for longer than its values may go without.
pub const SECRETS_STALE: &str = "SecretsStale";
/// A store refuses the server's identity, or what it asks for.
pub const STORE_REFUSES: &str = "Refused";
/// There is no such secret in the store, or no such key in it.
pub const SECRET_NOT_IN_STORE: &str = "NotFound";
/// The store answers.
pub const STORE_REACHED: &str = "Answers";
/// Nobody uses it.
pub const NOT_USED: &str = "NotUsed";
/// The NetworkPolicy is in place.
pub const ENFORCED_BY_POLICY: &str = "DefaultDeny";
/// The rules are compiled and handed to the proxies.
pub const COMPILED: &str = "Compiled";
/// Every proxy that reports enforces this generation.
pub const IN_FORCE: &str = "InForce";
/// A proxy refused its configuration.
pub const CONFIG_REJECTED: &str = "ConfigRejected";
/// A proxy cannot get the keys of an issuer.
pub const ISSUER_UNREACHABLE: &str = "IssuerUnreachable";
/// The McpAuthPolicy that the spec names does not exist.
pub const POLICY_NOT_FOUND: &str = "PolicyNotFound";
/// An McpAccessPolicy that governs the server makes no sense, and no version before it is known.
pub const POLICY_NOT_ACCEPTED: &str = "PolicyNotAccepted";
/// Every tool is as it was approved.
pub const TOOLS_AS_APPROVED: &str = "AsApproved";
/// A tool is not as it was approved, or was not.
pub const TOOLS_CHANGED: &str = "ToolsChanged";
/// Nothing says what tools must be like.
pub const NOT_PINNED: &str = "NotPinned";
/// McpServers use it.
pub const IN_USE: &str = "InUse";
/// Clients can register and log in.
pub const LOGIN_POSSIBLE: &str = "LoginPossible";
/// An authorization server does not offer PKCE with S256, without which clients of MCP refuse to go on.
pub const NO_PKCE: &str = "NoPkce";
/// An authorization server knows only clients that an administrator registered.
pub const NO_REGISTRATION: &str = "NoClientRegistration";
/// An authorization server's metadata cannot be read, or is another's.
pub const METADATA_UNREADABLE: &str = "MetadataUnreadable";
/// The issuer of ServiceAccount tokens could not be read from the cluster.
pub const CLUSTER_ISSUER_UNKNOWN: &str = "ClusterIssuerUnknown";
/// The wanted pods are ready.
pub const AVAILABLE: &str = "Available";
/// Scaled to nothing.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";
/// Pods are on their way.
pub const PROGRESSING: &str = "Progressing";
/// An image cannot be pulled.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// A container ends again and again.
pub const CRASHING: &str = "CrashLoop";
/// A container cannot be configured.
pub const CONTAINER_CONFIG: &str = "ContainerConfigError";
/// Pods cannot be created.
pub const PODS_REFUSED: &str = "PodsRefused";
/// The handshake succeeded.
pub const HANDSHAKE_SUCCEEDED: &str = "HandshakeSucceeded";
/// The server did not speak MCP.
pub const HANDSHAKE_FAILED: &str = "HandshakeFailed";
/// The proxy cannot be reached.
pub const PROXY_UNREACHABLE: &str = "ProxyUnreachable";
/// Nobody was asked yet.
pub const PENDING: &str = "Pending";
/// Nothing unsafe was opened.
pub const CLOSED: &str = "Closed";
/// Something was opened that weakens the server.
pub const OPENED: &str = "Opened";
/// All is well.
pub const READY: &str = "Ready";
/// Nothing to do.
pub const SETTLED: &str = "Settled";

/// All of them.
pub const ALL: [&str; 53] = [
    ACCEPTED,
    INVALID,
    SUSPENDED,
    FOREIGN_OBJECT,
    APPLY_FAILED,
    NO_RIGHT_ON_SECRETS,
    ISSUED,
    ISSUE_FAILED,
    CA_NOT_FOUND,
    NONE_DECLARED,
    MOUNTED,
    SECRET_NOT_FOUND,
    STORE_NOT_FOUND,
    KIND_NOT_INSTALLED,
    ALL_DELIVERED,
    STORE_UNAVAILABLE,
    NOT_DELIVERED,
    SECRETS_STALE,
    STORE_REFUSES,
    SECRET_NOT_IN_STORE,
    STORE_REACHED,
    NOT_USED,
    ENFORCED_BY_POLICY,
    COMPILED,
    IN_FORCE,
    CONFIG_REJECTED,
    ISSUER_UNREACHABLE,
    POLICY_NOT_FOUND,
    POLICY_NOT_ACCEPTED,
    TOOLS_AS_APPROVED,
    TOOLS_CHANGED,
    NOT_PINNED,
    IN_USE,
    LOGIN_POSSIBLE,
    NO_PKCE,
    NO_REGISTRATION,
    METADATA_UNREADABLE,
    CLUSTER_ISSUER_UNKNOWN,
    AVAILABLE,
    SCALED_TO_ZERO,
    PROGRESSING,
    IMAGE_PULL_FAILED,
    CRASHING,
    CONTAINER_CONFIG,
    PODS_REFUSED,
    HANDSHAKE_SUCCEEDED,
    HANDSHAKE_FAILED,
    PROXY_UNREACHABLE,
    PENDING,
    CLOSED,
    OPENED,
    READY,
    SETTLED,
];
