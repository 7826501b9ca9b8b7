//! The program beside a shell, a manual and kubectl.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::program::{Folder, program};

const COMMANDS: [&str; 8] = ["run", "can-i", "diff", "explain", "lint", "token", "completion", "man"];

#[test]
fn shells_learn_every_command() {
    let folder = Folder::with(&[]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let answer = folder.cardea(&["completion", shell]);
        assert_eq!(answer.code, Some(0), "{shell}: {}", answer.errors);
        for word in COMMANDS.iter().chain(&["service-account"]) {
            assert!(answer.says.contains(word), "{shell}: {word}");
        }
        folder.put(shell, &answer.says);
    }
    let bash = Command::new("bash").arg("-n").arg(folder.path("bash")).output().unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let folder = Folder::with(&[]);
    let page = folder.cardea(&["man"]).says;
    assert!(page.contains("\n.TH cardea 1 "), "{page}");
    assert_eq!(folder.cardea(&["man", "--output-dir", "pages/man1"]).code, Some(0));
    assert_eq!(std::fs::read_to_string(folder.path("pages/man1/cardea.1")).unwrap(), page);
    for command in COMMANDS {
        let page = std::fs::read_to_string(folder.path(&format!("pages/man1/cardea-{command}.1"))).unwrap();
        assert!(page.contains(".SH DESCRIPTION"), "{command}: {page}");
        assert!(folder.cardea(&["--help"]).says.contains(command), "{command}");
    }
}

#[test]
fn kubectl_finds_a_plugin_that_calls_itself_so() {
    let folder = Folder::with(&[]);
    symlink(program(), folder.path("kubectl-cardea")).unwrap();
    let help = |program: &str, words: &[&str]| {
        let output = Command::new(folder.path(program)).args(words).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(help("kubectl-cardea", &["--help"]).contains("Usage: kubectl cardea [OPTIONS] <COMMAND>"));
    assert!(help("kubectl-cardea", &["can-i"]).contains("Usage: kubectl cardea can-i "));
    assert!(folder.cardea(&["can-i", "--help"]).says.contains("Usage: cardea can-i "));
}

#[test]
fn where_the_manifest_is_must_be_said() {
    let folder = Folder::with(&[("server.yaml", "a: 1\n")]);
    for (words, expected) in [
        (&["explain"][..], "say which McpServer: -f FILE, or --server NAME of a cluster"),
        (&["explain", "--server", "a"], "no cluster is known: say which file with -f FILE, or set KUBECONFIG"),
        (&["explain", "--server", "a", "--context", "b"], "--context b"),
        (&["explain", "-f", "server.yaml", "-n", "tools"], "cannot be used with"),
        (&["run", "--upstream", "http://127.0.0.1:1/mcp"], "say which manifest: -f FILE"),
    ] {
        let answer = folder.cardea(words);
        assert!(answer.code != Some(0) && answer.errors.contains(expected), "{words:?}: {}", answer.errors);
    }
}
