//! In: the mapping of one task. Out: the task: its module found, its arguments read, its loop understood; or what an
//! import brings in its place.

use std::path::PathBuf;
use std::sync::Arc;

use super::keywords::{self, BELOW_PLAYS, INHERITED, Keywords, each};
use super::lower::{Lowering, folder};
use super::role::{Given, RoleWish};
use super::{Arguments, Block, Builtin, Item, Kind, Loop, Task};
use crate::diagnostic::{Code, Diagnostic};
use crate::foreign::{self, Sort};
use crate::template::{Condition, Lazy};
use crate::yaml::{Mapping, Node};

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
/// What an include may say besides; `when` and loops are its own.
const INCLUDE: &[&str] = &[
    "action",
    "args",
    "collections",
    "debugger",
    "ignore_errors",
    "listen",
    "loop",
    "loop_control",
    "name",
    "no_log",
    "register",
    "run_once",
    "tags",
    "timeout",
    "vars",
    "when",
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

impl Lowering<'_> {
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

    /// A module that is not there: where Ansible would find it, or which was meant.
    fn unknown_module(&mut self, name: &str, at: &Node, mapping: &Mapping, parent: &Keywords) {
        let message = format!("couldn't resolve module/action '{name}'");
        if let Some(found) = foreign::look(Sort::Module, name, &self.plugin_dirs()) {
            let message = format!("{message}: {}", found.what);
            let problem = Diagnostic::error(Code::FOREIGN, message).at(&at.span, "");
            // `community.general.copy` may well be meant as `copy`.
            let short = name.rsplit('.').next().unwrap_or_default();
            let problem = match self.catalogue.get(short).filter(|_| short != name) {
                Some(_) => problem.help(format!("layerplay has a module `{short}`")),
                None => problem,
            };
            self.problems.push(problem.help(found.help));
            return;
        }
        let mut problem = Diagnostic::error(Code::UNKNOWN_MODULE, message).at(&at.span, "");
        if let Some(path) = self.catalogue.passed_over(name) {
            let path = path.display();
            problem = problem.help(format!("`{path}` is not executable: `chmod +x {path}`"));
        } else if let Some(near) = self.catalogue.nearest(name) {
            problem = problem.help(format!("did you mean `{near}`?"));
        }
        let own = mapping.get("collections").into_iter().flat_map(each);
        let mut listed: Vec<&str> = own.filter_map(Node::as_str).collect();
        listed.extend(parent.collections.iter().map(String::as_str));
        listed.retain(|name| !matches!(*name, "ansible.builtin" | "ansible.legacy"));
        if !listed.is_empty() && !name.contains('.') {
            problem = problem.help(format!(
                "it may be of `collections` ({}), of which layerplay has none",
                listed.join(", ")
            ));
        }
        self.problems
            .push(problem.help("`layerplay doc` lists all modules"));
    }

    /// Ansible would take a file of the project instead of a module that layerplay has.
    fn hidden_module(&mut self, name: &str, kind: &Kind, at: &Node) {
        let is_ours = matches!(kind, Kind::Builtin(_) | Kind::Native(_));
        if !is_ours || name.contains('.') || !self.hidden.insert(name.to_owned()) {
            return;
        }
        if let Some(found) = foreign::look(Sort::Module, name, &self.plugin_dirs()) {
            let message = format!(
                "layerplay's own `{name}` runs, and not yours: {}",
                found.what
            );
            self.problems.push(
                Diagnostic::warning(Code::FOREIGN, message)
                    .at(&at.span, "")
                    .help(found.help),
            );
        }
    }

    /// Where Ansible would look for modules and plugins of the project: in the role and those around, beside the playbook.
    fn plugin_dirs(&self) -> Vec<PathBuf> {
        let roles = self
            .role
            .iter()
            .flat_map(|role| role.parents.iter().chain([role]));
        let dirs = roles.map(|role| role.dir.clone());
        dirs.chain([self.base.clone()]).collect()
    }

    pub(super) fn task(
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
            self.unknown_module(&name, name_node, mapping, parent);
            return None;
        };
        self.hidden_module(&name, &kind, name_node);
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
        if let Kind::Builtin(action @ (Builtin::IncludeTasks | Builtin::IncludeRole)) = &kind {
            self.include_words(*action, mapping, &args, name_node);
        }
        if let (Kind::Builtin(Builtin::ImportRole | Builtin::IncludeRole), true) =
            (&kind, is_handler)
        {
            self.error(
                Code::WRONG_SHAPE,
                &name_node.span,
                format!("Using '{name}' as a handler is not supported."),
            );
            return None;
        }
        if let Kind::Builtin(Builtin::ImportRole) = &kind {
            return self.import_role(&args, entry, mapping, &own, parent);
        }
        // An empty condition holds, as in Ansible; an empty `until` is none.
        let condition = |key: &str| {
            mapping.get(key).map(|node| {
                if node.is_null() {
                    Condition::Bool(true)
                } else {
                    Condition::from_node(node)
                }
            })
        };
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
            args,
            looping: self.looping(mapping),
            vars: own.vars.last().cloned(),
            around: matches!(
                kind,
                Kind::Builtin(Builtin::IncludeTasks | Builtin::IncludeRole)
            )
            .then(|| Arc::new(parent.clone())),
            kind,
            keywords: own.under(parent),
            register,
            changed_when: condition("changed_when"),
            failed_when: condition("failed_when"),
            until: condition("until")
                .filter(|_| mapping.get("until").is_some_and(|node| !node.is_null())),
            retries: mapping.get("retries").map(Lazy::from_node),
            delay: mapping.get("delay").map(Lazy::from_node),
            async_: mapping.get("async").map(Lazy::from_node),
            poll: mapping.get("poll").map(Lazy::from_node),
            listen: mapping
                .get("listen")
                .into_iter()
                .flat_map(each)
                .filter_map(|node| Some(node.as_str()?.to_owned()))
                .collect(),
            is_handler,
            role: self.role.clone(),
        })))
    }

    /// An include takes few keywords: what is for its tasks goes into `apply`.
    fn include_words(
        &mut self,
        action: Builtin,
        mapping: &Mapping,
        args: &Arguments,
        name_node: &Node,
    ) {
        for (key, _) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            let is_other =
                INHERITED.contains(&word) || BELOW_PLAYS.contains(&word) || TASK.contains(&word);
            if is_other && !INCLUDE.contains(&word) {
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("`{}` has no keyword `{word}`", action.name()),
                    )
                    .at(&key.span, "")
                    .help(format!(
                        "what holds for the tasks inside goes into `apply: {{{word}: ...}}`, or into a block around"
                    )),
                );
            }
        }
        for (name, _) in &args.named {
            if action.takes(name) {
                continue;
            }
            let place = args.places.get(name).unwrap_or(&name_node.span).clone();
            self.error(
                Code::UNKNOWN_KEYWORD,
                &place,
                format!("Invalid options for {}: {name}", action.name()),
            );
        }
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
        let file = self.open(name, &keywords.vars)?;
        self.depth += 1;
        let block = self.task_file(&file, keywords, handlers);
        self.depth -= 1;
        Some(Item::Block(Arc::new(Block {
            block,
            rescue: Vec::new(),
            always: Vec::new(),
        })))
    }

    fn import_role(
        &mut self,
        args: &Arguments,
        entry: &Node,
        mapping: &Mapping,
        own: &Keywords,
        parent: &Keywords,
    ) -> Option<Item> {
        if let Some((key, _)) = mapping.iter().find(|(key, _)| {
            key.as_str()
                .is_some_and(|word| word == "loop" || word.starts_with("with_"))
        }) {
            self.error(Code::CONFLICTING_KEYWORDS, &key.span, "you cannot use loops on 'import_role' statements. You should use 'include_role' instead.");
            return None;
        }
        let text = |name: &str| match args.named.get(name) {
            Some(Lazy::Data(value)) if !value.is_none() => Some(value.to_string()),
            Some(Lazy::Template(text)) => Some(text.text.to_string()),
            _ => None,
        };
        let flag = |name: &str| text(name).as_deref().and_then(keywords::yes_or_no);
        let Some(name) = text("name").or_else(|| text("role")) else {
            self.error(
                Code::WRONG_SHAPE,
                &entry.span,
                "'name' is a required field for import_role.",
            );
            return None;
        };
        let wish = RoleWish {
            name,
            tasks_from: text("tasks_from"),
            vars_from: text("vars_from"),
            defaults_from: text("defaults_from"),
            handlers_from: text("handlers_from"),
            allow_duplicates: Some(flag("allow_duplicates").unwrap_or(true)),
            public: flag("public").unwrap_or(true),
            is_unchecked: flag("rolespec_validate") == Some(false),
        };
        self.role(
            &wish,
            Given::default(),
            &own.clone().under(parent),
            &entry.span,
        )
    }

    fn looping(&mut self, mapping: &Mapping) -> Option<Loop> {
        let mut found = mapping.iter().filter(|(key, _)| {
            key.as_str()
                .is_some_and(|word| word == "loop" || word.starts_with("with_"))
        });
        let (key, items) = found.next()?;
        if let Some((second, _)) = found.next() {
            self.error(
                Code::TWO_LOOPS,
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
            all_items: text("extended_allitems").is_none_or(|text| matches!(text, "true" | "yes")),
            break_when: control.get("break_when").map(Condition::from_node),
        })
    }
}
