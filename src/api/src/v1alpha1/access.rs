//! Who may use what of a server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// Who may use what of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.rules) || self.rules.all(r, self.rules.exists_one(o, o.name == r.name))").message("rules: two rules have the same name: give each its own, audit lines call them by it, as in staging-readers and staging-writers"))]
#[x_kube(validation = Rule::new("!has(self.scopeBundles) || self.scopeBundles.all(b, self.scopeBundles.exists_one(o, o.scope == b.scope))").message("scopeBundles: two entries have the same scope: make one of them, as in {scope: files-read, tools: [read_file, list_files]}"))]
pub struct Access {
    /// Rules. Deny wins over Allow, nothing matching is a deny, their order does not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub rules: Vec<AccessRule>,

    /// Scopes that stand for several tools at once, to be named by rules. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub scope_bundles: Vec<ScopeBundle>,
}

/// A scope and what it stands for: a rule that names it permits this, and no more, to tokens that have the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.scope.matches('^[!#-\\\\[\\\\]-~]{1,128}$') && self.scope != 'offline_access'").message("scopeBundles[].scope is 1 to 128 printable ASCII characters without space, '\"' and '\\' (RFC 6749), and not offline_access, which permits nothing, as in filesystem-read"))]
#[x_kube(validation = Rule::new("!has(self.arguments) || (!has(self.resources) && !has(self.methods))").message("scopeBundles[].arguments goes with tools and prompts only, which have arguments: put resources and methods into a bundle of their own, as in {scope: docs-read, resources: ['file:///docs/*']}"))]
pub struct ScopeBundle {
    /// The scope, as in `filesystem-read`.
    #[schemars(length(min = 1, max = 128))]
    pub scope: String,

    /// Other scopes that this one includes: a token that has it needs none of these. They may be bundles, which may include
    /// further ones, or scopes that rules name. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub includes: Vec<String>,

    /// Tools that it is about, as globs. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub tools: Vec<String>,

    /// Prompts that it is about, as globs of their names. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub prompts: Vec<String>,

    /// Resources that it is about, as globs of their URIs. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub resources: Vec<String>,

    /// Further methods that it is about, as globs. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub methods: Vec<String>,

    /// What must hold of the arguments of a call, or of a prompt's: all of these. Default: none, so any arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub arguments: Vec<ArgumentCondition>,
}

/// One rule: it matches when one of its principals does and what is asked for is in one of its lists. It needs at least
/// one of `tools`, `prompts`, `resources` and `methods`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.tools) || has(self.prompts) || has(self.resources) || has(self.methods) || has(self.scopeBundles)").message("rules[] needs at least one of tools, prompts, resources, methods and scopeBundles: list what the rule is about, '*' for all, as in tools: ['get_*']"))]
#[x_kube(validation = Rule::new("!has(self.scopeBundles) || !(has(self.tools) || has(self.prompts) || has(self.resources) || has(self.methods) || has(self.arguments))").message("rules[].scopeBundles says what the rule is about: remove tools, prompts, resources, methods and arguments there, or make a rule of their own for them, as in scopeBundles: [filesystem-read]"))]
#[x_kube(validation = Rule::new("!has(self.scopeBundles) || !has(self.effect) || self.effect != 'Deny'").message("rules[].scopeBundles goes with Allow only: a Deny holds whatever the token was granted, so list its tools there, as in tools: ['write_*']"))]
#[x_kube(validation = Rule::new("!has(self.arguments) || (!has(self.resources) && !has(self.methods))").message("rules[].arguments goes with tools and prompts only, which have arguments: put resources and methods into a rule of their own, as in {name: docs, principals: [{group: developers}], resources: ['file:///docs/*']}"))]
#[x_kube(validation = Rule::new("!has(self.tools) || self.tools.all(t, t.matches('^[A-Za-z0-9_./*?-]{1,128}$'))").message("rules[].tools: a glob is 1 to 128 letters, digits and '_-./', with '*' for any run and '?' for one character, as in get_*"))]
#[x_kube(validation = Rule::new("!has(self.prompts) || self.prompts.all(p, p.matches('^[A-Za-z0-9_./*?-]{1,128}$'))").message("rules[].prompts: a glob is 1 to 128 letters, digits and '_-./', with '*' for any run and '?' for one character, as in review-*"))]
#[x_kube(validation = Rule::new("!has(self.resources) || self.resources.all(r, r.matches('^[!-~]{1,256}$'))").message("rules[].resources: a glob of URIs is 1 to 256 visible ASCII characters, with '*' for any run and '?' for one character, as in file:///docs/*"))]
#[x_kube(validation = Rule::new("!has(self.methods) || self.methods.all(m, m.matches('^[A-Za-z0-9_./*?-]{1,128}$'))").message("rules[].methods: a glob is 1 to 128 letters, digits and '_-./', with '*' for any run and '?' for one character, as in tasks/*"))]
#[x_kube(validation = Rule::new("!has(self.scopes) || !has(self.effect) || self.effect != 'Deny'").message("rules[].scopes goes with Allow only: a Deny holds whatever the token was granted, so remove scopes there, as in {name: nobody-drops, effect: Deny, principals: [{anyAuthenticated: true}], tools: [drop]}"))]
#[x_kube(validation = Rule::new("!has(self.scopes) || self.scopes.all(s, s.matches('^[!#-\\\\[\\\\]-~]{1,128}$') && s != 'offline_access')").message("rules[].scopes: a scope is 1 to 128 printable ASCII characters without space, '\"' and '\\' (RFC 6749), and not offline_access, which permits nothing, as in deploy:write"))]
#[x_kube(validation = Rule::new("!self.name.contains('/')").message("rules[].name has no '/', which stands between a policy and its rule in audit lines: choose another name, as in read-only"))]
pub struct AccessRule {
    /// Name of the rule in audit lines.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// What a match does. Default: Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,

