//! `layerplay diagnose POOL` and `layerplay repair POOL`: one task on every cluster of the inventory, as a playbook would
//! run it.

use super::run;
use crate::cli::args::{PoolArgs, RunArgs};
use crate::cli::{exit, printer};

const DIAGNOSE: &str = "- name: diagnose\n  hosts: all\n  gather_facts: false\n  tasks:\n    - diagnose_pool: {pool: \"{{ layerplay_pool }}\"}\n";
const REPAIR: &str = "- name: repair\n  hosts: all\n  gather_facts: false\n  tasks:\n    - repair_pool: {pool: \"{{ layerplay_pool }}\"}\n";

pub(in crate::cli) fn diagnose(args: PoolArgs) -> u8 {
    play("diagnose.yml", DIAGNOSE, args)
}

pub(in crate::cli) fn repair(args: PoolArgs) -> u8 {
    play("repair.yml", REPAIR, args)
}

/// Problems name the playbook, so that it is a file while it runs.
fn play(name: &str, text: &str, args: PoolArgs) -> u8 {
    let written = tempfile::tempdir().and_then(|dir| {
        std::fs::write(dir.path().join(name), text)?;
        Ok(dir)
    });
    let dir = match written {
        Ok(dir) => dir,
        Err(problem) => {
            printer::err(&format!(
                "error: no temporary file can be written: {problem}"
            ));
            return exit::ERROR;
        }
    };
    let mut inventory = args.inventory;
    let pool = serde_json::json!({"layerplay_pool": args.pool});
    inventory.extra_vars.push(pool.to_string());
    run::run(&RunArgs {
        playbooks: vec![dir.path().join(name)],
        inventory,
        vault: args.vault,
        check: args.check,
        verbose: args.verbose,
        format: args.format,
        ..RunArgs::default()
    })
}
