//! Rules, from the manifest's words to the proxy's: bundles of scopes become rules of their own. Needs nothing but the words,
//! so a policy is translated once for all the servers that it governs.
//!
//! Does not know who can prove what ([`super::provable`]).

use std::collections::{BTreeMap, BTreeSet};

use cardea_api::v1alpha1::{
    Access, AccessRule, ArgumentCondition, Effect, Elements, PrincipalMatch, ScopeBundle, Size, ValueType,
};
use cardea_contract as contract;
use cardea_policy::{CompileError, Policy};

/// Most bytes of the rules of a server, those of its policies among them. They are part of a ConfigMap, which holds 1 MiB.
pub(super) const MAX_BYTES: usize = 768 * 1024;
/// Most bytes of the rules that a server has itself, or that one policy has: nobody takes up all the room that the others need.
const MAX_OWN_BYTES: usize = 256 * 1024;
/// Most conditions with a regular expression, likewise.
const MAX_OWN_EXPRESSIONS: usize = 64;

/// The rules, known to compile and to fit. Each is called by its name with `prefix` before it, and with the scope of its
/// bundle behind it.
///
/// # Errors
/// What is wrong, with its field.
pub(super) fn rules(access: &Access, prefix: &str) -> Result<Vec<contract::Rule>, String> {
    let bundles = Bundles::of(access);
    let mut rules = Vec::with_capacity(access.rules.len());
    let mut bytes = 0;
    // A rule of bundles may become hundreds, so it is not put off until all of them are there.
    let mut fits = |rule: contract::Rule| {
        bytes += size(&rule);
        if bytes > MAX_OWN_BYTES { Err(too_large()) } else { Ok(rule) }
    };
    for asked in &access.rules {
        let of_rule = |problem| format!("rules: rule {:?}: {problem}", asked.name);
        let name = format!("{prefix}{}", asked.name);
        if asked.scope_bundles.is_empty() {
            let rule = rule(name, asked, &Subjects::of(asked), &asked.scopes, &bundles);
            rules.push(fits(rule.map_err(of_rule)?)?);
            continue;
        }
        for scope in bundles.reached(asked).map_err(of_rule)? {
            let Some(bundle) = bundles.by_scope.get(scope).filter(|bundle| lists_something(bundle)) else { continue };
            let mut scopes = vec![scope.to_owned()];
            scopes.extend(asked.scopes.iter().filter(|further| *further != scope).cloned());
            let name = format!("{name}:{scope}");
            let rule = rule(name, asked, &Subjects::of_bundle(bundle), &scopes, &bundles);
            rules.push(fits(rule.map_err(of_rule)?)?);
        }
    }
    let conditions = rules.iter().flat_map(|rule| &rule.arguments);
    if conditions.filter(|condition| condition.regex.is_some()).count() > MAX_OWN_EXPRESSIONS {
        return Err(format!("rules: {}", CompileError::TooManyExpressions(MAX_OWN_EXPRESSIONS)));
    }
    Policy::compile(&rules).map_err(|error| format!("rules: {error}"))?;
    Ok(rules)
}

/// Bytes of a rule, as the proxy is told it.
pub(super) fn size(rule: &contract::Rule) -> usize {
    serde_json::json!(rule).to_string().len()
}

fn too_large() -> String {
    format!(
        "rules: more than {MAX_OWN_BYTES} bytes, one bundle counted for each rule that reaches it: take fewer, or wider globs"
    )
}

/// What a rule is about.
struct Subjects<'a> {
    tools: &'a [String],
    prompts: &'a [String],
    resources: &'a [String],
    methods: &'a [String],
    arguments: &'a [ArgumentCondition],
}

impl<'a> Subjects<'a> {
    fn of(rule: &'a AccessRule) -> Self {
        let AccessRule { tools, prompts, resources, methods, arguments, .. } = rule;
        Self { tools, prompts, resources, methods, arguments }
    }

    fn of_bundle(bundle: &'a ScopeBundle) -> Self {
        let ScopeBundle { tools, prompts, resources, methods, arguments, .. } = bundle;
        Self { tools, prompts, resources, methods, arguments }
    }
}

fn lists_something(bundle: &ScopeBundle) -> bool {
    [&bundle.tools, &bundle.prompts, &bundle.resources, &bundle.methods].iter().any(|globs| !globs.is_empty())
}

