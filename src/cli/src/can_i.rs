//! `cardea can-i`: whether a caller may do something, which rule says so, and which would come nearest.
//!
//! Decides nothing itself: the answer is that of the rules that the proxy decides by.

use anyhow::{Context as _, bail, ensure};
use cardea_contract::{Rule, TokenKind};
use cardea_operator::validate::ValidatedServer;
use cardea_policy::{Action, ButFor, DenialReason, Evidence, Explanation, Look, Principal};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::rules::{self, Ruled};
use crate::shown::shown;
use crate::source::Source;

/// Flags of `cardea can-i`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Name of the tool, or of what --kind says.
    name: String,
    /// Arguments of the call, as a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    args: String,
    /// What it is.
    #[arg(long, value_enum, default_value_t = Kind::Tool)]
    kind: Kind,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    caller: Caller,
    /// Moment that is asked about, as in 2026-12-01T18:00:00Z: rules may have an end. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tool,
    Prompt,
    Resource,
    Method,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Who asks: a token, a ServiceAccount, a certificate, or nobody.
#[derive(clap::Args)]
struct Caller {
    /// Subject of a token.
    #[arg(long = "as", value_name = "SUBJECT")]
    subject: Option<String>,
    /// Group of the token. May be repeated.
    #[arg(long)]
    group: Vec<String>,
    /// Scope of the token. May be repeated.
    #[arg(long)]
    scope: Vec<String>,
    /// Attribute of the token, as an issuer's claims.attributes[].name has it. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    claim: Vec<(String, String)>,
    /// Name of the issuer of the token. Default: the only one.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// A ServiceAccount that proves itself by its token.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["subject", "group", "scope", "claim", "issuer"])]
    service_account: Option<String>,
    /// SPIFFE id of a client certificate.
    #[arg(long, value_name = "ID", conflicts_with_all = ["subject", "group", "scope", "claim", "issuer", "service_account"])]
    spiffe_id: Option<String>,
    /// A caller without any credential.
    #[arg(long, conflicts_with_all = ["subject", "group", "scope", "claim", "issuer", "service_account", "spiffe_id"])]
    anonymous: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Prints the answer. True if it is yes.
///
/// # Errors
/// When the manifest or a flag makes no sense.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub(crate) fn run(flags: &Flags) -> anyhow::Result<bool> {
    let manifests = flags.source.manifests(&flags.cluster)?;
    let Ruled { server, policy, .. } =
        rules::of(&manifests, manifests.server(flags.source.server())?, flags.at.unwrap_or_else(Timestamp::now))?;
    let caller = flags.caller.principal(&server)?;
    let arguments: Value = serde_json::from_str(&flags.args).context("--args is not JSON")?;
    ensure!(
        arguments.is_object(),
        "--args: the arguments of a call are one JSON object, as in '{{\"env\":\"staging\"}}'"
    );
    let action = match flags.kind {
        Kind::Tool => Action::CallTool(&flags.name),
        Kind::Prompt => Action::GetPrompt(&flags.name),
        Kind::Resource => Action::ReadResource(&flags.name),
        Kind::Method => Action::Method(&flags.name),
    };
    let explanation = policy.explain(&caller, action, &arguments);
    let is_tool = matches!(flags.kind, Kind::Tool);
    if explanation.decision.is_ok() && is_tool && !rules::may_be_approved(&server, &flags.name) {
        let why = "rules allow it, and it is none of spec.tools.pinning.digests, which alone may be used";
        match flags.output {
            Output::Text => println!("no: {why}"),
            Output::Json => {
                let answer = json!({"allowed": false, "rule": null, "reason": why, "nearest": null});
                println!("{}", serde_json::to_string_pretty(&answer)?);
            }
        }
        return Ok(false);
    }
    match flags.output {
        Output::Text => print!("{}", text(&explanation, &server.rules)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&document(&explanation, &server.rules))?),
    }
    Ok(explanation.decision.is_ok())
}

