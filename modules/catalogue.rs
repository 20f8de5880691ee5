//! Every native module. In: a name as a playbook writes it; out: the module behind it.

use std::sync::Arc;

use crate::contract::DynModule;

/// All native modules, in no particular order. Each folder lists its own.
pub fn native() -> Vec<Arc<dyn DynModule>> {
    let mut modules = crate::core::modules();
    modules.extend(crate::image::modules());
    modules.extend(crate::openshift::modules());
    modules
}
