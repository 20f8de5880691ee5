//! In: a file that says `plugin: constructed`, and the inventory as the sources before it made it. Out: variables
//! (`compose`) and groups (`groups`, `keyed_groups`) that are made of the variables of its hosts.

use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value;
use minijinja::value::ValueKind;

use super::{Inventory, Vars};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::Reader;
use crate::template::{Lazy, Scope, Templar, TemplateError, TemplateText};
use crate::yaml::{Mapping, Node};

const OPTIONS: &[&str] = &[
    "plugin",
    "strict",
    "compose",
    "groups",
    "keyed_groups",
    "leading_separator",
];
const KEYED: &[&str] = &[
    "key",
    "prefix",
    "separator",
    "parent_group",
    "default_value",
    "trailing_separator",
];

/// The plugin that a file asks for.
pub(super) fn plugin(node: &Node) -> Option<&Node> {
    let plugin = node.as_mapping()?.get("plugin")?;
    plugin.as_str().is_some().then_some(plugin)
}

/// The hosts' variables as an expression sees them.
struct Host {
    vars: IndexMap<Arc<str>, Lazy>,
}

impl Scope for Host {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        self.vars.get(name).cloned()
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.vars.keys().cloned().collect()
    }
}

struct Plugin<'n> {
    templar: Templar,
    strict: bool,
    leading_separator: bool,
    problems: Diagnostics,
    options: &'n Mapping,
}

/// Reads the file and works on the hosts that are known.
pub(super) fn read(node: &Node, reader: &Reader, inventory: &mut Inventory) -> Diagnostics {
    let Some(options) = node.as_mapping() else {
        return Diagnostics::default();
    };
    let flag = |key: &str, default: bool| {
        let text = options.get(key).and_then(Node::as_str);
        text.map_or(default, |text| {
            matches!(text.to_lowercase().as_str(), "true" | "yes" | "on" | "1")
        })
    };
    let mut plugin = Plugin {
        templar: Templar::new(reader.clone()),
        strict: flag("strict", false),
        leading_separator: flag("leading_separator", true),
        problems: Diagnostics::default(),
        options,
    };
    plugin.known(options, OPTIONS, "constructed");
    inventory.settle();
    let names: Vec<Arc<str>> = inventory.hosts.keys().cloned().collect();
    for name in names {
        plugin.host(&name, inventory);
    }
    plugin.problems
}