impl Caller {
    fn principal(&self, server: &ValidatedServer) -> anyhow::Result<Principal> {
        if self.anonymous {
            ensure!(
                server.authentication.insecure_anonymous,
                "--anonymous: the manifest lets nobody in without a credential (spec.auth.insecureAnonymous)"
            );
            return Ok(Principal::anonymous());
        }
        if let Some(account) = &self.service_account {
            let (namespace, name) = account.split_once('/').context("--service-account: write NAMESPACE/NAME")?;
            let evidence = Evidence::ServiceAccount { namespace: namespace.into(), name: name.into() };
            return Ok(Principal::named(format!("system:serviceaccount:{namespace}:{name}"), u64::MAX, evidence));
        }
        if let Some(id) = &self.spiffe_id {
            return Ok(Principal::named(id.clone(), u64::MAX, Evidence::Certificate { spiffe_id: Some(id.clone()) }));
        }
        let subject = self.subject.clone().context(
            "say who asks: --as SUBJECT with --group and --scope, --service-account, --spiffe-id or --anonymous",
        )?;
        let mut caller = Principal::named(subject, u64::MAX, Evidence::Token { issuer: self.issuer(server)? });
        (caller.groups, caller.scopes) = (self.group.clone(), self.scope.clone());
        for (name, value) in &self.claim {
            caller.attributes.entry(name.clone()).or_default().push(value.clone());
        }
        Ok(caller)
    }

    fn issuer(&self, server: &ValidatedServer) -> anyhow::Result<String> {
        let issuers = &server.authentication.issuers;
        let tokens = issuers.iter().filter(|issuer| matches!(issuer.kind, TokenKind::Oidc { .. }));
        let fixed = server.authentication.static_tokens.then_some("static");
        let known: Vec<&str> = tokens.map(|issuer| issuer.name.as_str()).chain(fixed).collect();
        match (&self.issuer, &known[..]) {
            (Some(name), known) if known.contains(&name.as_str()) => Ok(name.clone()),
            (None, [only]) => Ok((*only).to_owned()),
            (_, []) => bail!("--as: the manifest takes no tokens: add spec.auth.issuers or spec.auth.staticTokens"),
            _ => bail!("--issuer: say whose token it is, one of {}", known.join(", ")),
        }
    }
}

fn text(explanation: &Explanation, rules: &[Rule]) -> String {
    let mut lines = Vec::new();
    match &explanation.decision {
        Ok(Some(rule)) => lines.push(format!("yes: rule {rule:?} allows it")),
        Ok(None) => lines.push("yes: every known caller may".to_owned()),
        Err(reason) => {
            lines.push(format!("no: {}", why(reason)));
            if let (false, Some(nearest)) = (matches!(reason, DenialReason::Rule(_)), explanation.nearest()) {
                lines.push(format!("nearest: rule {:?} would allow it, but for", nearest.rule));
                lines.extend(but_for(nearest, rules).into_iter().map(|line| format!("  {line}")));
            }
        }
    }
    lines.iter().map(|line| shown(line) + "\n").collect()
}

fn document(explanation: &Explanation, rules: &[Rule]) -> Value {
    let nearest = explanation.nearest().filter(|_| explanation.decision.is_err());
    json!({
        "allowed": explanation.decision.is_ok(),
        "rule": match &explanation.decision {
            Ok(rule) => rule.as_deref(),
            Err(DenialReason::Rule(rule) | DenialReason::MissingScopes { rule, .. }) => Some(&**rule),
            Err(DenialReason::NothingAllows | DenialReason::UnknownMethod) => None,
        },
        "reason": explanation.decision.as_ref().err().map(why),
        "nearest": nearest.map(|look| json!({"rule": &*look.rule, "butFor": but_for(look, rules)})),
    })
}

fn why(reason: &DenialReason) -> String {
    match reason {
        DenialReason::Rule(rule) => format!("rule {rule:?} refuses it"),
        DenialReason::NothingAllows => "no rule allows it".to_owned(),
        DenialReason::MissingScopes { rule, scopes } => {
            format!("rule {rule:?} allows it to a token with the scopes {}", scopes.join(" "))
        }
        DenialReason::UnknownMethod => "no rule can be about it".to_owned(),
    }
}

/// What keeps a rule from it, as the manifest spells it.
fn but_for(look: &Look, rules: &[Rule]) -> Vec<String> {
    let rule = rules.iter().find(|rule| rule.name == *look.rule);
    let told = |certain: &bool| if *certain { "does not hold" } else { "cannot be told" };
    let lines = look.but_for.iter().map(|kept| match kept {
        ButFor::Principal => "principals: none of them is this caller".to_owned(),
        ButFor::Name => "it is about other names".to_owned(),
        ButFor::Argument { index, certain } => {
            let condition = rule.and_then(|rule| rule.arguments.get(*index));
            let condition = condition.map(|condition| json!(condition).to_string()).unwrap_or_default();
            format!("arguments[{index}]: {condition} {}", told(certain))
        }
        ButFor::When { certain } => {
            let source = rule.and_then(|rule| rule.when.as_deref()).unwrap_or_default();
            format!("when: {source} {}", told(certain))
        }
        ButFor::Scopes(missing) => format!("scopes: the token lacks {}", missing.join(" ")),
    });
    lines.collect()
}
