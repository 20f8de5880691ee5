//! In: a playbook's file. Out: its plays, with imports opened and every inheritance worked out, and all problems found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keywords::{self, BELOW_PLAYS, INHERITED, Keywords, each};
use super::{Block, Catalogue, Item, Play, Playbook, Stage, Task};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{self, SourceFile, Span};
use crate::template::Lazy;
use crate::yaml::{Mapping, Node, parse};

pub(super) const PLAY: &[&str] = &[
    "fact_path",
    "force_handlers",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "handlers",
    "hosts",
    "max_fail_percentage",
    "order",
    "post_tasks",
    "pre_tasks",
    "roles",
    "serial",
    "stage",
    "strategy",
    "tasks",
    "vars_files",
    "vars_prompt",
];
pub(super) const SECTIONS: &[&str] = &["block", "rescue", "always"];
/// Imports inside imports: deeper is a file that imports itself.
const DEEPEST: usize = 32;

/// Reads a playbook, its imported playbooks and task files.
pub fn lower(file: &Arc<SourceFile>, catalogue: &Catalogue) -> (Playbook, Diagnostics) {
    let mut lowering = Lowering {
        catalogue,
        problems: Diagnostics::default(),
        depth: 0,
    };
    let plays = lowering.playbook(file, &Keywords::default());
    let playbook = Playbook {
        file: Arc::clone(file),
        plays,
    };
    (playbook, lowering.problems)
}

/// Tasks of a list, for modules in YAML and included files.
pub fn lower_tasks(node: &Node, catalogue: &Catalogue, problems: &mut Diagnostics) -> Vec<Item> {
    let mut lowering = Lowering {
        catalogue,
        problems: Diagnostics::default(),
        depth: 0,
    };
    let items = lowering.items(node, &Keywords::default(), false);
    problems.extend(lowering.problems);
    items
}

/// Tasks of an included file, below the keywords of the include.
pub fn lower_included(
    file: &Arc<SourceFile>,
    catalogue: &Catalogue,
    parent: &Keywords,
    handlers: bool,
) -> (Vec<Item>, Diagnostics) {
    let mut lowering = Lowering {
        catalogue,
        problems: Diagnostics::default(),
        depth: 0,
    };
    let items = lowering.task_file(file, parent, handlers);
    (items, lowering.problems)
}

/// Keywords of plays that would be silently wrong if they were left out.
fn unsupported(word: &str, value: &Node) -> Option<&'static str> {
    let is_empty = value.is_null() || value.as_sequence().is_some_and(<[Node]>::is_empty);
    match word {
        "roles" if !is_empty => Some("roles are not supported"),
        "vars_prompt" if !is_empty => {
            Some("`vars_prompt` is not supported: give variables with `-e`")
        }
        "strategy" if !matches!(value.as_str(), Some("linear" | "ansible.builtin.linear")) => Some(
            "only the strategy `linear` is supported: all hosts finish a task before any starts on the next",
        ),
        _ => None,
    }
}

pub(super) struct Lowering<'c> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) problems: Diagnostics,
    pub(super) depth: usize,
}

pub(super) fn folder(span: &Span) -> PathBuf {
    span.path().parent().map(Path::to_owned).unwrap_or_default()
}