impl Plugin<'_> {
    fn known(&mut self, mapping: &Mapping, words: &[&str], place: &str) {
        for (key, _) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            if !words.contains(&word) {
                self.problems.push(
                    Diagnostic::error(Code::INVENTORY, format!("`{place}` has no option `{word}`"))
                        .at(&key.span, "")
                        .suggest(word, words.iter().copied()),
                );
            }
        }
    }

    fn host(&mut self, name: &Arc<str>, inventory: &mut Inventory) {
        let options = self.options;
        let scope = scope_of(name, inventory);
        for (key, expression) in entries(options.get("compose")) {
            if let Some(value) = self.value(expression, &scope, name)
                && let Some(host) = inventory.hosts.get_mut(name)
            {
                host.vars.insert(
                    Arc::from(key.as_str().unwrap_or_default()),
                    Lazy::Data(value),
                );
            }
        }
        // What was composed is known to the groups.
        let scope = scope_of(name, inventory);
        for (group, expression) in entries(options.get("groups")) {
            let is_in = self.value(expression, &scope, name);
            if is_in.is_some_and(|value| value.is_true()) {
                let group = safe(group.as_str().unwrap_or_default());
                inventory.add_member(&group, name);
            }
        }
        let keyed = options.get("keyed_groups").and_then(Node::as_sequence);
        for entry in keyed.into_iter().flatten() {
            match entry.as_mapping() {
                Some(keyed) => self.keyed(keyed, entry, name, &scope, inventory),
                None => self.wrong(entry, "an entry of `keyed_groups` is a mapping with `key`"),
            }
        }
    }

    fn keyed(
        &mut self,
        keyed: &Mapping,
        entry: &Node,
        host: &Arc<str>,
        scope: &Arc<dyn Scope>,
        inventory: &mut Inventory,
    ) {
        self.known(keyed, KEYED, "keyed_groups");
        let Some(expression) = keyed.get("key") else {
            self.wrong(entry, "an entry of `keyed_groups` needs a `key`");
            return;
        };
        let text = |key: &str| keyed.get(key).and_then(Node::as_str);
        let default = text("default_value");
        let keeps_separator = text("trailing_separator")
            .is_none_or(|text| matches!(text.to_lowercase().as_str(), "true" | "yes"));
        if default.is_some() && keyed.get("trailing_separator").is_some() {
            self.wrong(
                entry,
                "`default_value` and `trailing_separator` do not go together",
            );
            return;
        }
        let Some(key) = self.value(expression, scope, host) else {
            return;
        };
        let prefix = text("prefix").unwrap_or_default();
        let separator = text("separator").unwrap_or("_");
        let or_default = |name: String| match default {
            Some(default) if name.is_empty() => default.to_owned(),
            _ => name,
        };
        let is_empty_text = key.as_str() == Some("");
        let names: Vec<String> = match key.kind() {
            _ if !(key.is_true() || is_empty_text && default.is_some()) => {
                let is_collection = matches!(key.kind(), ValueKind::Seq | ValueKind::Map);
                if self.strict && !is_collection {
                    self.wrong(expression, &format!("the key is empty for host `{host}`"));
                }
                return;
            }
            ValueKind::String => vec![or_default(key.to_string())],
            ValueKind::Seq => key
                .try_iter()
                .into_iter()
                .flatten()
                .map(|name| or_default(name.to_string()))
                .collect(),
            ValueKind::Map => {
                let mut names = Vec::new();
                for name in key.try_iter().into_iter().flatten() {
                    let value = key.get_item(&name).unwrap_or_default().to_string();
                    let value = or_default(value);
                    names.push(if value.is_empty() && !keeps_separator {
                        name.to_string()
                    } else {
                        format!("{name}{separator}{value}")
                    });
                }
                names
            }
            _ => {
                let message = "invalid group name format: the key is text, a list of texts or a mapping; write `... | string`";
                self.wrong(expression, message);
                return;
            }
        };
        let before = if prefix.is_empty() && !self.leading_separator {
            ""
        } else {
            separator
        };
        let parent = keyed
            .get("parent_group")
            .and_then(|node| self.templar.evaluate(&Lazy::from_node(node), scope).ok())
            .map(|parent| safe(&parent.to_string()));
        for name in names {
            let group = safe(&format!("{prefix}{before}{name}"));
            inventory.add_member(&group, host);
            if let Some(parent) = &parent
                && let Err(problem) = inventory.try_add_child(parent, &group)
            {
                self.wrong(entry, &problem.to_string());
            }
        }
    }

    /// An expression for a host; `None` where it cannot be had, which is a mistake when the file is `strict`.
    fn value(&mut self, node: &Node, scope: &Arc<dyn Scope>, host: &str) -> Option<Value> {
        match self.expression(node, scope) {
            Ok(value) => Some(value),
            Err(problem) if self.strict => {
                let mut told = problem.to_diagnostic();
                told.message = format!("host `{host}`: {}", told.message);
                self.problems.push(told);
                None
            }
            Err(_) => None,
        }
    }

    fn expression(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, TemplateError> {
        match node.as_str() {
            Some(text) => {
                let text = TemplateText::from_scalar(node, &Arc::from(text));
                self.templar.expression(&text, scope)
            }
            None => self.templar.evaluate(&Lazy::from_node(node), scope),
        }
    }

    fn wrong(&mut self, node: &Node, message: &str) {
        self.problems
            .push(Diagnostic::error(Code::INVENTORY, message).at(&node.span, ""));
    }
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&Node, &Node)> {
    node.and_then(Node::as_mapping)
        .into_iter()
        .flat_map(Mapping::iter)
}

/// Variables of the host's groups, weakest first, then its own. Files of `group_vars` are not among them.
fn scope_of(name: &Arc<str>, inventory: &Inventory) -> Arc<dyn Scope> {
    let mut vars = Vars::new();
    let groups = inventory.groups_of(name);
    for group in groups
        .iter()
        .filter_map(|group| inventory.groups.get(group))
    {
        vars.extend(group.vars.clone());
    }
    if let Some(host) = inventory.hosts.get(name) {
        vars.extend(host.vars.clone());
    }
    let mut names: Vec<Arc<str>> = groups
        .iter()
        .filter(|group| &***group != "all")
        .cloned()
        .collect();
    names.sort_unstable();
    let names: Vec<Value> = names.into_iter().map(Value::from).collect();
    let short = name.split('.').next().unwrap_or_default();
    vars.extend([
        (
            Arc::from("inventory_hostname"),
            Lazy::Data(Value::from(Arc::clone(name))),
        ),
        (
            Arc::from("inventory_hostname_short"),
            Lazy::Data(Value::from(short)),
        ),
        (Arc::from("group_names"), Lazy::Data(Value::from(names))),
    ]);
    Arc::new(Host { vars })
}

/// A name that can be a variable's, as groups that are made have.
fn safe(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if safe.starts_with(|c: char| c.is_ascii_digit()) {
        safe.replace_range(..1, "_");
    }
    safe
}
