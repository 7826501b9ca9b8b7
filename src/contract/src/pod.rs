//! Paths, ports and names inside the pod.

/// Port on which the proxy answers MCP, TLS only.
pub const PROXY_PORT: u16 = 8443;
/// Port of the proxy's health, readiness and metrics, and of the keys that verify the signed identity. Plain HTTP.
pub const ADMIN_PORT: u16 = 9090;
/// Where the server listens when the manifest does not say.
pub const DEFAULT_SERVER_PORT: u16 = 8080;
/// MCP endpoint of the server when the manifest does not say.
pub const DEFAULT_SERVER_PATH: &str = "/mcp";

/// The proxy's configuration, a [`ProxyConfig`](crate::ProxyConfig) in JSON, in a mounted ConfigMap.
pub const CONFIG_FILE: &str = "/etc/cardea/config/proxy.json";
/// Folder with `tls.crt` and `tls.key` of the proxy's own leaf and with [`SESSION_KEY`], a mounted Secret.
pub const TLS_DIR: &str = "/etc/cardea/tls";
/// Key of what seals the sessions that the proxies of a server hand out, at least 32 bytes.
pub const SESSION_KEY: &str = "session.key";
/// Folder with the trust bundle, a mounted ConfigMap.
pub const TRUST_DIR: &str = "/etc/cardea/trust";
/// Key of the trust domain's authorities in the trust bundle (PEM).
pub const TRUST_BUNDLE_KEY: &str = "ca.crt";
/// Key of the other authorities whose client certificates are accepted, if any (PEM).
pub const CLIENT_CA_KEY: &str = "clients.crt";

/// Folder with the Secrets that credentials are checked with, each mounted in a folder of its own.
pub const CREDENTIALS_DIR: &str = "/etc/cardea/credentials";
/// Below [`CREDENTIALS_DIR`]: the client secret with which the proxy introspects tokens.
pub const INTROSPECTION_SECRET: &str = "introspection/client-secret";
/// Below [`CREDENTIALS_DIR`]: the static tokens, as digests (JSON).
pub const STATIC_TOKENS: &str = "static/tokens.json";

/// The proxy's read-only report for the operator, a [`ProxyReport`](crate::ProxyReport) in JSON.
pub const REPORT_PATH: &str = "/.cardea/status";
/// Header in which the server finds who is calling: a JWT signed by the proxy (ES256).
pub const IDENTITY_HEADER: &str = "x-cardea-identity";
/// Where the server finds the keys that verify [`IDENTITY_HEADER`], on [`ADMIN_PORT`] of its own pod.
pub const IDENTITY_KEYS_PATH: &str = "/identity/jwks.json";

/// Environment variable with the fetcher's [`SecretsConfig`](crate::SecretsConfig) in JSON.
pub const SECRETS_CONFIG: &str = "CARDEA_SECRETS";
/// Environment variable with the agent's [`ServeConfig`](crate::ServeConfig) in JSON.
pub const SERVE_CONFIG: &str = "CARDEA_SERVE";
/// Where the agent's program lies in the server's container, put there by an init container.
pub const AGENT_PROGRAM: &str = "/run/cardea/bin/cardea-agent";
/// Folder with what stores are asked with: for each a folder with [`STORE_TOKEN`], and [`STORE_CA`] if it has one.
pub const STORES_DIR: &str = "/etc/cardea/stores";
/// Name of the file with the identity for a store.
pub const STORE_TOKEN: &str = "token";
/// Name of the file with further authorities for a store (PEM).
pub const STORE_CA: &str = "ca.crt";
/// File with the key that codes of values are made with; the content of [`SESSION_KEY`].
pub const SECRETS_KEY_FILE: &str = "/etc/cardea/key/session.key";
/// Folder with the secrets that the server is given, each a folder of its own in memory. In it `..data` leads to the
/// version in force, and a link for each file leads into that; a new version is a new target of `..data`.
pub const SECRETS_DIR: &str = "/run/secrets";
/// Name of the link to the version in force.
pub const SECRETS_IN_FORCE: &str = "..data";
/// Folder in a version with the environment variables, a file each.
pub const VARIABLES_DIR: &str = ".env";
/// What became of the secrets, a [`SecretsReport`](crate::SecretsReport) in JSON. The proxy reads it, and can read nothing else of the
/// fetcher's.
pub const SECRETS_REPORT: &str = "/run/cardea/report/secrets.json";
/// Socket on which the agent speaks MCP for a stdio server.
pub const BRIDGE_SOCKET: &str = "/run/cardea/bridge/mcp.sock";
/// Header in which the proxy tells the bridge which requests belong to one principal, in a word that says no more.
pub const PARTITION_HEADER: &str = "x-cardea-partition";
