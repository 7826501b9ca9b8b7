//! A proxy under test with all that it needs around it.

mod authority;
mod client;
pub(crate) mod frames;
mod issuer;
mod load;
mod server;
mod world;

pub(crate) use authority::{Authority, Leaf};
pub(crate) use client::{Answer, Client, message, tool_call, with_header};
pub(crate) use issuer::{Issuer, SigningKey, encode_unsigned};
pub(crate) use load::Load;
pub(crate) use server::{Reply, Seen, Server, answer};
pub(crate) use world::{INITIALIZE, OPERATOR, RESOURCE, Shared, World, eventually};
