//! `--list-tasks`, `--list-hosts`, `--list-tags`, `--syntax-check`. In: playbooks as read. Out: what would run, in
//! ansible-playbook's form; nothing runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cli::args::RunArgs;
use crate::cli::printer;
use crate::plan::Selection;
use crate::playbook::{Play, Playbook, Task};
use crate::template::Lazy;
use crate::vars::World;

pub(in crate::cli) fn show(playbooks: &[Playbook], world: &World, args: &RunArgs) {
    let selection = Selection {
        tags: args.tags.clone(),
        skip: args.skip_tags.clone(),
    };
    for (playbook, named) in playbooks.iter().zip(&args.playbooks) {
        printer::out(&format!("\nplaybook: {}", named.display()));
        if !(args.list_tasks || args.list_hosts || args.list_tags) {
            continue;
        }
        for (at, play) in playbook.plays.iter().enumerate() {
            let mut tasks = play.tasks();
            // Tags are listed so that one can choose among them: all of them.
            if !args.list_tags {
                tasks.retain(|task| selection.selects(&task.keywords.tags));
            }
            one(at + 1, play, &tasks, world, args);
        }
    }
}

fn one(number: usize, play: &Play, tasks: &[&Arc<Task>], world: &World, args: &RunArgs) {
    let pattern = written(&play.hosts);
    let name = play.name.as_ref().map_or_else(|| pattern.clone(), written);
    printer::out(&format!(
        "\n  play #{number} ({pattern}): {name}\tTAGS: [{}]",
        play.keywords.tags.join(", ")
    ));
    if args.list_hosts {
        let hosts = world
            .select(&pattern)
            .map(|(hosts, _)| hosts)
            .unwrap_or_default();
        printer::out(&format!(
            "    pattern: ['{pattern}']\n    hosts ({}):",
            hosts.len()
        ));
        for host in hosts {
            printer::out(&format!("      {host}"));
        }
    }
    if args.list_tags {
        let tags: BTreeSet<&str> = tasks
            .iter()
            .flat_map(|task| task.keywords.tags.iter().map(String::as_str))
            .collect();
        let tags: Vec<&str> = tags.into_iter().collect();
        printer::out(&format!("      TASK TAGS: [{}]", tags.join(", ")));
    }
    if args.list_tasks {
        printer::out("    tasks:");
        for task in tasks {
            let name = match (task.plain_name(), &task.role) {
                (Some(name), Some(role)) => format!("{} : {name}", role.name),
                (Some(name), None) => name,
                (None, _) => task.action.clone(),
            };
            let mut tags = task.keywords.tags.clone();
            tags.sort();
            tags.dedup();
            printer::out(&format!("      {name}\tTAGS: [{}]", tags.join(", ")));
        }
    }
}

/// Templates as they are written: nothing is known yet.
fn written(lazy: &Lazy) -> String {
    match lazy {
        Lazy::Data(value) => value.to_string(),
        Lazy::Template(text) => text.text.to_string(),
        _ => String::new(),
    }
}
