//! A module written in YAML (`modules/NAME/module.yml`). In: its file. Out: the options that it takes, the tasks that
//! it runs for a host inside of one task, and what it returns.

use std::sync::Arc;

use indexmap::IndexMap;
use layerplay_modules::contract::{ModuleInfo, Supports, Touches};
use serde_json::{Map, Value, json};

use super::{Builtin, Catalogue, Item, Kind, lower_tasks, yes_or_no};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::SourceFile;
use crate::template::Lazy;
use crate::yaml::{Mapping, Node, parse};

/// The type of an option, by Ansible's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    Str,
    Int,
    Bool,
    List,
    Dict,
    Raw,
}

#[derive(Debug, Clone)]
pub struct OptionSpec {
    pub kind: OptionType,
    pub required: bool,
    /// May be a template over the other options.
    pub default: Option<Lazy>,
    pub choices: Vec<String>,
    pub description: String,
}

#[derive(Debug, Clone)]
pub struct YamlModule {
    pub info: ModuleInfo,
    pub options: IndexMap<Arc<str>, OptionSpec>,
    pub tasks: Vec<Item>,
    pub returns: Option<Lazy>,
    pub file: Arc<SourceFile>,
}

/// What a module's file may say.
const KEYS: &[&str] = &[
    "name", "summary", "options", "touches", "supports", "tasks", "returns", "examples",
];

