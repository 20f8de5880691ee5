//! `layerplay inventory --list|--graph|--host`: in the form of ansible-inventory.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::project;
use crate::cli::args::InventoryArgs;
use crate::cli::{exit, printer};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::template::Scope;
use crate::vars::{PlayContext, Settings, TaskScope, World, is_reserved, parse_extra};

pub(in crate::cli) fn run(args: &InventoryArgs) -> u8 {
    match show(args) {
        Ok(text) => {
            printer::out(&text);
            exit::OK
        }
        Err(problems) => project::show(&problems),
    }
}

fn show(args: &InventoryArgs) -> Result<String, Diagnostics> {
    let settings = project::settings()?;
    let reader = project::reader(&args.vault, &settings)?;
    let sources = project::sources(&args.inventory, &settings);
    let extra = parse_extra(&args.inventory.extra_vars, &reader)?;
    let (inventory, limit) = project::inventory(&sources, &args.inventory, &reader)?;
    let world = Arc::new(World::new(
        inventory,
        project::templar(reader, &settings),
        extra,
        Settings::default(),
    ));
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    world.prepare(&here)?;
    let shown: Vec<Arc<str>> = match &limit {
        Some(pattern) => world
            .select(pattern)
            .map(|(hosts, _)| hosts)
            .unwrap_or_default(),
        None => world.host_names(),
    };
    if let Some(name) = &args.host {
        if !world.has_host(name) {
            let near =
                world.inventory(|inventory| inventory.nearest_name(name).map(ToOwned::to_owned));
            let problem = Diagnostic::error(
                Code::UNKNOWN_HOST,
                format!("the inventory has no host `{name}`"),
            );
            return Err(match near {
                Some(near) => problem.help(format!("did you mean `{near}`?")).into(),
                None => problem.into(),
            });
        }
        let shown = pretty(&Value::Object(vars(&world, name, &here)));
        return Ok(masked(&world, &shown));
    }
    if args.graph {
        let mut lines = Vec::new();
        graph(&world, "all", 0, &shown, &mut lines);
        return Ok(lines.join("\n"));
    }
    let mut all = Map::new();
    let hostvars: Map<String, Value> = shown
        .iter()
        .map(|host| (host.to_string(), Value::Object(vars(&world, host, &here))))
        .collect();
    all.insert("_meta".to_owned(), json!({"hostvars": hostvars}));
    world.inventory(|inventory| {
        for (name, group) in &inventory.groups {
            let mut entry = Map::new();
            if !group.children.is_empty() {
                entry.insert("children".to_owned(), names(group.children.iter()));
            }
            let hosts: Vec<&Arc<str>> = group
                .hosts
                .iter()
                .filter(|host| shown.contains(host))
                .collect();
            if !hosts.is_empty() && &**name != "all" {
                entry.insert("hosts".to_owned(), names(hosts.into_iter()));
            }
            all.insert(name.to_string(), Value::Object(entry));
        }
    });
    Ok(masked(&world, &pretty(&Value::Object(all))))
}

fn names<'n>(names: impl Iterator<Item = &'n Arc<str>>) -> Value {
    Value::from(names.map(ToString::to_string).collect::<Vec<_>>())
}

/// Without what was encrypted.
fn masked(world: &World, text: &str) -> String {
    world.templar.reader().secrets().mask(text).into_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// What the host sees outside of any play. A value whose template cannot be expanded here is shown as its error.
fn vars(world: &Arc<World>, host: &str, dir: &std::path::Path) -> Map<String, Value> {
    let play = PlayContext {
        dir: dir.to_owned(),
        ..PlayContext::default()
    };
    let scope = TaskScope::new(world, Some(Arc::new(play)), &world.host(host));
    let shared = scope.share();
    let mut names = scope.names();
    names.sort();
    names
        .into_iter()
        .filter(|name| !is_reserved(name))
        .filter_map(|name| {
            let value = match world.templar.evaluate(&scope.lookup(&name)?, &shared) {
                Ok(value) => serde_json::to_value(value).unwrap_or_default(),
                Err(problem) => json!(format!("<< {} >>", problem.message)),
            };
            Some((name.to_string(), value))
        })
        .collect()
}

fn graph(world: &World, group: &str, depth: usize, shown: &[Arc<str>], lines: &mut Vec<String>) {
    let indent = |depth: usize| "  |".repeat(depth);
    lines.push(format!(
        "{}{}@{group}:",
        indent(depth),
        if depth == 0 { "" } else { "--" }
    ));
    let (children, hosts) = world.inventory(|inventory| {
        let known = inventory.groups.get(group);
        (
            known
                .map(|group| group.children.iter().cloned().collect::<Vec<_>>())
                .unwrap_or_default(),
            known
                .map(|group| group.hosts.iter().cloned().collect::<Vec<_>>())
                .unwrap_or_default(),
        )
    });
    for child in children {
        graph(world, &child, depth + 1, shown, lines);
    }
    // Those of `all` stand below `ungrouped` or another group.
    let hosts = hosts.iter().filter(|_| group != "all");
    for host in hosts.filter(|host| shown.contains(host)) {
        lines.push(format!("{}--{host}", indent(depth + 1)));
    }
}
