//! Modules of Ansible's core that need a machine: in, their arguments; out, the results that playbooks read.

pub mod arguments;
mod command;
mod copy;
pub mod facts;
mod file;
mod host;
mod ping;
mod place;
mod probe;
mod setup;
mod slurp;
mod stat;
mod systemd;
mod tempfile;
mod template;
mod tree;
mod wait_for;

use std::sync::Arc;

use crate::contract::{DynModule, Touches, erase};

/// What all of them reach: a machine, and nothing besides.
const MACHINE: Touches = Touches {
    machine: true,
    ..Touches::NOTHING
};

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    vec![
        erase(command::Command),
        erase(command::Shell),
        erase(command::Raw),
        erase(copy::Copy),
        erase(file::File),
        erase(ping::Ping),
        erase(setup::Setup),
        erase(systemd::Service),
        erase(slurp::Slurp),
        erase(stat::Stat),
        erase(systemd::Systemd),
        erase(tempfile::Tempfile),
        erase(template::Template),
        erase(wait_for::WaitFor),
    ]
}
