//! In: an INI inventory. Out: its hosts, groups and variables added to an [`Inventory`].
//!
//! Host lines: shell quoting first, Python literals second; ` #` starts a comment. Lines of a `:vars` section run to
//! their end and have no trailing comments.

use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;

use super::{Cycle, Inventory, Vars, literal};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{SourceFile, Span};
use crate::template::{Lazy, TemplateText, is_template};

enum Section {
    Hosts(String),
    Vars(String),
    Children(String),
}

pub(super) fn read(file: &Arc<SourceFile>, inventory: &mut Inventory) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let mut section = Section::Hosts("ungrouped".to_owned());
    let mut later = Later::default();
    let mut at = 0;
    for raw in file.text.split_inclusive('\n') {
        let start = at;
        at += raw.len();
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let start = start + (raw.len() - raw.trim_start().len());
        let span = Span::new(file, start, start + line.len());
        if let Some(rest) = line.strip_prefix('[') {
            match header(rest) {
                Some(next) => {
                    let declared = match &next {
                        Section::Vars(name) => {
                            later.used(name, &span, inventory);
                            inventory.add_group(name);
                            Ok(())
                        }
                        Section::Hosts(name) | Section::Children(name) => {
                            later.declared(name, inventory)
                        }
                    };
                    if let Err(problem) = declared {
                        problems.push(
                            Diagnostic::error(Code::INVENTORY, problem.to_string()).at(&span, ""),
                        );
                    }
                    section = next;
                }
                None => problems.push(
                    Diagnostic::error(Code::INVENTORY, format!("`{line}` is not a section"))
                        .at(&span, "")
                        .help("write `[group]`, `[group:vars]` or `[group:children]`"),
                ),
            }
            continue;
        }
        let done = match &section {
            Section::Hosts(group) => host(line, &span, group, inventory),
            Section::Vars(group) => variable(line, &span)
                .map(|(name, value)| _ = inventory.add_group(group).vars.insert(name, value)),
            Section::Children(group) => {
                let child = strip_comment(line);
                later
                    .child(group, child, &span, inventory)
                    .map_err(|problem| problem.to_string())
            }
        };
        if let Err(message) = done {
            problems.push(Diagnostic::error(Code::INVENTORY, message).at(&span, ""));
        }
    }
    for (name, known) in later.0 {
        problems.push(
            Diagnostic::error(
                Code::INVENTORY,
                format!("group `{name}` is used and never declared"),
            )
            .at(&known.first, "")
            .help(format!("write a section `[{name}]`")),
        );
    }
    problems
}

/// Groups that are used before the section that declares them. A child comes into its parent's list when it is
/// declared: the order of hosts depends on it.
#[derive(Default)]
struct Later(IndexMap<String, Used>);

struct Used {
    first: Span,
    parents: Vec<String>,
}

impl Later {
    fn used(&mut self, name: &str, span: &Span, inventory: &Inventory) -> Option<&mut Used> {
        if inventory.groups.contains_key(name) {
            return None;
        }
        let used = self.0.entry(name.to_owned()).or_insert_with(|| Used {
            first: span.clone(),
            parents: Vec::new(),
        });
        Some(used)
    }

    fn child(
        &mut self,
        parent: &str,
        child: &str,
        span: &Span,
        inventory: &mut Inventory,
    ) -> Result<(), Cycle> {
        match self.used(child, span, inventory) {
            Some(used) => {
                used.parents.push(parent.to_owned());
                Ok(())
            }
            None => inventory.try_add_child(parent, child),
        }
    }

    fn declared(&mut self, name: &str, inventory: &mut Inventory) -> Result<(), Cycle> {
        inventory.add_group(name);
        let Some(used) = self.0.shift_remove(name) else {
            return Ok(());
        };
        for parent in used.parents {
            inventory.try_add_child(&parent, name)?;
        }
        Ok(())
    }
}

fn header(rest: &str) -> Option<Section> {
    let inner = strip_comment(rest).strip_suffix(']')?;
    let (name, kind) = inner.split_once(':').unwrap_or((inner, "hosts"));
    let name = name.trim().to_owned();
    if name.is_empty() {
        return None;
    }
    match kind.trim() {
        "hosts" => Some(Section::Hosts(name)),
        "vars" => Some(Section::Vars(name)),
        "children" => Some(Section::Children(name)),
        _ => None,
    }
}

fn strip_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |at| &line[..at]).trim()
}

fn host(line: &str, span: &Span, group: &str, inventory: &mut Inventory) -> Result<(), String> {
    let mut lexer = shlex::Shlex::new(line);
    let words: Vec<String> = lexer
        .by_ref()
        .take_while(|word| !word.starts_with('#'))
        .collect();
    if lexer.had_error {
        return Err("a quote is opened and never closed".to_owned());
    }
    let (name, words) = words
        .split_first()
        .ok_or_else(|| "a host line without a host".to_owned())?;
    let mut vars = Vars::new();
    // `name:2222`, but not the colons of an IPv6 address or a range.
    let (name, port) = match name.rsplit_once(':') {
        Some((host, port))
            if !host.contains(':') && !host.contains('[') && port.parse::<u16>().is_ok() =>
        {
            (host, Some(port))
        }
        _ => (name.as_str(), None),
    };
    if let Some(port) = port.and_then(|port| port.parse::<i64>().ok()) {
        vars.insert(Arc::from("ansible_port"), Lazy::Data(Value::from(port)));
    }
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("expected `key=value` after the host name, got `{word}`"))?;
        vars.insert(Arc::from(key), lazy(value, span));
    }
    for name in inventory.expand(name)? {
        inventory.add_member(group, &name);
        inventory.add_host(&name).vars.extend(vars.clone());
    }
    Ok(())
}

fn variable(line: &str, span: &Span) -> Result<(Arc<str>, Lazy), String> {
    let (name, value) = line
        .split_once('=')
        .ok_or_else(|| format!("expected `key=value`, got `{line}`"))?;
    Ok((Arc::from(name.trim()), lazy(value.trim(), span)))
}

fn lazy(text: &str, span: &Span) -> Lazy {
    if is_template(text) {
        let text: Arc<str> = Arc::from(text);
        let offset = span.text().find(&*text);
        return Lazy::Template(Arc::new(TemplateText {
            text,
            span: span.clone(),
            offset,
        }));
    }
    Lazy::Data(literal::read(text))
}
