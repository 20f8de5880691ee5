//! In: one name, set at any of the places where a name can be set. Out: nothing, unless another place wins than the
//! list of Ansible's manual says ("Understanding variable precedence"), which is written down here once more, as a list.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use minijinja::Value;
use proptest::prelude::*;

use super::{Settings, TaskScope, Vars, World};
use crate::inventory::Inventory;
use crate::template::{Lazy, Scope, Templar};

/// All places, weakest first. The host is in `low` (a parent of `deep`), in `deep`, and in `deer`, which is as deep as
/// `deep` and later by its name.
const LADDER: [&str; 30] = [
    "defaults of another role",
    "defaults of the task's role",
    "inventory: all",
    "inventory: low",
    "inventory: deep",
    "inventory: deer",
    "group_vars/all beside the inventory",
    "group_vars/all beside the playbook",
    "group_vars/low beside the inventory",
    "group_vars/deep beside the inventory",
    "group_vars/deer beside the inventory",
    "group_vars/low beside the playbook",
    "group_vars/deep beside the playbook",
    "group_vars/deer beside the playbook",
    "inventory: host",
    "host_vars beside the inventory",
    "host_vars beside the playbook",
    "facts",
    "play",
    "vars_files, first",
    "vars_files, second",
    "vars of a role",
    "outer block",
    "inner block",
    "task",
    "include_vars",
    "set_fact",
    "parameters of a role",
    "parameters of an include",
    "extra",
];

fn one(place: &str) -> Vars {
    [(Arc::from("x"), Lazy::Data(Value::from(place)))].into()
}

/// Sets the name at these places, and asks for it.
fn winner(dir: &Path, places: &[&'static str], priority: i64) -> Option<String> {
    let is_set = |place: &str| places.contains(&place);
    let vars = |place: &str| {
        if is_set(place) {
            one(place)
        } else {
            Vars::new()
        }
    };
    let mut inventory = Inventory::default();
    inventory.try_add_child("low", "deep").unwrap();
    inventory.try_add_child("low", "deer").unwrap();
    for group in ["low", "deep", "deer"] {
        inventory.add_member(group, "h");
    }
    inventory.settle();
    for group in ["all", "low", "deep", "deer"] {
        inventory.add_group(group).vars = vars(&format!("inventory: {group}"));
    }
    let deep = &mut inventory.add_group("deep").vars;
    deep.insert(
        Arc::from("ansible_group_priority"),
        Lazy::Data(Value::from(priority)),
    );
    inventory.add_host("h").vars = vars("inventory: host");
    let beside = dir.join("inventory");
    let playbook = dir.join("playbook");
    for (folder, name) in [(&beside, "inventory"), (&playbook, "playbook")] {
        for (kind, of) in [
            ("group_vars", "all"),
            ("group_vars", "low"),
            ("group_vars", "deep"),
            ("group_vars", "deer"),
            ("host_vars", "h"),
        ] {
            let place = match kind {
                "group_vars" => format!("group_vars/{of} beside the {name}"),
                _ => format!("host_vars beside the {name}"),
            };
            if is_set(&place) {
                fs::create_dir_all(folder.join(kind)).unwrap();
                fs::write(
                    folder.join(kind).join(format!("{of}.yml")),
                    format!("x: '{place}'\n"),
                )
                .unwrap();
            }
        }
    }
    inventory.dirs.push(beside);
    let world = Arc::new(World::new(
        inventory,
        Templar::default(),
        vars("extra"),
        Settings::default(),
    ));
    world.prepare(&playbook).unwrap();
    let host = world.host("h");
    host.add_facts(vars("facts")).unwrap();
    host.add_included(vars("include_vars"));
    host.add_set(vars("set_fact"));
    let play = Arc::new(super::PlayContext {
        dir: playbook,
        ..super::PlayContext::default()
    });
    let mut scope = TaskScope::new(&world, Some(play), &host);
    let layers = |places: &[&str]| places.iter().map(|place| Arc::new(vars(place))).collect();
    scope.defaults = layers(&["defaults of another role", "defaults of the task's role"]);
    scope.play_vars = layers(&["play", "vars_files, first", "vars_files, second"]);
    scope.role_vars = layers(&["vars of a role"]);
    scope.task_vars = layers(&["outer block", "inner block", "task"]);
    scope.parameters = layers(&["parameters of a role", "parameters of an include"]);
    match scope.lookup("x") {
        Some(Lazy::Data(value)) => Some(value.to_string()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_strongest_place_wins(
        // Few places a time, so that weak ones win, too.
        places in proptest::sample::subsequence(LADDER.to_vec(), 0..=6),
        priority in 0_i64..4,
    ) {
        let dir = tempfile::tempdir().unwrap();
        // A higher priority puts a group behind others of its depth; the default is 1.
        let mut ladder = LADDER.to_vec();
        if priority > 1 {
            for kind in ["inventory: ", "group_vars/"] {
                let swap: Vec<usize> = (0..ladder.len()).filter(|at| ladder[*at].starts_with(kind)).collect();
                for pair in swap.windows(2) {
                    if ladder[pair[0]].replacen("deep", "deer", 1) == ladder[pair[1]] {
                        ladder.swap(pair[0], pair[1]);
                    }
                }
            }
        }
        let strongest = ladder.iter().rfind(|place| places.contains(place));
        let found = winner(dir.path(), &places, priority);
        prop_assert_eq!(found.as_deref(), strongest.copied());
    }
}
