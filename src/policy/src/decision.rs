//! What can be asked, and the two answers.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

/// What a caller wants to do. Whatever the proxy cannot name as one of these it asks as [`Action::Unknown`], which is
/// denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Part of every session and without effect of its own: handshake, ping, progress, cancel, opening and ending streams.
    Session,
    /// Asks what there is. Always permitted to a known caller; what comes back is filtered by [`Policy::shows`].
    ///
    /// [`Policy::shows`]: crate::Policy::shows
    List(Catalog),
    /// Calls the tool of this name.
    CallTool(&'a str),
    /// Has the prompt of this name written out, or its arguments completed.
    GetPrompt(&'a str),
    /// Reads the resource at this URI, or asks to hear of its changes.
    ReadResource(&'a str),
    /// Reads what a template (RFC 6570) leads to, without saying what yet: completes its variables.
    ReadTemplate(&'a str),
    /// Asks to hear of changes: of lists always, of each of these resources if it may be read, and of what else there may
    /// be (`further`) if the method is allowed.
    Listen {
        /// URIs.
        resources: &'a [String],
        /// Whether it asks for notifications that have no name here.
        further: bool,
    },
    /// A method that has no action of its own, by its name.
    Method(&'a str),
    /// What no rule can be about, by its method.
    Unknown(&'a str),
}

/// The arguments that come with an action. They are asked for only where a rule has conditions on them.
pub trait Arguments {
    /// All of them as one object; none if they are not known.
    fn value(&self) -> Option<&Value>;
}

/// What has no arguments is as what leaves them out.
impl Arguments for () {
    fn value(&self) -> Option<&Value> {
        static NONE: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        Some(&NONE)
    }
}

impl Arguments for Value {
    fn value(&self) -> Option<&Value> {
        Some(self)
    }
}

/// Lists a server can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalog {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    ResourceTemplates,
}

impl Catalog {
    /// Member of the result that holds the list.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// Member of an element by which rules know it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}

/// Proof that an action was decided and permitted. There is no other way to get one than [`Policy::decide`].
///
/// [`Policy::decide`]: crate::Policy::decide
#[derive(Debug)]
#[must_use = "a permit is spent by going upstream with it"]
pub struct Permit {
    rule: Option<Arc<str>>,
}

impl Permit {
    pub(crate) fn by(rule: Option<Arc<str>>) -> Self {
        Self { rule }
    }

    /// Name of the rule that permitted it; none for what every known caller may do.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }
}

/// A refusal, with what the audit line says of it. The caller is told none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
}

/// Why an action was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// A Deny rule matched; its name.
    Rule(Arc<str>),
    /// No rule allows it.
    NothingAllows,
    /// A rule would allow it to a token with these scopes. This alone a caller may be told: who
    /// would be refused anyway hears [`DenialReason::NothingAllows`].
    MissingScopes {
        /// The rule.
        rule: Arc<str>,
        /// All that it needs, those that the token has among them.
        scopes: Arc<[String]>,
    },
    /// The method is not one that a rule can be about.
    UnknownMethod,
}
