//! The configuration, checked once more: every name in it becomes that of a file, and none may lead elsewhere.
//!
//! Knows nothing of stores.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cardea_contract::pod;
use cardea_contract::secrets::{Destination, Key, Secret, SecretsConfig};

/// Longest name of a file.
const MAX_NAME: usize = 255;

/// One value that is wanted, and its file in the folder of a version.
pub(super) struct Wanted {
    /// Member of the secret; none: all of it.
    pub(super) key: Option<String>,
    /// Below the folder of a version.
    pub(super) path: PathBuf,
    /// Name of the file that readers find in the secret's folder, or of the environment variable.
    pub(super) name: String,
    /// Whether it is an environment variable.
    pub(super) variable: bool,
}

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "the name of secret {0:?} is no plain file name: use letters, digits, `-`, `_` and `.`, and begin with none of the dots"
    )]
    Name(String),
    #[error(
        "secret {secret}: key {key} is to go to the file {file:?}, which is no plain file name: use letters, digits, `-`, `_` and `.`, and begin with none of the dots"
    )]
    File { secret: String, key: String, file: String },
    #[error(
        "secret {secret}: key {key} is to go to the environment variable {variable:?}, which is no name of one: use letters, digits and `_`, and begin with no digit"
    )]
    Variable { secret: String, key: String, variable: String },
    #[error("secret {secret}: key {key} is to go where another one goes: give each a name of its own")]
    Twice { secret: String, key: String },
    #[error("there are two secrets of the name {0}: give each a name of its own")]
    SameName(String),
}

/// What is wanted of each secret, in the order of the configuration.
pub(super) fn check(config: &SecretsConfig) -> Result<Vec<Vec<Wanted>>, Refused> {
    let mut names = BTreeSet::new();
    config
        .secrets
        .iter()
        .map(|secret| {
            if !is_plain(&secret.name) {
                return Err(Refused::Name(secret.name.clone()));
            }
            if !names.insert(secret.name.as_str()) {
                return Err(Refused::SameName(secret.name.clone()));
            }
            wanted(secret)
        })
        .collect()
}

fn wanted(secret: &Secret) -> Result<Vec<Wanted>, Refused> {
    let mut paths = BTreeSet::new();
    secret
        .keys
        .iter()
        .map(|Key { key, to }| {
            let (owner, named) = (secret.name.clone(), key.clone().unwrap_or_else(|| "(all of it)".to_owned()));
            let (name, path) = match to {
                Destination::File(file) if is_plain(file) => (file, PathBuf::from(file)),
                Destination::File(file) => return Err(Refused::File { secret: owner, key: named, file: file.clone() }),
                Destination::Env(name) if is_variable(name) => (name, PathBuf::from(pod::VARIABLES_DIR).join(name)),
                Destination::Env(name) => {
                    return Err(Refused::Variable { secret: owner, key: named, variable: name.clone() });
                }
            };
            if !paths.insert(path.clone()) {
                return Err(Refused::Twice { secret: owner, key: named });
            }
            let variable = matches!(to, Destination::Env(_));
            Ok(Wanted { key: key.clone(), path, name: name.clone(), variable })
        })
        .collect()
}

/// One name, of what no shell, no terminal and no path takes for anything else.
fn is_plain(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_variable(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(secrets: &serde_json::Value) -> Result<Vec<PathBuf>, String> {
        let config: SecretsConfig = serde_json::from_value(json!({"stores": {}, "secrets": secrets})).unwrap();
        let wanted = check(&config).map_err(|refused| refused.to_string())?;
        Ok(wanted.into_iter().flatten().map(|wanted| wanted.path).collect())
    }

    fn secret(name: &str, keys: &serde_json::Value) -> serde_json::Value {
        json!({"name": name, "store": "vault", "at": {"onePasswordConnect": {"vault": "v", "item": "i"}}, "keys": keys,
            "refreshSeconds": 60, "maxStalenessSeconds": 60})
    }

    #[test]
    fn plain_names_become_files_and_variables_stand_apart() {
        let keys = json!([{"key": "a", "to": {"file": "tls.crt"}}, {"to": {"env": "_TOKEN_1"}}]);
        assert_eq!(checked(&json!([secret("db", &keys)])).unwrap(), ["tls.crt", ".env/_TOKEN_1"].map(PathBuf::from));
    }

    #[test]
    fn no_name_leads_anywhere_else_and_the_message_says_which_key() {
        let longest = "x".repeat(MAX_NAME + 1);
        for name in
            ["", ".", "..", "../up", "a/b", "/etc/passwd", ".env", "..data", "nul\0", "line\n", "é", " ", &longest]
        {
            let refused =
                checked(&json!([secret("db", &json!([{"key": "token", "to": {"file": name}}]))])).unwrap_err();
            assert!(refused.starts_with("secret db: key token is to go to the file "), "{refused}");
            let refused = checked(&json!([secret("db", &json!([{"key": "token", "to": {"env": name}}]))])).unwrap_err();
            assert!(refused.starts_with("secret db: key token is to go to the environment variable "), "{refused}");
            assert!(checked(&json!([secret(name, &json!([]))])).unwrap_err().starts_with("the name of secret "));
        }
        for variable in ["1A", "A=B", "A-B"] {
            assert!(checked(&json!([secret("db", &json!([{"to": {"env": variable}}]))])).is_err(), "{variable}");
        }
    }

    #[test]
    fn nothing_goes_where_something_else_goes() {
        let twice = json!([{"key": "a", "to": {"file": "x"}}, {"key": "b", "to": {"file": "x"}}]);
        assert!(checked(&json!([secret("db", &twice)])).unwrap_err().contains("key b is to go where another one goes"));
        let apart = json!([{"key": "a", "to": {"file": "x"}}, {"key": "b", "to": {"env": "x"}}]);
        assert!(checked(&json!([secret("db", &apart), secret("other", &apart)])).is_ok());
        assert!(checked(&json!([secret("db", &apart), secret("db", &apart)])).unwrap_err().contains("two secrets"));
    }
}