impl Lowering<'_> {
    pub(super) fn error(&mut self, code: Code, span: &Span, message: impl Into<String>) {
        self.problems
            .push(Diagnostic::error(code, message).at(span, ""));
    }

    fn playbook(&mut self, file: &Arc<SourceFile>, parent: &Keywords) -> Vec<Play> {
        let (node, problems) = parse(file);
        let is_broken = problems.has_errors();
        self.problems.extend(problems);
        if is_broken {
            return Vec::new();
        }
        let Some(node) = node.filter(|node| !node.is_null()) else {
            let whole = Span::new(file, 0, file.text.len());
            self.error(
                Code::WRONG_SHAPE,
                &whole,
                "the playbook is empty: there is nothing to do",
            );
            return Vec::new();
        };
        let Some(entries) = node.as_sequence() else {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                format!("a playbook is a list of plays, not {}", node.describe()),
            );
            return Vec::new();
        };
        let mut plays = Vec::new();
        for entry in entries {
            let Some(mapping) = entry.as_mapping() else {
                self.error(
                    Code::WRONG_SHAPE,
                    &entry.span,
                    format!("a play is a mapping, not {}", entry.describe()),
                );
                continue;
            };
            let imported = ["import_playbook", "ansible.builtin.import_playbook"]
                .iter()
                .find_map(|key| mapping.get(key));
            match imported {
                Some(name) => plays.extend(self.import_playbook(name, mapping, parent)),
                None => plays.extend(self.play(entry, mapping, parent)),
            }
        }
        plays
    }

    fn import_playbook(&mut self, name: &Node, mapping: &Mapping, parent: &Keywords) -> Vec<Play> {
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            let is_import = word.ends_with("import_playbook");
            if !is_import && word != "name" && !own.take(word, value, &mut self.problems) {
                self.error(
                    Code::UNKNOWN_KEYWORD,
                    &key.span,
                    format!("`import_playbook` has no key `{word}`"),
                );
            }
        }
        match self.open(name) {
            Some(file) => {
                self.depth += 1;
                let plays = self.playbook(&file, &own.under(parent));
                self.depth -= 1;
                plays
            }
            None => Vec::new(),
        }
    }

    /// The file that an import names, beside the file that names it.
    pub(super) fn open(&mut self, name: &Node) -> Option<Arc<SourceFile>> {
        let text = name.as_str().unwrap_or_default();
        if self.depth > DEEPEST {
            self.error(
                Code::MISSING_FILE,
                &name.span,
                format!("imports are nested more than {DEEPEST} deep: `{text}` imports itself"),
            );
            return None;
        }
        match source::read(&folder(&name.span).join(text)) {
            Ok(file) => Some(file),
            Err(problem) => {
                self.error(Code::MISSING_FILE, &name.span, problem.to_string());
                None
            }
        }
    }

    fn play(&mut self, entry: &Node, mapping: &Mapping, parent: &Keywords) -> Option<Play> {
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            // A play's own variables are a level of their own.
            let is_taken = matches!(word, "vars" | "name")
                || (INHERITED.contains(&word) && own.take(word, value, &mut self.problems));
            if let Some(what) = unsupported(word, value) {
                self.error(Code::UNKNOWN_KEYWORD, &key.span, what);
            } else if !is_taken && !PLAY.contains(&word) {
                let names = PLAY.iter().chain(INHERITED).copied();
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("a play has no keyword `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, names),
                );
            }
        }
        let Some((hosts_key, hosts)) = mapping.entry("hosts") else {
            self.error(Code::WRONG_SHAPE, &entry.span, "a play needs `hosts`");
            return None;
        };
        if hosts.is_null() {
            self.error(Code::WRONG_SHAPE, &hosts_key.span, "`hosts` is empty");
        }
        let keywords = own.under(parent);
        let vars = mapping
            .get("vars")
            .and_then(|node| keywords::vars(node, &mut self.problems));
        let mut section = |key: &str, handlers: bool| match mapping.get(key) {
            Some(node) => self.items(node, &keywords, handlers),
            None => Vec::new(),
        };
        let (pre_tasks, tasks, post_tasks) = (
            section("pre_tasks", false),
            section("tasks", false),
            section("post_tasks", false),
        );
        let mut handlers = Vec::new();
        for item in section("handlers", true) {
            flatten(item, &mut handlers);
        }
        let flag = |key: &str| {
            let text = mapping.get(key).and_then(Node::as_str);
            text.and_then(keywords::yes_or_no)
        };
        Some(Play {
            name: mapping
                .get("name")
                .filter(|node| !node.is_null())
                .map(Lazy::from_node),
            span: entry.span.clone(),
            dir: folder(&entry.span),
            hosts: Lazy::from_node(hosts),
            hosts_span: hosts.span.clone(),
            vars: Arc::new(vars.unwrap_or_default()),
            vars_files: mapping
                .get("vars_files")
                .into_iter()
                .flat_map(each)
                .map(Lazy::from_node)
                .collect(),
            serial: mapping
                .get("serial")
                .filter(|node| !node.is_null())
                .map(Lazy::from_node),
            order: mapping
                .get("order")
                .and_then(Node::as_str)
                .map(ToOwned::to_owned),
            gather_facts: flag("gather_facts"),
            gather_options: ["gather_subset", "gather_timeout", "fact_path"]
                .into_iter()
                .filter_map(|key| Some((key, mapping.get(key).filter(|node| !node.is_null())?)))
                .map(|(key, node)| (Arc::from(key), Lazy::from_node(node)))
                .collect(),
            has_roles: mapping
                .get("roles")
                .is_some_and(|node| each(node).next().is_some()),
            max_fail_percentage: mapping.get("max_fail_percentage").map(Lazy::from_node),
            force_handlers: flag("force_handlers").unwrap_or(false),
            stage: mapping.get("stage").and_then(|node| self.stage(node)),
            keywords,
            pre_tasks,
            tasks,
            post_tasks,
            handlers,
        })
    }

    fn stage(&mut self, node: &Node) -> Option<Stage> {
        let Some(mapping) = node.as_mapping() else {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                format!(
                    "`stage` is a mapping with `name` and `after`, not {}",
                    node.describe()
                ),
            );
            return None;
        };
        for (key, _) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            if !matches!(word, "name" | "after") {
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("a stage has no key `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, ["name", "after"]),
                );
            }
        }
        let name = mapping.get("name").and_then(Node::as_str);
        if name.is_none() {
            self.error(Code::WRONG_SHAPE, &node.span, "a stage needs a `name`");
        }
        Some(Stage {
            name: name?.to_owned(),
            after: mapping
                .get("after")
                .and_then(Node::as_str)
                .map(ToOwned::to_owned),
            span: node.span.clone(),
        })
    }

    pub(super) fn task_file(
        &mut self,
        file: &Arc<SourceFile>,
        parent: &Keywords,
        handlers: bool,
    ) -> Vec<Item> {
        let (node, problems) = parse(file);
        self.problems.extend(problems);
        match node {
            Some(node) if !node.is_null() => self.items(&node, parent, handlers),
            _ => Vec::new(),
        }
    }

    fn items(&mut self, node: &Node, parent: &Keywords, handlers: bool) -> Vec<Item> {
        if node.is_null() {
            return Vec::new();
        }
        let Some(entries) = node.as_sequence() else {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                format!("expected a list of tasks, got {}", node.describe()),
            );
            return Vec::new();
        };
        let mut items = Vec::new();
        for entry in entries {
            match entry.as_mapping() {
                Some(mapping) if mapping.get("block").is_some() => {
                    items.push(self.block(mapping, parent, handlers));
                }
                Some(mapping) => items.extend(self.task(entry, mapping, parent, handlers)),
                None if entry.is_null() => {}
                None => self.error(
                    Code::WRONG_SHAPE,
                    &entry.span,
                    format!("a task is a mapping, not {}", entry.describe()),
                ),
            }
        }
        items
    }

    fn block(&mut self, mapping: &Mapping, parent: &Keywords, handlers: bool) -> Item {
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            let is_known = INHERITED.contains(&word) || BELOW_PLAYS.contains(&word);
            if is_known {
                own.take(word, value, &mut self.problems);
            } else if !SECTIONS.contains(&word) {
                let names = SECTIONS.iter().chain(INHERITED).chain(BELOW_PLAYS).copied();
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("a block has no keyword `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, names),
                );
            }
        }
        let keywords = own.under(parent);
        let mut section = |key: &str| match mapping.get(key) {
            Some(node) => self.items(node, &keywords, handlers),
            None => Vec::new(),
        };
        Item::Block(Arc::new(Block {
            block: section("block"),
            rescue: section("rescue"),
            always: section("always"),
        }))
    }
}

/// Handlers are one list: imported ones are handlers by themselves.
fn flatten(item: Item, handlers: &mut Vec<Arc<Task>>) {
    match item {
        Item::Task(task) => handlers.push(task),
        Item::Block(block) => {
            for item in &block.block {
                flatten(item.clone(), handlers);
            }
        }
    }
}
