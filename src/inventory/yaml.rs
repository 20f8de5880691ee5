//! In: a YAML inventory (`group: {hosts, vars, children}`, null allowed everywhere). Out: its hosts, groups and
//! variables added to an [`Inventory`].

use std::sync::Arc;

use super::{Inventory, Vars, constructed};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{Reader, SourceFile};
use crate::template::Lazy;
use crate::yaml::{Mapping, Node, parse};

pub(super) fn read(
    file: &Arc<SourceFile>,
    reader: &Reader,
    inventory: &mut Inventory,
) -> Diagnostics {
    let (node, mut problems) = parse(file);
    let Some(node) = node else { return problems };
    if node.is_null() {
        return problems;
    }
    node.hide(reader);
    match constructed::plugin(&node) {
        Some(plugin)
            if matches!(
                plugin.as_str(),
                Some("constructed" | "ansible.builtin.constructed")
            ) =>
        {
            problems.extend(constructed::read(&node, reader, inventory));
            return problems;
        }
        Some(plugin) => {
            problems.push(
                wrong(
                    plugin,
                    format!("there is no inventory plugin `{}`", plugin.as_str().unwrap_or_default()),
                )
                .help("`constructed` is there; other sources are executables that print JSON for `--list`"),
            );
            return problems;
        }
        None => {}
    }
    match node.as_mapping() {
        Some(groups) => {
            for (name, group) in groups.iter() {
                self::group(name, group, inventory, &mut problems);
            }
        }
        None => problems.push(wrong(
            &node,
            format!(
                "an inventory is a mapping of groups, not {}",
                node.describe()
            ),
        )),
    }
    problems
}

/// The variables of a mapping node.
pub(super) fn vars(mapping: &Mapping) -> Vars {
    mapping
        .iter()
        .filter_map(|(name, value)| Some((Arc::from(name.as_str()?), Lazy::from_node(value))))
        .collect()
}

fn wrong(node: &Node, message: String) -> Diagnostic {
    Diagnostic::error(Code::INVENTORY, message).at(&node.span, "")
}

fn group(name: &Node, node: &Node, inventory: &mut Inventory, problems: &mut Diagnostics) {
    let Some(group) = name.as_str() else {
        problems.push(wrong(
            name,
            format!("a group's name is text, not {}", name.describe()),
        ));
        return;
    };
    inventory.add_group(group);
    if node.is_null() {
        return;
    }
    let Some(parts) = node.as_mapping() else {
        problems.push(wrong(
            node,
            format!(
                "group `{group}` is a mapping with `hosts`, `vars` and `children`, not {}",
                node.describe()
            ),
        ));
        return;
    };
    for (key, value) in parts.iter() {
        let word = key.as_str().unwrap_or_default();
        if !matches!(word, "hosts" | "vars" | "children") {
            problems.push(
                Diagnostic::error(
                    Code::INVENTORY,
                    format!("group `{group}` has no key `{word}`"),
                )
                .at(&key.span, "")
                .suggest(word, ["hosts", "vars", "children"]),
            );
            continue;
        }
        if value.is_null() {
            continue;
        }
        let Some(entries) = value.as_mapping() else {
            let mut problem = wrong(
                value,
                format!(
                    "`{word}` of group `{group}` is a mapping, not {}",
                    value.describe()
                ),
            );
            if word != "vars" && value.as_sequence().is_some() {
                problem = problem.help("write each name as a key that ends with `:`");
            }
            problems.push(problem);
            continue;
        };
        match word {
            "vars" => inventory.add_group(group).vars.extend(vars(entries)),
            "children" => {
                for (child, node) in entries.iter() {
                    self::group(child, node, inventory, problems);
                    if let Some(name) = child.as_str()
                        && let Err(problem) = inventory.try_add_child(group, name)
                    {
                        problems.push(wrong(child, problem.to_string()));
                    }
                }
            }
            _ => {
                for (host, node) in entries.iter() {
                    self::host(group, host, node, inventory, problems);
                }
            }
        }
    }
}

fn host(
    group: &str,
    name: &Node,
    node: &Node,
    inventory: &mut Inventory,
    problems: &mut Diagnostics,
) {
    let names = name
        .as_str()
        .ok_or_else(|| format!("a host's name is text, not {}", name.describe()))
        .and_then(|name| inventory.expand(name));
    let names = match names {
        Ok(names) => names,
        Err(message) => return problems.push(wrong(name, message)),
    };
    let own = match node.as_mapping() {
        Some(mapping) => vars(mapping),
        None if node.is_null() => Vars::new(),
        None => {
            problems.push(wrong(
                node,
                format!(
                    "the variables of host `{}` are a mapping, not {}",
                    names.join(", "),
                    node.describe()
                ),
            ));
            return;
        }
    };
    for name in names {
        inventory.add_member(group, &name);
        inventory.add_host(&name).vars.extend(own.clone());
    }
}
