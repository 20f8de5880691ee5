//! Modules of Ansible's core that need a machine: in, their arguments; out, the results that playbooks read.

mod accounts;
mod archive;
pub mod arguments;
mod blockinfile;
mod command;
mod copy;
mod cron;
mod edit;
pub mod facts;
mod fetch;
mod file;
mod find;
mod get_url;
mod git;
mod host;
mod hostname;
mod http;
mod lineinfile;
mod packages;
mod ping;
mod place;
mod probe;
mod reboot;
mod replace;
mod script;
pub mod setup;
mod slurp;
mod ssh_keys;
mod stat;
mod systemd;
mod tempfile;
mod template;
mod text;
mod tree;
mod unarchive;
mod uri;
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
        erase(ssh_keys::AuthorizedKey),
        erase(accounts::Group),
        erase(accounts::User),
        erase(packages::Apt),
        erase(archive::Archive),
        erase(blockinfile::Blockinfile),
        erase(command::Command),
        erase(command::Shell),
        erase(command::Raw),
        erase(copy::Copy),
        erase(cron::Cron),
        erase(packages::Dnf),
        erase(fetch::Fetch),
        erase(file::File),
        erase(find::Find),
        erase(hostname::Hostname),
        erase(ssh_keys::KnownHosts),
        erase(get_url::GetUrl),
        erase(git::GitModule),
        erase(lineinfile::Lineinfile),
        erase(packages::Package),
        erase(ping::Ping),
        erase(reboot::Reboot),
        erase(setup::GatherFacts::default()),
        erase(setup::Setup),
        erase(systemd::Service),
        erase(replace::Replace),
        erase(script::Script),
        erase(slurp::Slurp),
        erase(stat::Stat),
        erase(systemd::Systemd),
        erase(tempfile::Tempfile),
        erase(template::Template),
        erase(unarchive::Unarchive),
        erase(uri::Uri),
        erase(wait_for::WaitFor),
    ]
}
