//! In: an executable inventory. Out: what its `--list` prints, added to an [`Inventory`].
//!
//! The form: `{group: {hosts: [..], vars: {..}, children: [..]}, group2: [hosts], _meta: {hostvars: {host: {..}}}}`.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Inventory;
use super::yaml::vars;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::SourceFile;
use crate::yaml::{Mapping, Node, parse};

pub(super) fn read(path: &Path, inventory: &mut Inventory) -> Diagnostics {
    let shown = path.display();
    let fail = |message: String| {
        Diagnostics::from(
            Diagnostic::error(Code::INVENTORY, message)
                .help("run it by hand with `--list`: it must print JSON and end with 0"),
        )
    };
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let output = Command::new(&full)
        .arg("--list")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(problem) => {
            return fail(format!(
                "inventory script `{shown}` cannot be run: {problem}"
            ));
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return fail(format!(
            "inventory script `{shown}` ended with {}: {}",
            output.status,
            said.trim()
        ));
    }
    let Ok(text) = String::from_utf8(output.stdout) else {
        return fail(format!(
            "inventory script `{shown}` printed something that is not text"
        ));
    };
    let file = SourceFile::from_text(format!("{shown} --list"), text);
    let (node, mut problems) = parse(&file);
    let Some(groups) = node.as_ref().and_then(Node::as_mapping) else {
        if !problems.has_errors() {
            problems.extend(fail(format!(
                "inventory script `{shown}` printed no JSON mapping"
            )));
        }
        return problems;
    };
    for (name, group) in groups.iter() {
        match name.as_str() {
            Some("_meta") => meta(group, inventory),
            Some(name) => add(name, group, inventory, &mut problems),
            None => {}
        }
    }
    problems
}

fn meta(node: &Node, inventory: &mut Inventory) {
    let hosts = node
        .as_mapping()
        .and_then(|meta| meta.get("hostvars")?.as_mapping());
    for (host, values) in hosts.into_iter().flat_map(Mapping::iter) {
        if let (Some(host), Some(values)) = (host.as_str(), values.as_mapping()) {
            inventory.add_host(host).vars.extend(vars(values));
        }
    }
}

fn add(name: &str, node: &Node, inventory: &mut Inventory, problems: &mut Diagnostics) {
    inventory.add_group(name);
    let names = |node: Option<&Node>| -> Vec<String> {
        node.and_then(Node::as_sequence)
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(ToOwned::to_owned))
            .collect()
    };
    let Some(parts) = node.as_mapping() else {
        for host in names(Some(node)) {
            inventory.add_member(name, &host);
        }
        return;
    };
    for host in names(parts.get("hosts")) {
        inventory.add_member(name, &host);
    }
    if let Some(values) = parts.get("vars").and_then(Node::as_mapping) {
        inventory.add_group(name).vars.extend(vars(values));
    }
    for child in names(parts.get("children")) {
        if let Err(problem) = inventory.try_add_child(name, &child) {
            problems
                .push(Diagnostic::error(Code::INVENTORY, problem.to_string()).at(&node.span, ""));
        }
    }
}
