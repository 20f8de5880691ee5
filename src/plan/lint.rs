//! In: playbooks, and the names that the inventory defines. Out: mistakes that can be seen before the first host: wrong
//! and missing arguments, templates that do not compile, names that nothing defines, files that are not there, handlers
//! that do not exist. Warnings all of them: Ansible lets `rescue` catch such a mistake when it is reached. And the facts
//! that the plays can read, so that no others need be gathered.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexSet;
use layerplay_modules::contract::{ModuleInfo, Part, Render};
use layerplay_modules::core::arguments;
use serde_json::{Map, Value};

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use crate::playbook::{
    Builtin, Catalogue, Item, Kind, Play, Playbook, Task, YamlModule, lower_included,
};
use crate::source::Span;
use crate::template::{FactNames, Lazy, Lint, TEMPLATE_NAMES, TemplateText};
use crate::vars::{Vars, load_path, magic_names};

/// Names that hosts have from outside of the playbooks.
#[derive(Debug, Default)]
pub struct Known {
    pub names: HashSet<Arc<str>>,
    /// Facts that their values read.
    pub facts: FactNames,
}

/// Everything that can be known to be wrong, and the facts that are read. Without `known` (no inventory was given) names are not judged.
pub fn lint(
    playbooks: &[Playbook],
    catalogue: &Catalogue,
    known: Option<&Known>,
    lookups: &'static [&'static str],
) -> (Diagnostics, FactNames) {
    let plays = || playbooks.iter().flat_map(|playbook| &playbook.plays);
    let mut dirs = Vec::new();
    for play in plays() {
        folders(play.sections().into_iter().flatten(), &mut dirs);
        dirs.push(play.dir.clone());
    }
    let mut linter = Linter {
        catalogue,
        dirs: dirs
            .into_iter()
            .collect::<IndexSet<_>>()
            .into_iter()
            .collect(),
        lookups,
        problems: Diagnostics::default(),
        defined: HashSet::new(),
        used: Vec::new(),
        is_open: known.is_none(),
        included: HashSet::new(),
        facts: known.map(|known| known.facts.clone()).unwrap_or_default(),
    };
    for play in plays() {
        linter.play(play);
    }
    if let Some(known) = known.filter(|_| !linter.is_open) {
        linter.names(known);
    }
    let mut problems = linter.problems;
    for problem in &mut problems.0 {
        // What only Ansible can run never becomes well: no `rescue` was written for that.
        if problem.code != Code::FOREIGN {
            problem.severity = Severity::Warning;
        }
    }
    problems.0.dedup();
    (problems, linter.facts)
}

struct Linter<'c> {
    catalogue: &'c Catalogue,
    problems: Diagnostics,
    /// Names that the playbooks define somewhere: order and scope are not judged.
    defined: HashSet<Arc<str>>,
    used: Vec<(String, Span)>,
    /// Something defines names that cannot be known now.
    is_open: bool,
    included: HashSet<PathBuf>,
    facts: FactNames,
    /// The folders of the plays and of their roles.
    dirs: Vec<PathBuf>,
    lookups: &'static [&'static str],
}

/// The folders of roles, at any depth.
fn folders<'p>(items: impl Iterator<Item = &'p Item>, dirs: &mut Vec<PathBuf>) {
    for item in items {
        match item {
            Item::Task(_) => {}
            Item::Role(used) => {
                dirs.push(used.role.dir.clone());
                folders(used.items.iter(), dirs);
            }
            Item::Block(block) => {
                let sections = [&block.block, &block.rescue, &block.always];
                folders(sections.into_iter().flatten(), dirs);
            }
        }
    }
}

