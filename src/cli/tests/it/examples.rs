//! The policies of `deploy/examples`, asked what they are there to answer.

use std::path::{Path, PathBuf};

use crate::program::cardea;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples")
}

#[test]
fn no_example_has_anything_to_be_said_of() {
    let answer = cardea(&folder(), &["lint", "--strict", "."]);
    assert_eq!((answer.says.as_str(), answer.code), ("", Some(0)), "{}", answer.errors);
}

/// Whether whoever these flags describe may call the tool with these arguments.
fn may(example: &str, who: &str, tool: &str, arguments: &str) -> bool {
    let mut words = vec!["can-i", "-f", example, "--as", "alice", tool, "--args", arguments];
    words.extend(who.split_whitespace());
    let answer = cardea(&folder(), &words);
    let yes = answer.says.starts_with("yes");
    assert!(yes || answer.says.starts_with("no"), "{example}: {}", answer.errors);
    assert_eq!(answer.code == Some(0), yes);
    yes
}

fn asked(example: &str, questions: &[(&str, &str, &str, bool)]) {
    for (who, tool, arguments, expected) in questions {
        assert_eq!(may(example, who, tool, arguments), *expected, "{example}: {who} {tool} {arguments}");
    }
}

#[test]
fn read_only_by_default() {
    asked(
        "policy-read-only.yaml",
        &[
            ("", "get_page", "{}", true),
            ("", "list_pages", "{}", true),
            ("", "update_page", "{}", false),
            ("--group editors", "update_page", "{}", true),
            ("--group editors", "delete_page", "{}", false),
            ("", "wiki://home", "{}", false),
            ("--kind resource", "wiki://home", "{}", true),
            ("--kind resource", "file:///etc/passwd", "{}", false),
        ],
    );
}

#[test]
fn production_for_operators_alone() {
    let whole = r#"{"env":"production","commit":"0123456789abcdef0123456789abcdef01234567"}"#;
    asked(
        "policy-production-for-ops.yaml",
        &[
            ("--group developers", "deploy", r#"{"env":"staging"}"#, true),
            ("--group developers", "deploy", whole, false),
            ("--group operators", "deploy", whole, true),
            ("--group operators", "deploy", r#"{"env":"production","commit":"0123"}"#, false),
            ("--group operators", "deploy", r#"{"env":"production"}"#, false),
            ("--group operators", "deploy", r#"{"env":"staging","Env":"production"}"#, false),
            ("--group operators", "deploy", r#"{"env":["staging"]}"#, false),
            ("--group operators", "deploy", "{}", false),
            ("--group developers", "deploy", r#"{"env":"staging","copies":20}"#, true),
            ("--group developers", "deploy", r#"{"env":"staging","copies":21}"#, false),
            ("--group developers", "deploy", r#"{"env":"staging","Copies":21}"#, false),
            ("--group developers", "deploy", r#"{"env":"staging","copies":"21"}"#, false),
            ("", "deploy", r#"{"env":"staging"}"#, false),
        ],
    );
}

#[test]
fn a_folder_for_each_team() {
    asked(
        "policy-folder-per-team.yaml",
        &[
            ("--group payments", "read_file", r#"{"path":"/data/payments/a.txt"}"#, true),
            ("--group payments", "write_file", r#"{"path":"/data/payments"}"#, true),
            ("--group payments", "read_file", r#"{"path":"/data/payments-old/a.txt"}"#, false),
            ("--group payments", "read_file", r#"{"path":"/data/payments/../search/a.txt"}"#, false),
            ("--group payments", "read_file", r#"{"path":"/data/search/a.txt"}"#, false),
            ("--group payments", "read_files", r#"{"paths":["/data/payments/a","/data/payments/b"]}"#, true),
            ("--group payments", "read_files", r#"{"paths":["/data/payments/a","/data/search/b"]}"#, false),
            ("--group payments", "read_files", r#"{"paths":[]}"#, false),
            ("", "read_file", r#"{"path":"/data/shared/a.txt"}"#, true),
            ("", "write_file", r#"{"path":"/data/shared/a.txt"}"#, false),
        ],
    );
}

#[test]
fn one_server_for_many_repositories() {
    asked(
        "policy-github-repositories.yaml",
        &[
            ("--group reviewers", "create_review", r#"{"owner":"example-corp","repo":"shop"}"#, true),
            ("--group reviewers", "create_review", r#"{"owner":"example-corp","repo":"payroll"}"#, false),
            ("--group reviewers", "create_issue", r#"{"owner":"example-corp","repo":"payroll","title":"a"}"#, true),
            ("--group reviewers", "create_issue", r#"{"owner":"elsewhere","repo":"payroll","title":"a"}"#, false),
            ("--group reviewers", "create_issue", r#"{"owner":"example-corp","repo":"payroll","title":""}"#, false),
            ("--group maintainers", "merge_pull_request", r#"{"owner":"example-corp","branch":"main"}"#, false),
            (
                "--group maintainers --scope repo:merge",
                "merge_pull_request",
                r#"{"owner":"example-corp","branch":"main"}"#,
                true,
            ),
            (
                "--group maintainers --scope repo:merge",
                "merge_pull_request",
                r#"{"owner":"example-corp","branch":"--exec=x"}"#,
                false,
            ),
        ],
    );
}

#[test]
fn what_is_for_an_incident_ends_with_it() {
    let notes = r#"{"database":"notes"}"#;
    asked(
        "policy-break-glass.yaml",
        &[
            ("--at 2026-12-01T17:59:59Z", "restore_backup", notes, true),
            ("--at 2026-12-01T18:00:00Z", "restore_backup", notes, false),
            ("--at 2026-11-30T00:00:00Z", "restore_backup", r#"{"database":"payroll"}"#, false),
            ("--at 2026-12-01T18:00:00Z", "get_backup", "{}", true),
        ],
    );
}

#[test]
fn a_platforms_rules_are_not_lifted_by_a_server() {
    asked(
        "policy-for-many-servers.yaml",
        &[
            ("--group staff", "get_note", "{}", true),
            ("", "get_note", "{}", false),
            ("--group editors", "update_note", "{}", true),
            ("--group editors", "delete_note", "{}", false),
        ],
    );
}

#[test]
fn scopes_stand_for_tools_and_what_may_be_done_with_them() {
    let (inside, incoming) = (r#"{"path":"/data/a"}"#, r#"{"path":"/data/incoming/a"}"#);
    asked(
        "policy-scope-bundles.yaml",
        &[
            ("--group staff", "read_file", inside, false),
            ("--group staff --scope filesystem-read", "read_file", inside, true),
            ("--group staff --scope filesystem-read", "read_file", r#"{"path":"/etc/a"}"#, false),
            ("--group staff --scope filesystem-read", "write_file", incoming, false),
            ("--group staff --scope filesystem-write", "write_file", incoming, true),
            ("--group staff --scope filesystem-write", "write_file", inside, false),
            ("--group staff --scope filesystem-write", "read_file", inside, true),
            ("--scope filesystem-write", "read_file", inside, false),
        ],
    );
}
