//! In: playbook, inventory, selection; out: what would run, where, in which order.
