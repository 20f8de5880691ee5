//! In: everything that sets variables. Out: one lookup for each host and task, by Ansible's precedence, over layers
//! that are shared and never copied.
//!
//! Lowest to highest, as [`TaskScope`] asks them (backwards):
//!
//! ```text
//!  1 role defaults                        11 play vars, prompts
//!  2 inventory file: all, then groups     12 vars_files
//!  3 group_vars/all beside the inventory  13 role vars
//!  4 group_vars/all beside the playbook   14 block vars, nearer last
//!  5 group_vars/X beside the inventory    15 task vars
//!  6 group_vars/X beside the playbook     16 include_vars
//!  7 inventory file: host                 17 set_fact, register
//!  8 host_vars/H beside the inventory     18 parameters of roles and includes
//!  9 host_vars/H beside the playbook      19 extra vars
//! 10 facts                                20 the loop's own, and magic variables
//! ```
//!
//! Source: ansible-core 2.19, `VariableManager.get_vars`.

mod cache;
mod extra;
mod files;
mod magic;
#[cfg(test)]
mod properties;
mod scope;
mod world;

pub use crate::inventory::Vars;
pub use cache::FactCache;
pub use extra::parse as parse_extra;
pub use files::{DirOptions, load_dir, load_file, load_path};
pub use magic::{Gathering, PlayContext, Reach, Settings, is_reserved, names as magic_names};
pub use scope::{Layers, TaskScope};
pub use world::{HostState, World};
