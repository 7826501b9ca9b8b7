//! The operator: `observe` → `validate` → `material` → `build` → `apply` → `status`, one file each, and what runs beside
//! them. [`controller`] puts them together.
//!
//! `validate`, `material`, `build` and `status` are pure; `observe` and `apply` are the only steps that talk to the API
//! server, and no step talks to anything else: proxies are asked beside the reconcile, in [`inquiry`].

pub mod access_policies;
pub mod admin;
pub mod apply;
pub mod auth_policies;
pub mod authority;
pub mod build;
pub mod children;
pub mod cluster_issuer;
pub mod controller;
pub mod governance;
pub mod heard;
pub mod hold;
pub mod inquiry;
pub mod installation;
pub mod left_alone;
pub mod manifests;
pub mod material;
pub mod metrics;
pub mod news;
pub mod nudge;
pub mod observe;
pub mod ownership;
pub mod pods;
pub mod publish;
pub mod relist;
pub mod secret_stores;
pub mod status;
pub mod users;
pub mod validate;
pub mod watches;
