//! Arguments that clients send in headers too (2026-07-28, Streamable HTTP, "Custom Headers from Tool Parameters"): which
//! they are, as the tool's schema says.
//!
//! Does not know how a header spells a value.

use serde_json::Value;

use super::schema::MAX_DEPTH;

/// How a schema says so.
pub(super) const MARK: &str = "x-mcp-header";
/// Most that are remembered of a tool; a request has room for no more.
const MAX_MIRRORS: usize = 64;

/// An argument that is sent in a header too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// What stands behind `Mcp-Param-`, in lower case.
    pub header: String,
    /// Names of the members that lead to the argument.
    pub path: Vec<String>,
}

impl Mirror {
    /// The argument; none if it is not there, or null, which counts as that.
    pub fn value<'v>(&self, arguments: &'v Value) -> Option<&'v Value> {
        let found = self.path.iter().try_fold(arguments, |value, name| value.as_object()?.get(name))?;
        (!found.is_null()).then_some(found)
    }
}

/// All of a schema, reached by `properties` alone. None where a mark is not as it must be: such a tool is none to clients.
pub(super) fn of_schema(schema: &Value) -> Vec<Mirror> {
    let mut found = Vec::new();
    gather(schema, &mut Vec::new(), &mut found);
    let mut names: Vec<_> = found.iter().map(|mirror| &mirror.header).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() == found.len() && found.len() <= MAX_MIRRORS { found } else { Vec::new() }
}

fn gather(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mirror>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    if path.len() == MAX_DEPTH {
        return;
    }
    for (name, property) in properties {
        path.push(name.clone());
        let primitive = matches!(property.get("type").and_then(Value::as_str), Some("string" | "integer" | "boolean"));
        let header = property.get(MARK).and_then(Value::as_str).filter(|header| primitive && is_token(header));
        if let Some(header) = header.filter(|_| found.len() <= MAX_MIRRORS) {
            found.push(Mirror { header: header.to_ascii_lowercase(), path: path.clone() });
        }
        gather(property, path, found);
        path.pop();
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_count_where_properties_lead_to_them() {
        let schema = json!({
            "type": "object",
            "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "place": {"properties": {"zone": {"type": "integer", "x-mcp-header": "zone"}}},
                "weight": {"type": "number", "x-mcp-header": "Weight"},
                "odd": {"type": "string", "x-mcp-header": "a b"},
                "list": {"type": "array", "items": {"type": "string", "x-mcp-header": "Item"}},
                "plain": {"type": "string"}
            },
            "anyOf": [{"properties": {"x": {"type": "string", "x-mcp-header": "X"}}}]
        });
        let named = |header: &str, path: &[&str]| Mirror {
            header: header.to_owned(),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut found = of_schema(&schema);
        found.sort_by(|one, other| one.path.cmp(&other.path));
        assert_eq!(found, [named("zone", &["place", "zone"]), named("region", &["region"])]);
        let twice = json!({"properties": {
            "a": {"type": "string", "x-mcp-header": "Region"},
            "b": {"type": "string", "x-mcp-header": "region"}
        }});
        assert_eq!(of_schema(&twice), []);
        assert_eq!(of_schema(&Value::Null), []);
    }

    #[test]
    fn null_counts_as_nothing() {
        let mirror = Mirror { header: "zone".into(), path: vec!["place".into(), "zone".into()] };
        for (arguments, expected) in [
            (json!({"place": {"zone": 1}}), Some(json!(1))),
            (json!({"place": {"zone": null}}), None),
            (json!({"place": [1]}), None),
            (json!({}), None),
        ] {
            assert_eq!(mirror.value(&arguments), expected.as_ref(), "{arguments}");
        }
    }
}
