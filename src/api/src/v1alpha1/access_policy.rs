//! The `McpAccessPolicy`: who may use what, said once for several servers by whoever answers for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Access, LocalRef};

/// Who may use what, and of which servers. Its rules count beside those that a server has itself and those of its other
/// policies: one Deny among them all wins.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "cardea.dev",
    version = "v1alpha1",
    kind = "McpAccessPolicy",
    plural = "mcpaccesspolicies",
    namespaced,
    status = "McpAccessPolicyStatus",
    derive = "PartialEq",
    shortname = "cmacc",
    category = "cardea",
    doc = "Who may use which tools, prompts and resources of the McpServers that it names or selects in its namespace.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(
        name = "In-Force",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="InForce")].status"#
    ),
    printcolumn(name = "Servers", type_ = "integer", json_path = ".status.serverCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("metadata.name must be at most 63 characters, since audit lines call rules by it: choose a shorter name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.targetRefs) != has(self.selector)").message("spec needs exactly one of targetRefs and selector: name the McpServers, or select them by their labels ('selector: {}' for all of the namespace)"))]
pub struct McpAccessPolicySpec {
    /// McpServers of this namespace that the policy governs. One that does not exist yet is governed from its first moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100))]
    pub target_refs: Vec<LocalRef>,

    /// Selects the McpServers of this namespace that the policy governs, by their labels. An empty selector selects all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub selector: Option<LabelSelector>,

    /// The rules. While they make no sense the last that did stay in force.
    #[serde(flatten)]
    pub access: Access,
}

/// A label selector of Kubernetes, with the bounds that its own schema lacks.
fn selector(_: &mut SchemaGenerator) -> Schema {
    let label = json!({"type": "string", "maxLength": 63});
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that a server must have, with these values.",
                "type": "object", "maxProperties": 16, "additionalProperties": label,
            },
            "matchExpressions": {
                "description": "What else must hold of its labels: all of these.",
                "type": "array", "maxItems": 16,
                "items": {
                    "type": "object", "required": ["key", "operator"],
                    "properties": {
                        "key": {"description": "The label.", "type": "string", "minLength": 1, "maxLength": 317},
                        "operator": {
                            "description": "How its value relates to `values`.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values, for In and NotIn alone.",
                            "type": "array", "maxItems": 32, "items": label,
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                        "message": "selector.matchExpressions[]: In and NotIn need values, Exists and DoesNotExist have none, as in {key: team, operator: In, values: [payments]}",
                    }],
                },
            },
        },
    })
}

/// What became of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpAccessPolicyStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, whether the rules make sense; InForce, whether every proxy of every server that is governed
    /// decides by this generation; and the summary Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// McpServers that the policy governs, the first 100 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub servers: Vec<GovernedServer>,

    /// Number of McpServers that the policy governs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_count: Option<i32>,

    /// What of the rules has no effect on a server, or does not fit the tools that it has, the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<RuleWarning>,
}

/// An McpServer that a policy governs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GovernedServer {
    /// Its name.
    pub name: String,

    /// Generation of the policy that each of its proxies decides by, at least. None: no proxy has told, or one has none of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// What of a rule has no effect, or does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleWarning {
    /// The McpServer that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,

    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,

    /// What it is, and what helps.
    pub message: String,
}