/// The bundles of a manifest, and which scope includes which.
struct Bundles<'a> {
    by_scope: BTreeMap<&'a str, &'a ScopeBundle>,
    /// Of each bundle its scope, and all that it includes.
    included: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Bundles<'a> {
    fn of(access: &'a Access) -> Self {
        let by_scope: BTreeMap<_, _> =
            access.scope_bundles.iter().map(|bundle| (bundle.scope.as_str(), bundle)).collect();
        let included = by_scope.keys().map(|scope| (*scope, included(&by_scope, scope))).collect();
        Self { by_scope, included }
    }

    /// Bundles that a rule names, and those that they include.
    fn reached(&self, rule: &'a AccessRule) -> Result<BTreeSet<&'a str>, String> {
        for scope in &rule.scope_bundles {
            if !self.by_scope.contains_key(scope.as_str()) {
                let known: Vec<&str> = self.by_scope.keys().copied().collect();
                return Err(format!(
                    "scopeBundles: {scope:?} is not the scope of one of the scopeBundles ({}): add it there, or correct it",
                    known.join(", ")
                ));
            }
        }
        let named = rule.scope_bundles.iter().filter_map(|scope| self.included.get(scope.as_str()));
        Ok(named.flatten().copied().collect())
    }

    /// Scopes that include this one, and are not it.
    fn broader(&self, scope: &str) -> Vec<String> {
        let others = self.included.iter().filter(|(other, included)| **other != scope && included.contains(scope));
        others.map(|(other, _)| (*other).to_owned()).collect()
    }
}

/// A scope, and all that it includes.
fn included<'a>(bundles: &BTreeMap<&'a str, &'a ScopeBundle>, scope: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![scope]);
    while let Some(scope) = open.pop() {
        if found.insert(scope) {
            open.extend(bundles.get(scope).iter().flat_map(|bundle| &bundle.includes).map(String::as_str));
        }
    }
    found
}

fn rule(
    name: String,
    asked: &AccessRule,
    about: &Subjects<'_>,
    scopes: &[String],
    bundles: &Bundles<'_>,
) -> Result<contract::Rule, String> {
    let effect = match asked.effect.unwrap_or_default() {
        Effect::Allow => contract::Effect::Allow,
        Effect::Deny => contract::Effect::Deny,
    };
    let broader = scopes.iter().map(|scope| (scope.clone(), bundles.broader(scope)));
    Ok(contract::Rule {
        name,
        effect,
        principals: asked.principals.iter().map(principal).collect::<Result<_, _>>()?,
        tools: about.tools.to_vec(),
        prompts: about.prompts.to_vec(),
        resources: about.resources.to_vec(),
        methods: about.methods.to_vec(),
        arguments: about.arguments.iter().map(|asked| condition(asked, effect)).collect(),
        when: asked.when.clone(),
        scopes: scopes.to_vec(),
        broader_scopes: broader.filter(|(_, broader)| !broader.is_empty()).collect(),
        not_after: asked.not_after.as_ref().map(|end| end.0.as_second()),
    })
}

