//! Modules of Ansible's core that need a machine: in, their arguments; out, the results that playbooks read.

pub mod arguments;

use std::sync::Arc;

use crate::contract::DynModule;

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    Vec::new()
}