impl Linter<'_> {
    fn play(&mut self, play: &Play) {
        self.vars(&play.vars);
        let prompted = play.prompts.iter().map(|prompt| Arc::clone(&prompt.name));
        self.defined.extend(prompted);
        self.look(|lint| {
            lint.value(&play.hosts);
            for lazy in play
                .name
                .iter()
                .chain(&play.serial)
                .chain(&play.max_fail_percentage)
            {
                lint.value(lazy);
            }
        });
        for lazy in &play.vars_files {
            match constant(lazy).map(|name| {
                let dirs = [play.dir.clone(), play.dir.join("vars")];
                (
                    name.clone(),
                    dirs.iter()
                        .map(|dir| dir.join(&name))
                        .find(|path| path.exists()),
                )
            }) {
                Some((_, Some(path))) => self.vars_file(&path),
                Some((name, None)) => self.problems.push(
                    Diagnostic::warning(
                        Code::MISSING_FILE,
                        format!("vars file `{name}` was not found"),
                    )
                    .at(&play.span, ""),
                ),
                None => self.open(),
            }
        }
        for section in play.sections() {
            self.items(section, play);
        }
        for handler in &play.handlers {
            self.task(handler, play);
        }
    }

    fn items(&mut self, items: &[Item], play: &Play) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task, play),
                Item::Role(used) => {
                    // Its files and templates may name any fact.
                    self.facts.is_open = true;
                    let role = &used.role;
                    for vars in role
                        .vars
                        .iter()
                        .chain([&role.defaults, &role.params, &role.names])
                    {
                        self.vars(vars);
                    }
                    self.items(&used.items, play);
                }
                Item::Block(block) => {
                    for section in [&block.block, &block.rescue, &block.always] {
                        self.items(section, play);
                    }
                }
            }
        }
    }

    fn task(&mut self, task: &Arc<Task>, play: &Play) {
        let keywords = &task.keywords;
        for vars in &keywords.vars {
            self.vars(vars);
        }
        self.defined.extend(task.register.clone());
        if let Some(looping) = &task.looping {
            self.defined.insert(Arc::clone(&looping.loop_var));
            self.defined.extend(looping.index_var.clone());
        }
        self.look(|lint| {
            for condition in &keywords.when {
                lint.condition(condition);
            }
            for condition in task
                .changed_when
                .iter()
                .chain(&task.failed_when)
                .chain(&task.until)
            {
                lint.condition(condition);
            }
            let keywords = keywords
                .environment
                .iter()
                .chain(&keywords.module_defaults)
                .chain(&keywords.notify)
                .chain(&keywords.delegate_to)
                .chain(&keywords.become_user)
                .chain(&keywords.ignore_errors)
                .chain(&keywords.run_once)
                .chain(&keywords.check_mode)
                .chain(&keywords.timeout)
                .chain(&keywords.become_)
                .chain(&keywords.become_flags)
                .chain(&keywords.connection)
                .chain(&keywords.remote_user)
                .chain(&keywords.port)
                .chain(&keywords.no_log)
                .chain(&keywords.throttle)
                .chain(&keywords.any_errors_fatal);
            let own = task.name.iter().chain(&task.retries).chain(&task.delay);
            let looping = task.looping.iter().flat_map(|looping| {
                std::iter::once(&looping.items)
                    .chain(&looping.label)
                    .chain(&looping.pause)
            });
            let arguments = task
                .args
                .named
                .values()
                .chain(&task.args.free)
                .chain(&task.args.whole);
            if let Some(looping) = &task.looping {
                if let Some(name) = &looping.lookup {
                    lint.facts.lookup(name);
                    lint.lookup(name, &looping.span);
                }
                let ends = looping.break_when.iter();
                ends.for_each(|condition| lint.condition(condition));
            }
            for lazy in keywords.chain(own).chain(looping).chain(arguments) {
                lint.value(lazy);
            }
        });
        self.handlers(task, play);
        if let Some(info) = task.kind.manual() {
            self.arguments(task, &info);
            self.files(task, play, &info);
        }
        match &task.kind {
            Kind::Builtin(Builtin::SetFact) => {
                self.defined.extend(task.args.named.keys().cloned());
                self.is_open |= !task.args.whole.is_empty();
            }
            Kind::Builtin(Builtin::AddHost) => {
                self.defined.extend(task.args.named.keys().cloned());
                self.facts.is_open = true;
            }
            // New groups bring variables that nobody has looked at.
            Kind::Builtin(Builtin::GroupBy) => self.facts.is_open = true,
            Kind::Builtin(Builtin::IncludeVars) => self.include_vars(task, play),
            Kind::Builtin(Builtin::IncludeTasks) => self.include_tasks(task, play),
            // An included role may set any name; its files are not looked at here.
            Kind::Builtin(Builtin::IncludeRole) => self.open(),
            // It may return facts under any name.
            Kind::External(_) => self.is_open = true,
            Kind::Yaml(module) => self.inside(module, play),
            Kind::Builtin(_) | Kind::Native(_) => {}
        }
    }

    fn vars(&mut self, vars: &Vars) {
        self.defined.extend(vars.keys().cloned());
        let before = self.problems.0.len();
        self.look(|lint| vars.values().for_each(|value| lint.value(value)));
        // A mistake in a variable is one when somebody uses it.
        for problem in &mut self.problems.0[before..] {
            problem.severity = Severity::Warning;
        }
    }

    fn vars_file(&mut self, path: &Path) {
        match load_path(path, &self.catalogue.reader) {
            Ok(vars) => self.vars(&vars),
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn look(&mut self, look: impl FnOnce(&mut Lint)) {
        let mut lint = Lint {
            dirs: self.dirs.clone(),
            lookups: self.lookups,
            ..Lint::default()
        };
        look(&mut lint);
        for problem in &lint.problems {
            self.problems.push(problem.to_diagnostic());
        }
        self.used.extend(lint.names);
        self.facts.extend(lint.facts);
    }

    /// Something is read that only the run knows.
    fn open(&mut self) {
        self.is_open = true;
        self.facts.is_open = true;
    }

    /// A module in YAML is seen by its tasks: only the facts that they read are of interest here.
    fn inside(&mut self, module: &YamlModule, play: &Play) {
        let mut inner = Linter {
            catalogue: self.catalogue,
            problems: Diagnostics::default(),
            defined: HashSet::new(),
            used: Vec::new(),
            is_open: true,
            dirs: self.dirs.clone(),
            lookups: self.lookups,
            included: std::mem::take(&mut self.included),
            facts: std::mem::take(&mut self.facts),
        };
        inner.items(&module.tasks, play);
        inner.look(|lint| module.returns.iter().for_each(|lazy| lint.value(lazy)));
        (self.included, self.facts) = (inner.included, inner.facts);
    }

    /// Arguments that the module does not have or that it lacks; all of them where all are known already.
    fn arguments(&mut self, task: &Task, info: &ModuleInfo) {
        let none = Map::new();
        let properties = info.schema["properties"].as_object().unwrap_or(&none);
        let aliases = arguments::aliases(properties);
        let known = |name: &str| properties.contains_key(name) || aliases.contains_key(name);
        // By their own names.
        let given: HashSet<&str> = task
            .args
            .named
            .keys()
            .map(|name| aliases.get(&**name).map_or(&**name, |own| own.as_str()))
            .collect();
        let error = |problem: &layerplay_modules::ModuleError, place: &Span| {
            let found = Diagnostic::warning(Code::ARGUMENT, problem.message.clone()).at(place, "");
            match &problem.hint {
                Some(hint) => found.help(hint.clone()),
                None => found,
            }
        };
        let is_closed = info.schema["additionalProperties"] == Value::Bool(false);
        for (name, place) in &task.args.places {
            if is_closed && &**name != "_raw_params" && !known(name) {
                let problem = arguments::unknown(&info.name, name, properties);
                self.problems.push(error(&problem, place));
            }
        }
        if !task.args.whole.is_empty() || !task.keywords.module_defaults.is_empty() {
            return;
        }
        let free = task.args.free.as_ref().and(info.free_form.as_deref());
        let required = info.schema["required"].as_array().into_iter().flatten();
        let lacks: Vec<&str> = required
            .filter_map(Value::as_str)
            .filter(|name| !given.contains(*name) && free != Some(name))
            .collect();
        if !lacks.is_empty() {
            let problem = arguments::missing(&info.name, &lacks);
            self.problems.push(error(&problem, &task.action_span));
            return;
        }
        let constants: Option<Map<String, Value>> = task
            .args
            .named
            .iter()
            .map(|(name, lazy)| match lazy {
                Lazy::Data(value) => Some((name.to_string(), serde_json::to_value(value).ok()?)),
                _ => None,
            })
            .collect();
        // What the engine adds (the text of a file, free text) is not there yet.
        if let (Kind::Native(module), Some(constants), true, None) =
            (&task.kind, constants, info.files.is_empty(), free)
            && task.args.named.keys().all(|name| known(name))
            && let Err(problem) = module.check_args(&constants)
        {
            let place = problem
                .argument
                .as_ref()
                .and_then(|name| task.args.places.get(name.as_str()));
            self.problems
                .push(error(&problem, place.unwrap_or(&task.action_span)));
        }
    }

    /// Files on this machine that arguments name, and the templates in them.
    fn files(&mut self, task: &Task, play: &Play, info: &ModuleInfo) {
        if ["remote_src", "copy"]
            .iter()
            .any(|name| task.args.named.contains_key(*name))
        {
            return;
        }
        for file in &info.files {
            let free = task.args.free.as_ref();
            let free = free.filter(|_| info.free_form.as_deref() == Some(file.argument));
            let Some(lazy) = task.args.named.get(file.argument).or(free) else {
                continue;
            };
            let name = constant(lazy).map(|text| match file.part {
                Part::Whole => text,
                Part::FirstWord => {
                    let word = arguments::first_word(&text).map(|(word, _)| word);
                    word.unwrap_or(text)
                }
            });
            let Some(name) = name else {
                self.facts.is_open |= file.render != Render::Never;
                continue;
            };
            let Some(path) = find(&name, file.folder, task, play) else {
                self.facts.is_open |= file.render != Render::Never;
                self.missing(&name, task, file.argument);
                continue;
            };
            let is_template = match file.render {
                Render::Always => true,
                Render::J2 => path.extension().is_some_and(|ending| ending == "j2"),
                Render::Never => false,
            };
            if let (true, Ok(source)) = (is_template, self.catalogue.reader.read(&path)) {
                let text = TemplateText {
                    text: Arc::from(source.text.as_str()),
                    span: Span::new(&source, 0, source.text.len()),
                    offset: Some(0),
                };
                self.look(|lint| lint.template(&text));
            }
        }
    }

    fn missing(&mut self, name: &str, task: &Task, argument: &str) {
        let place = task.args.places.get(argument).unwrap_or(&task.action_span);
        self.problems.push(
            Diagnostic::warning(
                Code::MISSING_FILE,
                format!("could not find `{name}` on this machine"),
            )
            .at(place, "")
            .help("it is looked for beside the task's file and beside the playbook"),
        );
    }

    fn include_vars(&mut self, task: &Task, play: &Play) {
        let named = task.args.named.get("file").or(task.args.free.as_ref());
        match named.and_then(constant) {
            Some(name) => match find(&name, "vars", task, play) {
                Some(path) => self.vars_file(&path),
                None => self.missing(&name, task, "file"),
            },
            None => self.open(),
        }
        if let Some(name) = task.args.named.get("name").and_then(constant) {
            self.defined.insert(Arc::from(name));
        }
    }

    fn include_tasks(&mut self, task: &Task, play: &Play) {
        let named = task.args.named.get("file").or(task.args.free.as_ref());
        let Some(name) = named.and_then(constant) else {
            self.open();
            return;
        };
        let Some(path) = find(&name, "tasks", task, play) else {
            self.missing(&name, task, "file");
            return;
        };
        // A file that includes itself (a loop with an end) is looked at once.
        if !self.included.insert(path.clone()) {
            return;
        }
        match self.catalogue.reader.read(&path) {
            Ok(file) => {
                let (items, problems) = lower_included(
                    &file,
                    self.catalogue,
                    &task.keywords,
                    task.is_handler,
                    &play.dir,
                    task.role.as_ref(),
                );
                self.problems.extend(problems);
                self.items(&items, play);
            }
            Err(problem) => self
                .problems
                .push(Diagnostic::warning(Code::UNREADABLE, problem.to_string())),
        }
    }

    fn handlers(&mut self, task: &Task, play: &Play) {
        let names: Vec<String> = task.keywords.notify.iter().filter_map(constant).collect();
        // Names that are known at run time only, and handlers of roles that are included then.
        let is_open = self.is_open
            || play
                .handlers
                .iter()
                .any(|handler| matches!(handler.name, Some(Lazy::Template(_))));
        let known: Vec<String> = play
            .handlers
            .iter()
            .flat_map(|handler| {
                let name = handler.plain_name();
                let of_role = handler
                    .role
                    .as_ref()
                    .and_then(|role| Some(format!("{} : {}", role.name, name.as_ref()?)));
                name.into_iter()
                    .chain(of_role)
                    .chain(handler.listen.clone())
                    .collect::<Vec<_>>()
            })
            .collect();
        for name in names {
            if !is_open && !known.contains(&name) {
                self.problems.push(
                    Diagnostic::warning(
                        Code::UNKNOWN_HANDLER,
                        format!("no handler of this play is called `{name}`"),
                    )
                    .at(&task.span, "in this task")
                    .suggest(&name, known.iter().map(String::as_str)),
                );
            }
        }
    }

    /// Names that are used and that nothing defines.
    fn names(&mut self, known: &Known) {
        // A file may be a template, with names of its own.
        let magic: HashSet<&str> = magic_names()
            .chain(TEMPLATE_NAMES.iter().copied())
            .collect();
        let is_defined = |name: &str| {
            magic.contains(name)
                || name.starts_with("ansible_")
                || name.starts_with("template_")
                || matches!(name, "item" | "omit" | "loop")
                || self.defined.contains(name)
                || known.names.contains(name)
        };
        let mut wrong: Vec<(String, Span)> = Vec::new();
        for (name, span) in std::mem::take(&mut self.used) {
            if !is_defined(&name) && !wrong.iter().any(|(_, seen)| *seen == span) {
                wrong.push((name, span));
            }
        }
        let all: Vec<&str> = self
            .defined
            .iter()
            .chain(&known.names)
            .map(AsRef::as_ref)
            .chain(magic.iter().copied())
            .collect();
        let found = wrong.into_iter().map(|(name, span)| {
            Diagnostic::warning(Code::UNDEFINED, format!("nothing defines `{name}`"))
                .at(&span, "")
                .suggest(&name, all.iter().copied())
        });
        let found: Vec<Diagnostic> = found.collect();
        self.problems.0.extend(found);
    }
}

/// Text that is no template.
fn constant(lazy: &Lazy) -> Option<String> {
    match lazy {
        Lazy::Data(value) => value.as_str().map(ToOwned::to_owned),
        _ => None,
    }
}

/// As tasks look for files: in their role, beside their own file, then beside the playbook, each with its special folder first.
fn find(name: &str, folder: &str, task: &Task, play: &Play) -> Option<PathBuf> {
    let roles = task.role.iter().flat_map(|role| {
        std::iter::once(&role.dir).chain(role.parents.iter().rev().map(|role| &role.dir))
    });
    roles
        .chain([&task.dir, &play.dir])
        .flat_map(|dir| [dir.join(folder).join(name), dir.join(name)])
        .find(|path| path.exists())
}