    /// Whom the rule is about: any of these.
    #[schemars(length(min = 1, max = 32))]
    pub principals: Vec<PrincipalMatch>,

    /// Tools that it is about, as globs: any of these. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 128)))]
    pub tools: Vec<String>,

    /// Prompts that it is about, as globs of their names: to get them and to complete their arguments. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 128)))]
    pub prompts: Vec<String>,

    /// Resources that it is about, as globs of their URIs: to read them and to hear of their changes. A template is shown
    /// if it matches as it is written; a URI is only read in its normal form (no `..`, no `//` in its path, nothing
    /// escaped without need). Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 256)))]
    pub resources: Vec<String>,

    /// Further methods that it is about, as globs: `tasks/*`, or one that an extension defines. The server alone keeps
    /// callers apart there. What the other lists are about, and what belongs to every session, is not changed by it.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 128)))]
    pub methods: Vec<String>,

    /// What must hold of the arguments of a call, or of a prompt's: all of these. What cannot be told, since an argument is
    /// missing, is of another type or can be read in two ways, permits nothing, and is refused by a Deny. Lists show what the
    /// rule is about whatever its conditions. Default: none, so any arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub arguments: Vec<ArgumentCondition>,

    /// What must hold beside the conditions on arguments, in CEL: an expression over `args` (the arguments), `request` (`tool`,
    /// `prompt`, `resource` or `method`: the name of what is asked for) and `principal` (`subject`, `issuer`, `groups`,
    /// `scopes`, `attributes`), as in `args.sha.size() == 40`. An error, or an answer that is neither true nor false, permits
    /// nothing, and is refused by a Deny. Values of two types are not equal, which is no error: what a Deny compares belongs
    /// into `arguments`. There are no `map`, `filter`, `matches` and no loop within a loop. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,

    /// OAuth scopes that an Allow needs of the token, all of them. A caller whose token lacks some sees in its lists what the
    /// rule is about, and using it is answered with the step-up challenge (403, `insufficient_scope`) that names these
    /// scopes. A broader scope that includes them gets a rule of its own; of several rules the one that asks for the fewest
    /// further scopes is named. ServiceAccounts and certificates have no scopes: such a rule is not about them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 128)))]
    pub scopes: Vec<String>,

    /// Scopes of `scopeBundles` that an Allow is about: to tokens that have one of them it permits what that bundle lists. The
    /// rule itself has neither `tools`, `prompts`, `resources`, `methods` nor `arguments` then; its `when` and `scopes` count
    /// for each bundle. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128)))]
    pub scope_bundles: Vec<String>,

    /// Moment from which the rule is no more, as in `2026-12-01T18:00:00Z`: for what somebody needs for a while. What it
    /// permitted ends then, open streams too. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// Permits, unless a Deny matches too.
    #[default]
    Allow,
    /// Refuses, whatever else matches.
    Deny,
}

/// What must hold of the values that a path leads to: what each operator asks for that is set. It needs at least one of
/// `equals`, `in`, `prefix`, `suffix`, `glob`, `regex`, `min`, `max`, `cidr`, `pathUnder`, `absent`, `type` and `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.path.startsWith('/')").message("arguments[].path is a JSON pointer into the arguments: begin it with '/', as in /env or /files/*/path"))]
#[x_kube(validation = Rule::new("!has(self.elements) || self.path.matches('/[*](/|$)')").message("arguments[].elements goes with a path that leads to several values: remove it, or lead the path through a segment '*', as in /files/*/path"))]
#[schemars(extend("minProperties" = 2))]
pub struct ArgumentCondition {
    /// JSON pointer (RFC 6901) into the arguments, as in `/env` or `/labels/team`. A segment `*` leads to the elements of an
    /// array; `~2` is a member that is called `*`.
    #[schemars(length(min = 2, max = 256))]
    pub path: String,

