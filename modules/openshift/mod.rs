//! Clusters: in, whole objects as the API shows them; out, what they mean (pools, rollouts, proofs) and the modules that change them.

pub mod connection;
pub mod objects;
pub mod pools;
pub mod proof;

use std::sync::Arc;

use crate::contract::DynModule;

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    Vec::new()
}