impl YamlModule {
    /// From its file. `catalogue` holds the modules that its tasks may use.
    pub fn read(file: &Arc<SourceFile>, catalogue: &Catalogue) -> Result<Self, Diagnostics> {
        let (node, mut problems) = parse(file);
        let root = node.as_ref().and_then(Node::as_mapping);
        let Some(root) = root else {
            if !problems.has_errors() {
                problems.push(Diagnostic::error(
                    Code::WRONG_SHAPE,
                    format!("`{}` is no module: a module is a mapping with `name`, `options` and `tasks`", file.path.display()),
                ));
            }
            return Err(problems);
        };
        for (key, _) in root.iter() {
            let word = key.as_str().unwrap_or_default();
            if !KEYS.contains(&word) {
                problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("a module has no key `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, KEYS.iter().copied()),
                );
            }
        }
        let text = |key: &str| {
            root.get(key)
                .and_then(Node::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let options = options(root.get("options"), &mut problems);
        let tasks = match root.get("tasks") {
            Some(node) => lower_tasks(node, catalogue, &mut problems),
            None => Vec::new(),
        };
        if text("name").is_empty() {
            let whole = node.as_ref().map(|node| node.span.clone());
            let problem = Diagnostic::error(Code::WRONG_SHAPE, "a module needs a `name`");
            problems.push(match whole {
                Some(span) => problem.at(&span, ""),
                None => problem,
            });
        }
        steps(&tasks, &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        let touched: Vec<&str> = root
            .get("touches")
            .and_then(Node::as_sequence)
            .into_iter()
            .flatten()
            .filter_map(Node::as_str)
            .collect();
        let supports = |key: &str| {
            root.get("supports")
                .and_then(|node| node.as_mapping()?.get(key)?.as_str())
                .is_none_or(|text| yes_or_no(text) != Some(false))
        };
        let info = ModuleInfo {
            name: text("name"),
            summary: text("summary"),
            examples: text("examples"),
            aliases: Vec::new(),
            supports: Supports {
                check: supports("check"),
                diff: supports("diff"),
            },
            touches: Touches {
                machine: touched.contains(&"machine"),
                registry: touched.contains(&"registry"),
                cluster: touched.contains(&"cluster"),
                nodes: touched.contains(&"nodes"),
                reboot: touched.contains(&"reboot"),
            },
            free_form: None,
            files: Vec::new(),
            schema: schema(&options),
        };
        Ok(Self {
            info,
            options,
            tasks,
            returns: root.get("returns").map(Lazy::from_node),
            file: Arc::clone(file),
        })
    }
}

/// The tasks of a module run for one host inside of one task: what concerns the whole play has no place there.
fn steps(items: &[Item], problems: &mut Diagnostics) {
    for item in items {
        match item {
            Item::Block(block) => {
                for section in [&block.block, &block.rescue, &block.always] {
                    steps(section, problems);
                }
            }
            Item::Role(used) => problems.push(
                Diagnostic::error(
                    Code::WRONG_SHAPE,
                    format!("a module in YAML cannot use the role `{}`", used.role.name),
                )
                .help("write its tasks into the module"),
            ),
            Item::Task(task) => {
                let what = match &task.kind {
                    Kind::Builtin(Builtin::IncludeTasks | Builtin::IncludeRole | Builtin::Meta) => {
                        task.action.as_str()
                    }
                    _ if !task.keywords.notify.is_empty() => "notify",
                    _ => continue,
                };
                problems.push(
                    Diagnostic::error(
                        Code::WRONG_SHAPE,
                        format!("a module in YAML cannot use `{what}`"),
                    )
                    .at(&task.span, "")
                    .help("`import_tasks` works; what concerns the play stands in the playbook"),
                );
            }
        }
    }
}

fn options(node: Option<&Node>, problems: &mut Diagnostics) -> IndexMap<Arc<str>, OptionSpec> {
    let mut options = IndexMap::new();
    for (name, node) in node
        .and_then(Node::as_mapping)
        .into_iter()
        .flat_map(Mapping::iter)
    {
        let empty = Mapping::default();
        let parts = node.as_mapping().unwrap_or(&empty);
        let kind = match parts.get("type").and_then(Node::as_str).unwrap_or("str") {
            "str" | "path" => OptionType::Str,
            "int" => OptionType::Int,
            "bool" => OptionType::Bool,
            "list" => OptionType::List,
            "dict" => OptionType::Dict,
            "raw" => OptionType::Raw,
            other => {
                problems.push(
                    Diagnostic::error(
                        Code::WRONG_SHAPE,
                        format!("no option has the type `{other}`"),
                    )
                    .at(&node.span, "")
                    .suggest(other, ["str", "path", "int", "bool", "list", "dict", "raw"]),
                );
                OptionType::Raw
            }
        };
        let choices = parts.get("choices").and_then(Node::as_sequence);
        options.insert(
            Arc::from(name.as_str().unwrap_or_default()),
            OptionSpec {
                kind,
                required: parts
                    .get("required")
                    .and_then(Node::as_str)
                    .and_then(yes_or_no)
                    == Some(true),
                default: parts
                    .get("default")
                    .filter(|node| !node.is_null())
                    .map(Lazy::from_node),
                choices: choices
                    .into_iter()
                    .flatten()
                    .filter_map(|choice| choice.as_str().map(ToOwned::to_owned))
                    .collect(),
                description: parts
                    .get("description")
                    .and_then(Node::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            },
        );
    }
    options
}

/// The JSON schema of the options, as native modules have one.
fn schema(options: &IndexMap<Arc<str>, OptionSpec>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, option) in options {
        let kind = match option.kind {
            OptionType::Str => json!(["string", "null"]),
            OptionType::Int => json!(["integer", "null"]),
            OptionType::Bool => json!(["boolean", "null"]),
            OptionType::List => json!(["array", "null"]),
            OptionType::Dict => json!(["object", "null"]),
            OptionType::Raw => Value::Null,
        };
        let mut property = Map::from_iter([("description".to_owned(), json!(option.description))]);
        if !kind.is_null() {
            property.insert("type".to_owned(), kind);
        }
        if !option.choices.is_empty() {
            property.insert("enum".to_owned(), json!(option.choices));
        }
        match &option.default {
            Some(Lazy::Data(value)) => {
                property.insert(
                    "default".to_owned(),
                    serde_json::to_value(value).unwrap_or_default(),
                );
            }
            Some(Lazy::Template(text)) => {
                property.insert("default".to_owned(), json!(&*text.text));
            }
            _ => {}
        }
        if option.required {
            required.push(json!(&**name));
        }
        properties.insert(name.to_string(), Value::Object(property));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
