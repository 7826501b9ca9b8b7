//! What counts as evidence of who is calling.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, McpAuthPolicySpec, SecretKeyRef};

/// What counts as evidence of who is calling one server: said by an McpAuthPolicy, or here by the other members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.policyRef) || !(has(self.issuers) || has(self.staticTokens) || has(self.kubernetesServiceAccounts) || has(self.clientCertificates) || has(self.insecureAnonymous))").message("spec.auth.policyRef stands alone, since the policy says all that counts: remove it, or the other members of spec.auth"))]
pub struct Auth {
    /// McpAuthPolicy in the same namespace that says what counts, for this server as for all others that name it. If it is
    /// missing the server is left as it is, and `PolicyReady` says so. Default: the other members say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalRef>,

    /// Said here, for this server alone.
    #[serde(flatten)]
    pub inline: McpAuthPolicySpec,
}

/// An authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && !(self.name in ['kubernetes', 'certificate', 'static', 'anonymous', 'cardea-proxy'])").message("issuers[].name must be lower-case letters, digits and '-', and none of 'kubernetes', 'certificate', 'static', 'anonymous' and 'cardea-proxy'"))]
#[x_kube(validation = Rule::new("self.url.matches('^https://[^/?#]+[^?#]*$')").message("issuers[].url must begin with https:// and have neither query nor fragment"))]
#[x_kube(validation = Rule::new("!has(self.jwksUrl) || self.jwksUrl.matches('^https://[^/?#]+')").message("issuers[].jwksUrl must begin with https://, since whoever answers it decides whom the server believes"))]
#[x_kube(validation = Rule::new("!has(self.introspection) || has(self.introspection.url) || !has(self.jwksUrl)").message("issuers[].introspection.url must be set beside jwksUrl, since the issuer's metadata is not read then"))]
pub struct Issuer {
    /// Name by which rules and audit lines call this issuer.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,

    /// Issuer identifier: exactly what its tokens carry as `iss`.
    #[schemars(length(min = 1, max = 512))]
    pub url: String,

    /// Audiences of which a token must carry one. Default: the server's own URL (`status.address.url`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub audiences: Vec<String>,

    /// Where its keys are. Default: its metadata says so (OpenID Connect Discovery, RFC 8414).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub jwks_url: Option<String>,

    /// ConfigMap in the same namespace whose key `ca.crt` (PEM) holds further authorities to trust when talking to the
    /// issuer. Default: the public ones. If it is missing the server is left as it is, and `PolicyReady` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<LocalRef>,

    /// Which claims say who the caller is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,

    /// Ask the issuer about its tokens (RFC 7662), so that one that was revoked is worth nothing, and one that is no JWT is
    /// worth something. A token that names no issuer is shown to this one; one that names it is verified by its keys too.
    /// While the issuer does not answer, these tokens are refused. Default: tokens must be JWTs and are not asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
}

/// How an issuer is asked about its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.url) || self.url.matches('^https://[^/?#]+')").message("issuers[].introspection.url must begin with https://, since it is shown every token"))]
pub struct Introspection {
    /// Where to ask. Default: the issuer's metadata says (`introspection_endpoint`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub url: Option<String>,

    /// Client identifier by which the issuer knows who asks.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,

    /// Client secret that goes with it. The operator never reads it: the kubelet gives it to the proxy's container alone.
    pub client_secret_ref: SecretKeyRef,

    /// Seconds for which an answer may be believed, so long at most does a revoked token live on. Default: the issuer is
    /// asked on every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub cache_seconds: Option<i64>,
}

/// Tokens that a Secret knows by their digests. Each begins with `cardea_` and goes on with at least 32 random characters;
/// nobody may make one up, since a digest hides only what cannot be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticTokens {
    /// Secret in the same namespace whose key `tokens.json` holds `{"tokens": [{"subject", "sha256", "groups", "scopes",
    /// "attributes", "notAfter"}]}`. A change counts within a minute or two without a restart; a file that is no good leaves
    /// the former in force, and `PolicyReady` says so. The operator never reads it: the kubelet gives it to the proxy's
    /// container alone. While the Secret or the key is missing the server does not start, and `SecretsReady` says so.
    pub secret_ref: LocalRef,
}

/// Which claims of a token say who the caller is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.attributes) || self.attributes.all(a, self.attributes.exists_one(o, o.name == a.name))").message("claims.attributes: two entries have the same name: give each its own"))]
pub struct Claims {
    /// Claim with the subject: the name of a claim, or a JSON Pointer to a member of one, such as `/user/id`. Default: `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub subject: Option<String>,

    /// Claim with the groups, a string or a list of strings: the name of a claim, or a JSON Pointer to a member of one,
    /// such as `/realm_access/roles`. Default: `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub groups: Option<String>,

    /// Further claims that rules may ask about. The server finds them in its signed identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub attributes: Vec<AttributeClaim>,
}

/// A claim that becomes an attribute of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name.matches('^[A-Za-z0-9_.-]+$')").message("claims.attributes[].name must be letters, digits and '_', '.', '-'"))]
pub struct AttributeClaim {
    /// Name by which rules (`principals[].claim.name`) and the signed identity call it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Claim with its values, a string, a number, true or false, or a list of those: the name of a claim, or a JSON Pointer
    /// to a member of one, such as `/address/country`. A token without it has no value; one with a value of another kind is
    /// refused.
    #[schemars(length(min = 1, max = 128))]
    pub claim: String,
}

/// Tokens of Kubernetes ServiceAccounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesServiceAccounts {
    /// Audiences of which a token must carry one. Default: the server's own URL (`status.address.url`). A client gets
    /// such a token from a projected volume with that audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub audiences: Vec<String>,
}

/// Client certificates as identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {}
