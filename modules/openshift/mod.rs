//! Clusters: in, whole objects as the API shows them; out, what they mean (pools, rollouts, proofs) and the modules that change them.

mod around;
mod asking;
mod await_objects;
mod blockers;
mod clocks;
mod compare;
pub mod connection;
pub mod diagnose;
mod diagnose_pool;
mod drain;
mod dynamic;
mod exec;
mod k8s;
mod k8s_drain;
mod k8s_exec;
mod k8s_info;
mod k8s_plan;
mod k8s_write;
mod kinds;
mod known;
mod last_applied;
pub mod look;
mod machine_config;
mod machine_config_pool;
mod machine_config_pool_info;
mod manifest;
mod mirror;
mod node_image_info;
pub mod objects;
pub mod observe;
mod pool_pause;
mod pool_plan;
mod pool_share;
mod pool_state;
pub mod pools;
mod preflight;
pub mod proof;
mod release_info;
mod repair_pool;
mod rollout;
mod waiting;

use std::sync::Arc;

use crate::contract::{DynModule, erase};

pub use machine_config::FIELD_MANAGER;

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    vec![
        erase(diagnose_pool::DiagnosePool),
        erase(k8s::K8s),
        erase(k8s_drain::K8sDrain),
        erase(k8s_exec::K8sExec),
        erase(k8s_info::K8sInfo),
        erase(machine_config::MachineConfig),
        erase(machine_config_pool::MachineConfigPool),
        erase(machine_config_pool_info::MachineConfigPoolInfo),
        erase(node_image_info::NodeImageInfo),
        erase(preflight::LayerPreflight),
        erase(release_info::ReleaseInfo),
        erase(repair_pool::RepairPool),
        erase(rollout::Rollout),
    ]
}
