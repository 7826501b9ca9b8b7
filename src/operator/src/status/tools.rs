//! Whether the tools are as they were approved.

use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_contract::{Pinning, Tool};

use crate::hold::names;

/// What is found of the tools that the server has, if they are known.
pub(super) fn pinned(pinning: Option<&Pinning>, tools: Option<&[Tool]>) -> Option<Finding> {
    let finding =
        |status, reason, message: String| Some(Finding::new(condition::TOOLS_PINNED, status, reason, message));
    let Some(pinning) = pinning else {
        let message = "spec.tools.pinning is not set: tools may be whatever the server says";
        return finding(None, reasons::NOT_PINNED, message.to_owned());
    };
    let tools = tools?;
    let (mut changed, mut unlisted) = (Vec::new(), Vec::new());
    for tool in tools {
        match pinning.digests.get(&tool.name) {
            Some(digest) if *digest == tool.digest => {}
            Some(_) => changed.push(tool.name.clone()),
            None => unlisted.push(tool.name.clone()),
        }
    }
    if changed.is_empty() && unlisted.is_empty() {
        return finding(Some(true), reasons::TOOLS_AS_APPROVED, format!("{} tools, all as approved", tools.len()));
    }
    let mut told: Vec<String> = Vec::new();
    for (what, tools) in [("changed", changed), ("not approved", unlisted)] {
        if !tools.is_empty() {
            told.push(format!("{what}: {}", names(&tools)));
        }
    }
    let effect = if pinning.enforce { "hidden and refused" } else { "still used" };
    finding(
        Some(false),
        reasons::TOOLS_CHANGED,
        format!(
            "{} ({effect}): look at them, then put their digests of status.tools into spec.tools.pinning.digests",
            told.join("; ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_and_what_nobody_approved_is_named() {
        let tool = |name: &str, digest: &str| Tool { name: name.into(), digest: digest.into(), flags: vec![] };
        let pinning =
            |enforce| Pinning { enforce, digests: [("a".into(), "1".into()), ("b".into(), "2".into())].into() };
        let of = |enforce, tools: &[Tool]| {
            let found = pinned(Some(&pinning(enforce)), Some(tools)).unwrap();
            (found.status, found.message)
        };
        assert_eq!(of(true, &[tool("a", "1"), tool("b", "2")]).0, Some(true));
        let (status, message) = of(true, &[tool("a", "9"), tool("b", "2"), tool("c", "3")]);
        assert_eq!(status, Some(false));
        assert!(message.starts_with("changed: a; not approved: c (hidden and refused)"), "{message}");
        assert!(of(false, &[tool("a", "9")]).1.contains("(still used)"));
        assert_eq!(pinned(Some(&pinning(true)), None), None, "nothing is known of them");
        assert_eq!(pinned(None, None).unwrap().reason, reasons::NOT_PINNED);
    }
}
