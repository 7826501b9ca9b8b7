//! Shows whether secrets can be had, from where this runs and as whom. Prints no value.

use cardea_secrets::{Finding, check, lazily};
use clap::{Args, ValueEnum};

use crate::fetch::Fetch;

/// What is checked and how it is shown.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    fetch: Fetch,
    /// How findings are shown
    #[arg(long, short, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// A line a secret
    Text,
    /// A list of objects
    Json,
}

/// Asks for each secret once. Gives whether all can be had.
///
/// # Errors
/// When findings cannot be printed.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub async fn run(asked: Check) -> anyhow::Result<bool> {
    let config = &asked.fetch.config;
    let findings = check(config, &lazily(config, asked.fetch.stores_dir())).await;
    match asked.output {
        Output::Text => findings.iter().for_each(|finding| println!("{}", line(finding))),
        Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
    }
    Ok(findings.iter().all(|finding| finding.readable))
}

fn line(finding: &Finding) -> String {
    let Finding { secret, store, version, .. } = finding;
    let outcome = match (&finding.message, version, finding.lease_seconds) {
        (Some(message), ..) if finding.answers => format!("no, {message}"),
        (Some(message), ..) => format!("no answer, {message}"),
        (None, _, Some(seconds)) => format!("yes, and the credentials that were made for this end in {seconds} s"),
        (None, Some(version), None) => format!("yes, version {version}"),
        (None, None, None) => "yes, and the store has no versions".to_owned(),
    };
    format!("{secret}\t{store}\t{outcome}")
}

#[cfg(test)]
mod tests {
    use cardea_contract::secrets::TroubleKind;

    use super::*;

    #[test]
    fn a_line_says_whether_and_which_version() {
        let yes = Finding {
            secret: "db".to_owned(),
            store: "vault".to_owned(),
            answers: true,
            readable: true,
            version: Some("7".to_owned()),
            lease_seconds: None,
            trouble: None,
            message: None,
        };
        assert_eq!(line(&yes), "db\tvault\tyes, version 7");
        let made = Finding { version: None, lease_seconds: Some(60), ..yes.clone() };
        assert_eq!(line(&made), "db\tvault\tyes, and the credentials that were made for this end in 60 s");
        let message = Some("it is down: wait".to_owned());
        let no = Finding { answers: false, readable: false, trouble: Some(TroubleKind::Unavailable), message, ..yes };
        assert_eq!(line(&no), "db\tvault\tno answer, it is down: wait");
    }
}