    /// Of how many elements it must hold where the path leads to several, which a segment `*` does. Default: Every in an
    /// Allow, Any in a Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<Elements>,

    /// The value: a text, a number, true or false. A number equals another of the same value, however it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub equals: Option<Value>,

    /// Values of which it must be one: texts, numbers, true or false.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_values")]
    pub one_of: Vec<Value>,

    /// What a text begins with. For paths take `pathUnder`: `/data/x` is also how `/data/x-other` begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,

    /// What a text ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub suffix: Option<String>,

    /// Glob of the whole text: `*` for any run of characters, `?` for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub glob: Option<String>,

    /// Regular expression of the whole text (syntax of the Rust crate regex: linear time, no look-around, no
    /// back-references; and no flags here). A server has at most 64 of them, and so has a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub regex: Option<String>,

    /// Smallest number that is permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub min: Option<Number>,

    /// Largest number that is permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub max: Option<Number>,

    /// Network that a text must be an address of, as in `10.0.0.0/8`. A name is no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub cidr: Option<String>,

    /// Folder that a text must be the path of, or the path of something in it. A path must be absolute; one with `..`, with
    /// an escape or with `\\` cannot be told. Links are not seen here: the server must not follow those that lead out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path_under: Option<String>,

    /// Whether nothing may be there (true, beside no other operator) or something must be (false). `null` is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,

    /// What type it must have.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ValueType>,

    /// How many characters a text, elements an array, members an object may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// The type is checked when the rule is compiled: a schema cannot say "text, number or truth value".
fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

fn any_values(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "maxItems": 64, "items": any_value(generator)})
}

fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "number"})
}

/// Of how many elements a condition must hold. Default: Every in an Allow, Any in a Deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Elements {
    /// Of each. Of none at all it cannot be told.
    Every,
    /// Of one at least.
    Any,
}

/// What type a value must have. Default: any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueType {
    /// A text.
    String,
    /// A number.
    Number,
    /// A number without fraction.
    Integer,
    /// True or false.
    Boolean,
    /// An array.
    Array,
    /// An object.
    Object,
    /// `null`.
    Null,
}

/// Bounds of a size, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// No less. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub min: Option<i64>,

    /// No more. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub max: Option<i64>,
}

/// Whom a rule is about: exactly one of `subject`, `group`, `claim`, `serviceAccount`, `spiffeId`,
/// `anyAuthenticated` and `anonymous`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.subject), has(self.group), has(self.claim), has(self.serviceAccount), has(self.spiffeId), has(self.anyAuthenticated), has(self.anonymous)].exists_one(m, m)").message("rules[].principals[] needs exactly one of subject, group, claim, serviceAccount, spiffeId, anyAuthenticated and anonymous: make one entry for each, as in [{group: developers}, {subject: alice}]"))]
#[x_kube(validation = Rule::new("!has(self.issuer) || has(self.subject) || has(self.group) || has(self.claim)").message("rules[].principals[].issuer goes with subject, group or claim only: remove it, or name one of them, as in {group: developers, issuer: corp}"))]
#[x_kube(validation = Rule::new("!has(self.anyAuthenticated) || self.anyAuthenticated").message("rules[].principals[].anyAuthenticated can only be true: remove the entry instead of setting it to false, or name somebody, as in {group: developers}"))]
#[x_kube(validation = Rule::new("!has(self.anonymous) || self.anonymous").message("rules[].principals[].anonymous can only be true: remove the entry instead of setting it to false, or name somebody, as in {group: developers}"))]
#[x_kube(validation = Rule::new("!has(self.spiffeId) || self.spiffeId.matches('^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$')").message("rules[].principals[].spiffeId must look like spiffe://cluster.local/ns/NAMESPACE/sa/NAME, as in spiffe://cluster.local/ns/agents/sa/planner"))]
pub struct PrincipalMatch {
    /// Exact subject of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub subject: Option<String>,

    /// Exact group of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub group: Option<String>,

    /// A claim of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimMatch>,

    /// Name of the issuer (in `spec.auth.issuers`) that subject, group or claim must come from. Default: any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub issuer: Option<String>,

    /// A Kubernetes ServiceAccount that proved itself by its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountName>,

    /// Exact SPIFFE id of a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub spiffe_id: Option<String>,

    /// Everyone with a verified identity. In a Deny also whoever brings none, since leaving a credential out is easy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_authenticated: Option<bool>,

    /// Callers without any credential, which need `insecureAnonymous` to be let in at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
}

/// A claim that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimMatch {
    /// Name of the attribute, as an issuer's `claims.attributes[].name` has it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Exact values, of which the caller must have one. A number, true or false is written as text.
    #[schemars(length(min = 1, max = 32), inner(length(max = 256)))]
    pub values: Vec<String>,
}

/// A Kubernetes ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountName {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
