//! Modules of Ansible's core that need a machine: in, their arguments; out, the results that playbooks read.

pub mod arguments;
mod command;

use std::sync::Arc;

use crate::contract::{DynModule, erase};

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    vec![
        erase(command::Command),
        erase(command::Shell),
        erase(command::Raw),
    ]
}
