//! `cardea lint`: what an API server and the operator would refuse of manifests, and what their author may not have meant,
//! each with the line that it is about.
//!
//! Decides nothing itself: what is refused here is what would be refused there.

mod finding;
mod report;
mod sarif;
mod servers;
mod tools;
mod warnings;

use std::path::PathBuf;

use clap::ValueEnum;
use jiff::Timestamp;

use crate::documents::{self, Document};
use crate::manifest::{By, KINDS, check};
use finding::{Finding, Id, Severity};
use tools::Listed;

/// Flags of `cardea lint`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Files, or folders with files that are named *.yaml or *.yml; `-` for standard input. A policy is looked for among all
    /// of them.
    #[arg(required = true, value_name = "FILE")]
    places: Vec<PathBuf>,
    /// Tools of a server, as its answer to tools/list has them: rules are compared with them. With `SERVER=` before it those of
    /// that McpServer, otherwise of each. May be repeated.
    #[arg(long, value_name = "[SERVER=]FILE")]
    tools: Vec<String>,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    /// Form of the findings.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
    Sarif,
}

/// A manifest of ours, where it was found, and what it is.
struct Manifest {
    file: usize,
    document: Document,
}

/// Prints what there is to say, in the order of the files. True if nothing fails.
///
/// # Errors
/// When a file cannot be read.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub(crate) fn run(flags: &Flags) -> anyhow::Result<bool> {
    let mut files = Vec::new();
    for place in &flags.places {
        files.extend(documents::files(place)?);
    }
    let (mut findings, mut sound) = (Vec::new(), Vec::new());
    for (file, path) in files.iter().enumerate() {
        match documents::read(&documents::text(path)?) {
            Err(error) => findings.push(Finding {
                file,
                place: error.place,
                severity: Severity::Error,
                id: Id::Yaml,
                path: String::new(),
                message: error.problem,
            }),
            Ok(documents) => {
                let ours = documents.into_iter().filter(is_ours).map(|document| Manifest { file, document });
                for manifest in ours {
                    let problems = of_schema(&manifest);
                    if problems.is_empty() {
                        sound.push(manifest);
                    }
                    findings.extend(problems);
                }
            }
        }
    }
    findings.extend(servers::findings(&sound, &Listed::read(&flags.tools)?, Timestamp::now()));
    findings.sort_by(|one, other| (one.file, one.place, &one.path).cmp(&(other.file, other.place, &other.path)));
    findings.dedup();
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    match flags.output {
        Output::Text => print!("{}", report::text(&names, &findings)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report::document(&names, &findings))?),
        Output::Sarif => println!("{}", serde_json::to_string_pretty(&sarif::log(&names, &findings))?),
    }
    Ok(!findings.iter().any(|finding| flags.strict || finding.severity == Severity::Error))
}

fn is_ours(document: &Document) -> bool {
    document.value.get("kind").and_then(|kind| kind.as_str()).is_some_and(|kind| KINDS.contains(&kind))
}

/// What an API server would say.
fn of_schema(manifest: &Manifest) -> Vec<Finding> {
    let problems = check(&manifest.document.value).into_iter().map(|problem| {
        let id = match problem.by {
            By::Schema => Id::Schema,
            By::Rule => Id::Validation,
        };
        manifest.finding(id, &problem.path, problem.message)
    });
    problems.collect()
}

impl Manifest {
    /// Something to say about a field of it.
    fn finding(&self, id: Id, path: &str, message: impl Into<String>) -> Finding {
        Finding {
            file: self.file,
            place: self.document.place(path),
            severity: id.severity(),
            id,
            path: path.to_owned(),
            message: message.into(),
        }
    }
}
