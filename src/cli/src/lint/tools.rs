//! What servers list as their tools, for rules to be compared with.

use std::path::Path;

use anyhow::{Context as _, bail};
use cardea_contract::Rule;
use cardea_policy::{ToolDefinition, rule_warnings};
use serde_json::Value;

use crate::documents;

/// Tools of each server, by its name if it was said.
pub(super) struct Listed(Vec<(Option<String>, Vec<ToolDefinition>)>);

impl Listed {
    /// Reads files with answers to `tools/list`: the message, its result, or the list itself.
    ///
    /// # Errors
    /// When one cannot be read, or holds something that is no tool.
    pub(super) fn read(asked: &[String]) -> anyhow::Result<Self> {
        let each = asked.iter().map(|asked| {
            let (server, file) = match asked.split_once('=') {
                Some((server, file)) => (Some(server.to_owned()), file),
                None => (None, asked.as_str()),
            };
            let text = documents::text(Path::new(file))?;
            Ok((server, tools(&text).with_context(|| format!("--tools {file}"))?))
        });
        Ok(Self(each.collect::<anyhow::Result<_>>()?))
    }

    /// What of these rules of a server does not fit its tools: names of rules, each with what there is to say.
    pub(super) fn unfit(&self, server: &str, rules: &[Rule]) -> Vec<(String, String)> {
        let of_server = |(name, _): &&(Option<String>, _)| name.as_ref().is_none_or(|name| name == server);
        let Some((_, tools)) = self.0.iter().find(of_server) else { return Vec::new() };
        rule_warnings(rules, tools).into_iter().map(|warning| (warning.rule, warning.message)).collect()
    }
}

fn tools(text: &str) -> anyhow::Result<Vec<ToolDefinition>> {
    let mut answer: Value = serde_json::from_str(text).context("it is not JSON")?;
    for place in ["/result/tools", "/tools"] {
        if let Some(list) = answer.pointer_mut(place) {
            answer = list.take();
            break;
        }
    }
    let Value::Array(list) = answer else { bail!("it holds no list of tools, as an answer to tools/list does") };
    let read = list.iter().map(|tool| {
        ToolDefinition::read(&tool.to_string())
            .with_context(|| format!("it holds something that is no tool: {tool:.200}"))
    });
    Ok(ToolDefinition::together(read.collect::<anyhow::Result<_>>()?))
}
