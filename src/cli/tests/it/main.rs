//! The commands that read manifests, as a person types them.

#![cfg(test)]

mod can_i;
mod diff;
mod examples;
mod explain;
mod lint;
mod malformed;
mod program;
mod shell;
