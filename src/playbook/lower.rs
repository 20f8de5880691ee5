//! In: a playbook's file. Out: its plays, with imports opened and every inheritance worked out, and all problems found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keywords::{self, BELOW_PLAYS, INHERITED, Keywords, each};
use super::{Arguments, Block, Builtin, Catalogue, Item, Kind, Loop, Play, Playbook, Stage, Task};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{self, SourceFile, Span};
use crate::template::{Condition, Lazy};
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
pub(super) const TASK: &[&str] = &[
    "action",
    "args",
    "async",
    "changed_when",
    "delay",
    "failed_when",
    "listen",
    "local_action",
    "loop",
    "loop_control",
    "poll",
    "register",
    "retries",
    "until",
];
pub(super) const CONTROL: &[&str] = &[
    "loop_var",
    "index_var",
    "label",
    "pause",
    "extended",
    "extended_allitems",
    "break_when",
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

struct Lowering<'c> {
    catalogue: &'c Catalogue,
    problems: Diagnostics,
    depth: usize,
}

fn folder(span: &Span) -> PathBuf {
    span.path().parent().map(Path::to_owned).unwrap_or_default()
}

impl Lowering<'_> {
    fn error(&mut self, code: Code, span: &Span, message: impl Into<String>) {
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
    fn open(&mut self, name: &Node) -> Option<Arc<SourceFile>> {
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
            if word == "roles" {
                self.error(Code::UNKNOWN_KEYWORD, &key.span, "roles are not supported");
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
            mapping
                .get(key)
                .and_then(Node::as_str)
                .map(|text| matches!(text, "true" | "yes" | "on" | "True"))
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

    fn task_file(
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

    /// The module of a task: its name's node and the arguments' node.
    fn action<'n>(&mut self, entry: &Node, mapping: &'n Mapping) -> Option<(&'n Node, &'n Node)> {
        let is_keyword = |word: &str| {
            INHERITED.contains(&word)
                || BELOW_PLAYS.contains(&word)
                || TASK.contains(&word)
                || word.starts_with("with_")
        };
        let mut actions = mapping
            .iter()
            .filter(|(key, _)| !is_keyword(key.as_str().unwrap_or_default()));
        let first = actions.next();
        match (first, actions.next()) {
            (Some(first), None) => Some(first),
            (Some((first, _)), Some((second, _))) => {
                let (a, b) = (
                    first.as_str().unwrap_or_default(),
                    second.as_str().unwrap_or_default(),
                );
                // The one that is no module is the slip of the hand.
                let wrong = if self.catalogue.get(a).is_none() {
                    first
                } else {
                    second
                };
                let word = wrong.as_str().unwrap_or_default();
                if self.catalogue.get(word).is_some() {
                    self.error(
                        Code::TWO_ACTIONS,
                        &second.span,
                        format!("conflicting action statements: `{a}` and `{b}`"),
                    );
                } else {
                    let names = TASK.iter().chain(INHERITED).chain(BELOW_PLAYS).copied();
                    self.problems.push(
                        Diagnostic::error(
                            Code::UNKNOWN_KEYWORD,
                            format!("a task has no keyword `{word}`"),
                        )
                        .at(&wrong.span, "")
                        .suggest(word, names),
                    );
                }
                None
            }
            (None, _) => {
                self.error(
                    Code::NO_ACTION,
                    &entry.span,
                    "no module/action detected in task",
                );
                None
            }
        }
    }

    fn task(
        &mut self,
        entry: &Node,
        mapping: &Mapping,
        parent: &Keywords,
        is_handler: bool,
    ) -> Option<Item> {
        let (name_node, value) = match (mapping.entry("action"), mapping.entry("local_action")) {
            (None, None) => self.action(entry, mapping)?,
            (Some((key, value)), _) | (_, Some((key, value))) => (key, value),
        };
        let written = name_node.as_str().unwrap_or_default();
        let (name, rest) = match written {
            "action" | "local_action" => {
                if let Some(inner) = value.as_mapping() {
                    (
                        inner
                            .get("module")
                            .and_then(Node::as_str)
                            .unwrap_or_default()
                            .to_owned(),
                        None,
                    )
                } else {
                    let text = value.as_str().unwrap_or_default().trim();
                    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                    (name.to_owned(), Some(rest.to_owned()))
                }
            }
            other => (other.to_owned(), None),
        };
        let Some(kind) = self.catalogue.get(&name).cloned() else {
            let mut problem = Diagnostic::error(
                Code::UNKNOWN_MODULE,
                format!("couldn't resolve module/action '{name}'"),
            )
            .at(&name_node.span, "");
            if let Some(near) = self.catalogue.nearest(&name) {
                problem = problem.help(format!("did you mean `{near}`?"));
            }
            self.problems
                .push(problem.help("`layerplay doc` lists all modules"));
            return None;
        };
        let is_free = match &kind {
            Kind::Builtin(action) => action.is_free_form(),
            Kind::Native(module) => module.info().free_form.is_some(),
            Kind::Yaml(_) | Kind::External(_) => false,
        };
        let mut args = match rest {
            Some(rest) => {
                let mut node = value.clone();
                if let crate::yaml::NodeKind::Scalar(scalar) = &mut node.kind {
                    scalar.text = Arc::from(rest.as_str());
                }
                Arguments::from_node(&node, is_free, &mut self.problems)
            }
            None => Arguments::from_node(value, is_free, &mut self.problems),
        };
        if matches!(written, "action" | "local_action") {
            args.named.shift_remove("module");
        }
        if let Some(more) = mapping.get("args") {
            args.add_args(more);
        }
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            own.take(key.as_str().unwrap_or_default(), value, &mut self.problems);
        }
        if written == "local_action" {
            own.delegate_to = Some(Lazy::Data("localhost".into()));
        }
        if let (Kind::Builtin(Builtin::ImportTasks), keywords) = (&kind, own.clone()) {
            return self.import_tasks(value, mapping, &keywords.under(parent), is_handler);
        }
        if let Some(key) = ["async", "poll"].iter().find_map(|key| mapping.entry(key)) {
            self.error(
                Code::UNKNOWN_KEYWORD,
                &key.0.span,
                "`async` and `poll` are not supported",
            );
        }
        let condition = |key: &str| mapping.get(key).map(Condition::from_node);
        let register = mapping.get("register").and_then(|node| {
            let text = node.as_str().unwrap_or_default();
            if keywords::is_name(text) {
                return Some(Arc::from(text));
            }
            self.error(
                Code::INVALID_NAME,
                &node.span,
                format!("`{text}` cannot be the name of a variable"),
            );
            None
        });
        Some(Item::Task(Arc::new(Task {
            name: mapping
                .get("name")
                .filter(|node| !node.is_null())
                .map(Lazy::from_node),
            span: entry.span.clone(),
            dir: folder(&entry.span),
            action: name,
            action_span: name_node.span.clone(),
            kind,
            args,
            looping: self.looping(mapping),
            vars: own.vars.last().cloned(),
            keywords: own.under(parent),
            register,
            changed_when: condition("changed_when"),
            failed_when: condition("failed_when"),
            until: condition("until"),
            retries: mapping.get("retries").map(Lazy::from_node),
            delay: mapping.get("delay").map(Lazy::from_node),
            listen: mapping
                .get("listen")
                .into_iter()
                .flat_map(each)
                .filter_map(|node| Some(node.as_str()?.to_owned()))
                .collect(),
            is_handler,
        })))
    }

    fn import_tasks(
        &mut self,
        value: &Node,
        mapping: &Mapping,
        keywords: &Keywords,
        handlers: bool,
    ) -> Option<Item> {
        if let Some((key, _)) = mapping.iter().find(|(key, _)| {
            key.as_str()
                .is_some_and(|word| word == "loop" || word.starts_with("with_"))
        }) {
            self.error(Code::CONFLICTING_KEYWORDS, &key.span, "you cannot use loops on 'import_tasks' statements. You should use 'include_tasks' instead.");
            return None;
        }
        let name = value
            .as_mapping()
            .and_then(|mapping| mapping.get("file"))
            .unwrap_or(value);
        let file = self.open(name)?;
        self.depth += 1;
        let block = self.task_file(&file, keywords, handlers);
        self.depth -= 1;
        Some(Item::Block(Arc::new(Block {
            block,
            rescue: Vec::new(),
            always: Vec::new(),
        })))
    }

    fn looping(&mut self, mapping: &Mapping) -> Option<Loop> {
        let mut found = mapping.iter().filter(|(key, _)| {
            key.as_str()
                .is_some_and(|word| word == "loop" || word.starts_with("with_"))
        });
        let (key, items) = found.next()?;
        if let Some((second, _)) = found.next() {
            self.error(
                Code::CONFLICTING_KEYWORDS,
                &second.span,
                "a task has one loop, not two",
            );
        }
        let empty = Mapping::default();
        let control = mapping
            .get("loop_control")
            .and_then(Node::as_mapping)
            .unwrap_or(&empty);
        for (key, _) in control.iter() {
            let word = key.as_str().unwrap_or_default();
            if !CONTROL.contains(&word) {
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("`loop_control` has no key `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, CONTROL.iter().copied()),
                );
            }
        }
        let text = |key: &str| control.get(key).and_then(Node::as_str);
        Some(Loop {
            items: Lazy::from_node(items),
            lookup: key
                .as_str()
                .and_then(|word| word.strip_prefix("with_"))
                .map(ToOwned::to_owned),
            span: items.span.clone(),
            loop_var: Arc::from(text("loop_var").unwrap_or("item")),
            index_var: text("index_var").map(Arc::from),
            label: control.get("label").map(Lazy::from_node),
            pause: control.get("pause").map(Lazy::from_node),
            extended: text("extended").is_some_and(|text| matches!(text, "true" | "yes")),
            break_when: control.get("break_when").map(Condition::from_node),
        })
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
