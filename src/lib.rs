//! layerplay: Ansible-style playbooks for custom OS images on OpenShift nodes.
//!
//! The module list is the data flow; nothing imports against it (`tests/it/architecture.rs`).
//!
//! ```text
//!  text            parsed            meant                decided        done                 shown, kept
//!  SourceFile ──►  yaml::Node  ──►   playbook::Playbook ─► plan::Plan ─► event::Event* ─►     report::*
//!    source::read    yaml::parse       playbook::lower       plan::build    run::execute
//!    + vault                           + inventory::Inventory + Selection    │
//!                                      + vars (lazy, per host)               └─► layerplay_modules: inspect ─► Change ─► apply ─► Outcome
//! ```

pub mod cli;
pub mod diagnostic;
pub mod event;
pub mod foreign;
pub mod inventory;
pub mod lab;
pub mod plan;
pub mod platform;
pub mod playbook;
pub mod promote;
pub mod report;
pub mod run;
pub mod source;
pub mod template;
pub mod vars;
pub mod vault;
pub mod yaml;