fn principal(asked: &PrincipalMatch) -> Result<contract::PrincipalMatch, String> {
    match asked {
        PrincipalMatch { subject: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Subject { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { group: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Group { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { claim: Some(claim), issuer, .. } => Ok(contract::PrincipalMatch::Attribute {
            name: claim.name.clone(),
            values: claim.values.clone(),
            issuer: issuer.clone(),
        }),
        PrincipalMatch { service_account: Some(account), .. } => Ok(contract::PrincipalMatch::ServiceAccount {
            namespace: account.namespace.clone(),
            name: account.name.clone(),
        }),
        PrincipalMatch { spiffe_id: Some(id), .. } => Ok(contract::PrincipalMatch::SpiffeId(id.clone())),
        PrincipalMatch { any_authenticated: Some(true), .. } => Ok(contract::PrincipalMatch::AnyAuthenticated),
        PrincipalMatch { anonymous: Some(true), .. } => Ok(contract::PrincipalMatch::Anonymous),
        _ => {
            Err("a principal needs exactly one of subject, group, claim, serviceAccount, spiffeId, anyAuthenticated and anonymous, as in {group: ops}"
                .into())
        }
    }
}

fn condition(asked: &ArgumentCondition, effect: contract::Effect) -> contract::ArgumentCondition {
    let ArgumentCondition {
        path,
        elements,
        equals,
        one_of,
        prefix,
        suffix,
        glob,
        regex,
        min,
        max,
        cidr,
        path_under,
        absent,
        kind,
        size,
    } = asked.clone();
    contract::ArgumentCondition {
        path,
        elements: match (elements, effect) {
            // One good element lifts no Deny, and one is not enough for an Allow.
            (Some(Elements::Any), _) | (None, contract::Effect::Deny) => contract::Elements::Any,
            (Some(Elements::Every), _) | (None, contract::Effect::Allow) => contract::Elements::Every,
        },
        equals,
        one_of,
        prefix,
        suffix,
        glob,
        regex,
        min,
        max,
        cidr,
        path_under,
        absent,
        kind: kind.map(|kind| match kind {
            ValueType::String => contract::ValueKind::String,
            ValueType::Number => contract::ValueKind::Number,
            ValueType::Integer => contract::ValueKind::Integer,
            ValueType::Boolean => contract::ValueKind::Boolean,
            ValueType::Array => contract::ValueKind::Array,
            ValueType::Object => contract::ValueKind::Object,
            ValueType::Null => contract::ValueKind::Null,
        }),
        size: size.map(|Size { min, max }| contract::Size { min: min.map(count), max: max.map(count) }),
    }
}

/// The schema has no negative ones.
fn count(asked: i64) -> u64 {
    u64::try_from(asked).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn translated(access: Value) -> Result<Vec<contract::Rule>, String> {
        rules(&serde_json::from_value(access).unwrap(), "")
    }

    fn bundles() -> Value {
        json!([
            {"scope": "files-read", "tools": ["read_*"], "arguments": [{"path": "/path", "pathUnder": "/data"}]},
            {"scope": "files-write", "includes": ["files-read"], "tools": ["write_*"]},
            {"scope": "files-admin", "includes": ["files-write", "audit"]},
        ])
    }

    #[test]
    fn a_bundle_is_a_rule_for_each_scope_and_broader_scopes_do_for_it() {
        let rule =
            |bundles: &[&str]| json!({"name": "staff", "principals": [{"group": "staff"}], "scopeBundles": bundles});
        let of = |named: &[&str]| translated(json!({"scopeBundles": bundles(), "rules": [rule(named)]})).unwrap();
        let names = |rules: &[contract::Rule]| rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
        let read = of(&["files-read"]);
        assert_eq!(names(&read), ["staff:files-read"]);
        assert_eq!(
            (&read[0].tools[..], &read[0].scopes[..]),
            (&["read_*".to_owned()][..], &["files-read".to_owned()][..])
        );
        assert_eq!(read[0].arguments.len(), 1);
        assert_eq!(read[0].broader_scopes["files-read"], ["files-admin", "files-write"]);
        // What includes another is about that too; what lists nothing is a name for what it includes.
        assert_eq!(names(&of(&["files-write"])), ["staff:files-read", "staff:files-write"]);
        assert_eq!(names(&of(&["files-admin", "files-read"])), ["staff:files-read", "staff:files-write"]);
        let narrow = json!([{"scope": "a", "includes": ["z"], "tools": ["*"]}, {"scope": "z", "tools": ["read"]}]);
        let rules = translated(json!({"scopeBundles": narrow, "rules": [rule(&["a"])]})).unwrap();
        assert_eq!(names(&rules), ["staff:a", "staff:z"]);
        assert_eq!(Policy::compile(&rules).unwrap().least_scopes(), ["z"]);
        let error = translated(json!({"scopeBundles": bundles(), "rules": [rule(&["files"])]})).unwrap_err();
        assert!(error.contains("\"staff\"") && error.contains("files-admin, files-read, files-write"), "{error}");
    }

    #[test]
    fn scopes_that_rules_name_have_broader_ones_too_and_circles_end() {
        let rule =
            json!({"name": "log", "principals": [{"group": "staff"}], "tools": ["log"], "scopes": ["audit", "x"]});
        let rules = translated(json!({"scopeBundles": bundles(), "rules": [rule]})).unwrap();
        assert_eq!(rules[0].broader_scopes, [("audit".to_owned(), vec!["files-admin".to_owned()])].into());
        let circle = json!([{"scope": "audit", "includes": ["x"]}, {"scope": "x", "includes": ["audit"]}]);
        let rules = translated(json!({"scopeBundles": circle, "rules": [rule]})).unwrap();
        assert_eq!(rules[0].broader_scopes["audit"], ["x"]);
        assert_eq!(rules[0].broader_scopes["x"], ["audit"]);
    }

    /// Each of a hundred rules may reach each of 32 bundles: what fits into an object of a cluster would take minutes, and
    /// be more than a ConfigMap holds. A policy that cannot be told to a proxy is none that makes sense.
    #[test]
    fn rules_that_bundles_make_too_large_are_refused_at_once() {
        let globs: Vec<String> = (0..64).map(|number| format!("{number:0>120}")).collect();
        let scopes: Vec<String> = (0..32).map(|number| format!("scope-{number}")).collect();
        let bundle = |scope: &String| json!({"scope": scope, "includes": scopes, "tools": globs, "prompts": globs});
        let rule = |number: usize| {
            json!({
                "name": format!("rule-{number}"), "principals": [{"group": "staff"}], "scopeBundles": [scopes[0]],
                "scopes": scopes[..16],
            })
        };
        let rules: Vec<Value> = (0..100).map(rule).collect();
        let bundles: Vec<Value> = scopes.iter().map(bundle).collect();
        let problem = translated(json!({"scopeBundles": bundles, "rules": rules})).unwrap_err();
        assert!(problem.starts_with("rules: more than 262144 bytes"), "{problem}");
    }
}
