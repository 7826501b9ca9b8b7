//! What is found, and the kinds of it.

use crate::documents::Place;

/// Something that is wrong, or may not be meant, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Which of the files, from 0.
    pub(super) file: usize,
    pub(super) place: Place,
    pub(super) severity: Severity,
    pub(super) id: Id,
    /// The field, as in `spec.access.rules[0].tools`; empty, if it is about the whole.
    pub(super) path: String,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It would be refused.
    Error,
    /// It may not be meant.
    Warning,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What kind of thing it is. Its name stays what it is: people tell their tools by it what to pass over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Yaml,
    Schema,
    Validation,
    Refused,
    Unresolved,
    OpenToAll,
    Opening,
    RuleEnded,
    RuleShadowed,
    NoEffect,
    Unfit,
}

impl Id {
    pub(super) const ALL: [Self; 11] = [
        Self::Yaml,
        Self::Schema,
        Self::Validation,
        Self::Refused,
        Self::Unresolved,
        Self::OpenToAll,
        Self::Opening,
        Self::RuleEnded,
        Self::RuleShadowed,
        Self::NoEffect,
        Self::Unfit,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Schema => "schema",
            Self::Validation => "validation",
            Self::Refused => "refused",
            Self::Unresolved => "unresolved",
            Self::OpenToAll => "open-to-all",
            Self::Opening => "opening",
            Self::RuleEnded => "rule-ended",
            Self::RuleShadowed => "rule-shadowed",
            Self::NoEffect => "no-effect",
            Self::Unfit => "unfit",
        }
    }

    /// What it stands for, in a sentence.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Yaml => "The text is not YAML, or a field stands twice.",
            Self::Schema => "A field is unknown, missing, of another type or out of its bounds.",
            Self::Validation => "A validation rule of the CRD refuses it.",
            Self::Refused => "The operator would refuse it, and leave the server as it was.",
            Self::Unresolved => "It refers to what is not among the files.",
            Self::OpenToAll => "A rule lets every caller use everything.",
            Self::Opening => "It opens what is closed by default.",
            Self::RuleEnded => "The end of a rule has come.",
            Self::RuleShadowed => "A Deny refuses all that a rule allows.",
            Self::NoEffect => "A rule of a policy matches nobody whom a server lets in.",
            Self::Unfit => "A rule does not fit the tools that a server has.",
        }
    }

    pub(super) fn severity(self) -> Severity {
        match self {
            Self::Yaml | Self::Schema | Self::Validation | Self::Refused => Severity::Error,
            Self::Unresolved
            | Self::OpenToAll
            | Self::Opening
            | Self::RuleEnded
            | Self::RuleShadowed
            | Self::NoEffect
            | Self::Unfit => Severity::Warning,
        }
    }
}
