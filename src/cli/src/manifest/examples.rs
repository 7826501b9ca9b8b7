//! One example of right for each field that people write into rules, for messages that cannot know what was meant.

/// A rule as it may be.
const RULE: &str = r#"{name: readers, principals: [{group: developers}], tools: ["get_*"]}"#;
/// All of them.
const RULES: &str = r#"rules: [{name: readers, principals: [{group: developers}], tools: ["get_*"]}]"#;

/// By name of the field.
const EXAMPLES: [(&str, &str); 37] = [
    ("absent", "absent: true"),
    ("anonymous", "anonymous: true"),
    ("anyAuthenticated", "anyAuthenticated: true"),
    ("arguments", "arguments: [{path: /env, in: [staging, test]}]"),
    ("cidr", "cidr: 10.0.0.0/8"),
    ("claim", "claim: {name: team, values: [payments]}"),
    ("effect", "effect: Deny"),
    ("elements", "elements: Any"),
    ("equals", "equals: production"),
    ("glob", "glob: team-a-*"),
    ("group", "group: developers"),
    ("in", "in: [staging, production]"),
    ("includes", "includes: [filesystem-read]"),
    ("issuer", "issuer: corp"),
    ("max", "max: 100"),
    ("methods", r#"methods: ["tasks/*"]"#),
    ("min", "min: 1"),
    ("name", "name: readers"),
    ("namespace", "namespace: ci"),
    ("notAfter", r#"notAfter: "2026-12-01T18:00:00Z""#),
    ("path", "path: /env"),
    ("pathUnder", "pathUnder: /data/team-a"),
    ("prefix", "prefix: feature-"),
    ("principals", "principals: [{group: developers}]"),
    ("prompts", "prompts: [review]"),
    ("regex", "regex: '[a-z]+-[0-9]{1,4}'"),
    ("resources", r#"resources: ["file:///docs/*"]"#),
    ("scope", "scope: filesystem-read"),
    ("scopes", r#"scopes: ["deploy:write"]"#),
    ("serviceAccount", "serviceAccount: {namespace: ci, name: runner}"),
    ("size", "size: {max: 40}"),
    ("spiffeId", "spiffeId: spiffe://cluster.local/ns/agents/sa/planner"),
    ("subject", "subject: alice"),
    ("suffix", "suffix: .example.com"),
    ("tools", r#"tools: ["get_*"]"#),
    ("type", "type: Integer"),
    ("when", "when: args.sha.size() == 40"),
];

/// One for the field of this path, as in `spec.access.rules[0].tools`, if it is one of a rule or a bundle. What has no
/// example of its own has that of what it stands in.
pub(super) fn of(path: &str) -> Option<&'static str> {
    let (before, within) = ["rules", "scopeBundles"].iter().find_map(|list| path.split_once(&format!(".{list}")))?;
    let of_bundle = path.get(before.len()..).is_some_and(|rest| rest.starts_with(".scopeBundles"));
    let mut names = within.split('.').rev().map(|step| step.split('[').next().unwrap_or_default());
    let named = names.find_map(|name| EXAMPLES.iter().find(|(field, _)| *field == name));
    Some(match named {
        Some((_, example)) => example,
        None if within.is_empty() && !of_bundle => RULES,
        None if within.ends_with("scopeBundles") => "scopeBundles: [filesystem-read]",
        None if of_bundle => r#"scopeBundles: [{scope: filesystem-read, tools: ["read_*"]}]"#,
        None => RULE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_an_example_has_that_of_what_it_stands_in() {
        for (path, expected) in [
            ("spec.access.rules[0].tools[1]", Some(r#"tools: ["get_*"]"#)),
            ("spec.rules[3].principals[0].claim.values", Some("claim: {name: team, values: [payments]}")),
            ("spec.access.rules[0].tool", Some(RULE)),
            ("spec.access.rules[0]", Some(RULE)),
            ("spec.rules", Some(RULES)),
            ("spec.access.rules[2].arguments[0].size.least", Some("size: {max: 40}")),
            ("spec.access.rules[0].scopeBundles", Some("scopeBundles: [filesystem-read]")),
            (
                "spec.access.scopeBundles[0].tooling",
                Some(r#"scopeBundles: [{scope: filesystem-read, tools: ["read_*"]}]"#),
            ),
            ("spec.transport.port", None),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn each_has_one() {
        assert!(EXAMPLES.is_sorted());
        assert!(EXAMPLES.iter().all(|(field, example)| example.starts_with(field)));
    }
}
