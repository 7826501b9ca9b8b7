//! The charts, the plain manifests and the examples: what they render to, and, where the cluster launcher runs these
//! tests, what a real API server makes of them. Needs `helm` on the PATH, and for the latter `kubectl`.
#![cfg(test)]

mod admission;
mod cluster;
mod drift;
mod operator;
mod rendering;
mod rights;
mod tools;
mod values;
