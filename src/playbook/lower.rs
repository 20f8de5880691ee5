//! In: a playbook's file. Out: its plays, with imports opened and every inheritance worked out, and all problems found.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::flatten;
use super::keywords::{self, INHERITED, Keywords, each};
use super::{Catalogue, Item, Play, Playbook, Prompt, Role, Stage, Strategy, Task};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{SourceFile, Span};
use crate::template::{Lazy, PasswordHash, Scope, Templar, TemplateError, is_template};
use crate::vars::Vars;
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
/// What an entry of `vars_prompt` may say.
const PROMPT: &[&str] = &[
    "confirm",
    "default",
    "encrypt",
    "name",
    "private",
    "prompt",
    "salt",
    "salt_size",
    "unsafe",
];
/// Imports inside imports: deeper is a file that imports itself.
const DEEPEST: usize = 32;

/// Reads a playbook, its imported playbooks and task files.
pub fn lower(file: &Arc<SourceFile>, catalogue: &Catalogue) -> (Playbook, Diagnostics) {
    let base = file.path.parent().map(Path::to_owned).unwrap_or_default();
    let mut lowering = Lowering::new(catalogue, &base);
    let plays = lowering.playbook(file, &catalogue.defaults.keywords);
    let playbook = Playbook {
        file: Arc::clone(file),
        plays,
    };
    (playbook, lowering.problems)
}

/// Tasks of a list, for modules in YAML and included files.
pub fn lower_tasks(node: &Node, catalogue: &Catalogue, problems: &mut Diagnostics) -> Vec<Item> {
    let mut lowering = Lowering::new(catalogue, Path::new(""));
    let items = lowering.items(node, &Keywords::default(), false);
    problems.extend(lowering.problems);
    items
}

/// Tasks of an included file, below the keywords of the include: `base` is the playbook's folder, `around` the role
/// whose file includes it.
pub fn lower_included(
    file: &Arc<SourceFile>,
    catalogue: &Catalogue,
    parent: &Keywords,
    handlers: bool,
    base: &Path,
    around: Option<&Arc<Role>>,
) -> (Vec<Item>, Diagnostics) {
    let mut lowering = Lowering::new(catalogue, base);
    lowering.role = around.cloned();
    let items = lowering.task_file(file, parent, handlers);
    (items, lowering.problems)
}

fn strategy(value: &Node) -> Option<Strategy> {
    Strategy::of(value.as_str().unwrap_or_default())
}

pub(super) struct Lowering<'c> {
    pub(super) catalogue: &'c Catalogue,
    pub(super) problems: Diagnostics,
    pub(super) depth: usize,
    /// The playbook's folder, where roles are looked for.
    pub(super) base: PathBuf,
    /// The role whose files are being read.
    pub(super) role: Option<Arc<Role>>,
    /// Names of modules that were looked for among the project's own files for Ansible.
    pub(super) hidden: HashSet<String>,
    pub(super) role_handlers: Vec<Arc<Task>>,
    pub(super) public_roles: Vec<Arc<Role>>,
    /// Variables of the play that is being read.
    play_vars: Arc<Vars>,
}

/// What is known while playbooks are read.
struct Early {
    layers: Vec<Arc<Vars>>,
    extra: Vars,
    dir: PathBuf,
}

impl Scope for Early {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        if name == "playbook_dir" {
            return Some(Lazy::Data(self.dir.display().to_string().into()));
        }
        let layers = self.layers.iter().rev();
        self.extra
            .get(name)
            .or_else(|| layers.into_iter().find_map(|layer| layer.get(name)))
            .cloned()
    }

    fn names(&self) -> Vec<Arc<str>> {
        let layers = self.layers.iter().flat_map(|layer| layer.keys());
        layers.chain(self.extra.keys()).cloned().collect()
    }
}

