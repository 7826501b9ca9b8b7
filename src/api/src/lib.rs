//! What the user asks for: the custom resources of `cardea.dev`, the rules they must keep, and the words in which the
//! operator answers (conditions and reasons).
//!
//! Knows nothing of how any of it is brought about.

#![expect(unreachable_pub, reason = "KubeSchema derives a public twin of each struct inside a function")]

pub mod v1alpha1;
