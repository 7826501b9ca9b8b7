//! The bridge from outside: a real socket, real processes behind it, and a server that does whatever bad it is told.
//!
//! Knows the bridge by its socket, and its processes by what they do.

#![cfg(test)]

mod support;

mod agent;
mod children;
mod crashes;
mod eras;
mod messages;
mod replies;
mod rotation;
mod sessions;
mod shared;