impl<'c> Lowering<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, base: &Path) -> Self {
        Self {
            catalogue,
            problems: Diagnostics::default(),
            depth: 0,
            base: base.to_owned(),
            role: None,
            hidden: HashSet::new(),
            role_handlers: Vec::new(),
            public_roles: Vec::new(),
            play_vars: Arc::default(),
        }
    }
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
        if let Some(node) = &node {
            node.hide_below("vars", &self.catalogue.reader);
        }
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
        if entries.is_empty() && self.depth == 0 {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                "a playbook has at least one play",
            );
        }
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
        match self.open(name, &own.vars) {
            Some(file) => {
                self.depth += 1;
                let plays = self.playbook(&file, &own.under(parent));
                self.depth -= 1;
                plays
            }
            None => Vec::new(),
        }
    }

    /// The file that an import names, beside the file that names it. Its name may be a template of what is known
    /// before the run: variables of the command line, of the play, of blocks and of the import.
    pub(super) fn open(&mut self, name: &Node, vars: &[Arc<Vars>]) -> Option<Arc<SourceFile>> {
        let text = match self.early(name, vars) {
            Ok(text) => text,
            Err(problem) => {
                self.problems.push(problem.to_diagnostic());
                return None;
            }
        };
        if self.depth > DEEPEST {
            self.error(
                Code::MISSING_FILE,
                &name.span,
                format!("imports are nested more than {DEEPEST} deep: `{text}` imports itself"),
            );
            return None;
        }
        match self.catalogue.reader.read(&folder(&name.span).join(&text)) {
            Ok(file) => Some(file),
            Err(problem) => {
                self.error(Code::MISSING_FILE, &name.span, problem.to_string());
                None
            }
        }
    }

    /// Text that may be a template of what is known before the run.
    fn early(&self, node: &Node, vars: &[Arc<Vars>]) -> Result<String, TemplateError> {
        let text = node.as_str().unwrap_or_default();
        if !is_template(text) {
            return Ok(text.to_owned());
        }
        let layers = std::iter::once(&self.play_vars).chain(vars);
        let scope: Arc<dyn Scope> = Arc::new(Early {
            layers: layers.cloned().collect(),
            extra: self.catalogue.extra.clone(),
            dir: self.base.clone(),
        });
        let templar = Templar::new(self.catalogue.reader.clone());
        let value = templar.evaluate(&Lazy::from_node(node), &scope)?;
        Ok(value.to_string())
    }

    fn play(&mut self, entry: &Node, mapping: &Mapping, parent: &Keywords) -> Option<Play> {
        self.base = folder(&entry.span);
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            // A play's own variables are a level of their own.
            let is_taken = matches!(word, "vars" | "name")
                || (INHERITED.contains(&word) && own.take(word, value, &mut self.problems));
            if word == "strategy" && strategy(value).is_none() {
                self.error(
                    Code::UNKNOWN_KEYWORD,
                    &key.span,
                    "the strategies are `linear` (all hosts finish a task before any starts on the next), `free` and `host_pinned`",
                );
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
        let is_empty = hosts.is_null()
            || hosts.as_sequence().is_some_and(<[Node]>::is_empty)
            || (hosts.as_sequence().is_none() && hosts.as_str().is_some_and(str::is_empty));
        if is_empty {
            self.error(Code::WRONG_SHAPE, &hosts_key.span, "`hosts` is empty");
        }
        if let Some(name) = mapping
            .get("name")
            .filter(|name| name.as_sequence().is_some())
        {
            self.error(
                Code::WRONG_SHAPE,
                &name.span,
                format!("`name` is text, not {}", name.describe()),
            );
        }
        let keywords = own.under(parent);
        let vars = mapping
            .get("vars")
            .and_then(|node| keywords::vars(node, &mut self.problems));
        let mut vars = vars.unwrap_or_default();
        // As `import_playbook` says: of the level of the play's own, and stronger.
        for layer in &keywords.vars {
            vars.extend(
                layer
                    .iter()
                    .map(|(name, value)| (Arc::clone(name), value.clone())),
            );
        }
        self.play_vars = Arc::new(vars);
        // Roles of the list come before those that tasks import.
        let mut roles = Vec::new();
        for entry in mapping.get("roles").into_iter().flat_map(each) {
            roles.extend(self.role_entry(entry, &keywords, true));
        }
        let mut handlers = std::mem::take(&mut self.role_handlers);
        let mut section = |key: &str, handlers: bool| match mapping.get(key) {
            Some(node) => self.items(node, &keywords, handlers),
            None => Vec::new(),
        };
        let (pre_tasks, tasks, post_tasks) = (
            section("pre_tasks", false),
            section("tasks", false),
            section("post_tasks", false),
        );
        let own_handlers = section("handlers", true);
        // Those of listed roles, the play's own, those of roles that tasks import.
        for item in own_handlers {
            flatten(item, &mut handlers);
        }
        handlers.append(&mut self.role_handlers);
        let prompts = mapping
            .get("vars_prompt")
            .into_iter()
            .flat_map(each)
            .filter_map(|node| self.prompt(node))
            .collect();
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
            vars: Arc::clone(&self.play_vars),
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
            gather_facts: mapping
                .get("gather_facts")
                .filter(|node| !node.is_null())
                .map(Lazy::from_node),
            gather_options: ["gather_subset", "gather_timeout", "fact_path"]
                .into_iter()
                .filter_map(|key| Some((key, mapping.get(key).filter(|node| !node.is_null())?)))
                .map(|(key, node)| (Arc::from(key), Lazy::from_node(node)))
                .collect(),
            max_fail_percentage: mapping.get("max_fail_percentage").map(Lazy::from_node),
            force_handlers: flag("force_handlers")
                .unwrap_or(self.catalogue.defaults.force_handlers),
            stage: mapping.get("stage").and_then(|node| self.stage(node)),
            keywords,
            strategy: mapping
                .get("strategy")
                .and_then(strategy)
                .unwrap_or(self.catalogue.defaults.strategy),
            prompts,
            pre_tasks,
            roles,
            tasks,
            post_tasks,
            handlers,
            public_roles: std::mem::take(&mut self.public_roles),
        })
    }

    fn prompt(&mut self, node: &Node) -> Option<Prompt> {
        let mapping = node.as_mapping();
        let text = |key: &str| mapping.and_then(|mapping| mapping.get(key)?.as_str());
        let Some(name) = text("name").filter(|name| keywords::is_name(name)) else {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                "an entry of `vars_prompt` is a mapping with the `name` of a variable",
            );
            return None;
        };
        for (key, _) in mapping.into_iter().flat_map(Mapping::iter) {
            let word = key.as_str().unwrap_or_default();
            if !PROMPT.contains(&word) {
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("`vars_prompt` has no key `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, PROMPT.iter().copied()),
                );
            }
        }
        let hash = text("encrypt").map(|method| PasswordHash {
            method: method.to_owned(),
            salt: text("salt").map(ToOwned::to_owned),
            salt_size: text("salt_size").and_then(|size| size.parse().ok()),
            ..PasswordHash::default()
        });
        // Nobody is asked for what cannot be used afterwards.
        if let Some(Err(problem)) = hash.as_ref().map(PasswordHash::salt_length) {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                format!("`encrypt`: {problem}"),
            );
        }
        let flag = |key: &str| text(key).and_then(keywords::yes_or_no);
        Some(Prompt {
            name: Arc::from(name),
            text: text("prompt").unwrap_or(name).to_owned(),
            default: text("default").map(ToOwned::to_owned),
            private: flag("private").unwrap_or(true),
            confirm: flag("confirm").unwrap_or(false),
            hash,
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
        if let Some(node) = &node {
            node.hide_below("vars", &self.catalogue.reader);
        }
        self.problems.extend(problems);
        match node {
            Some(node) if !node.is_null() => self.items(&node, parent, handlers),
            _ => Vec::new(),
        }
    }
}
