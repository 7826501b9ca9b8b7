//! Who may do what: a verified [`Principal`], an [`Action`], one decision. Pure and total: no I/O, no clock, no panic.
//!
//! Knows nothing of HTTP, JSON or where an identity was verified. Only this crate makes a [`Permit`], and the proxy's
//! way upstream takes nothing else, so forwarding without a decision does not compile.

mod conditions;
mod decision;
mod glob;
mod pointer;
mod principal;
mod redaction;
mod rules;
mod scopes;
mod text;
mod tools;
mod uri;
mod when;

pub use conditions::ConditionError;
pub use decision::{Action, Arguments, Catalog, Denial, DenialReason, Permit};
pub use principal::{Evidence, Principal};
pub use redaction::{Redaction, RedactionError};
pub use rules::{ButFor, CompileError, Explanation, Look, Policy};
pub use tools::{Mirror, ToolDefinition, rule_warnings};
pub use when::WhenError;
