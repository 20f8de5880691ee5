//! In: a playbook, an inventory, a platform; out: events. One dispatcher linearises; units own their state.
