//! What layerplay knows of the world. In: typed arguments and a [`platform::Platform`]; out: a [`contract::Change`]
//! (what would be different) and an [`contract::Outcome`] (what was done). Nothing here knows the playbook language:
//! Cargo refuses an import of the engine.
//!
//! ```text
//! contract   Module: Args, inspect -> Change, apply -> Outcome; the erased form that the engine calls
//! error      ModuleError: kind, what was tried, what was seen, hint, retry
//! platform   ports: Shell (where commands run), clusters, registry, clock, progress, secrets
//! command    child processes: the one place that spawns
//! fnmatch    names as shell patterns
//! python_regex  regular expressions as Python reads them
//! secret     values that must never be shown, and the mask that hides them
//! core/      command, copy, file, stat, ...        openshift/  clusters, pools, rollouts, proofs
//! image/     Containerfile, builders, layers       registry/   OCI distribution, credentials
//! catalogue  every native module by name
//! ```

pub mod catalogue;
pub mod command;
pub mod contract;
pub mod core;
pub mod error;
pub mod fnmatch;
pub mod image;
pub mod openshift;
pub mod platform;
pub mod python_regex;
pub mod registry;
pub mod secret;

pub use contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
pub use error::{ErrorKind, ModuleError, Retry};
pub use platform::Platform;
