//! Roles. In: the name of a role, and what a play says of it. Out: its tasks below the play's keywords, its dependencies
//! before them, its handlers, and its variables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keywords::{self, BELOW_PLAYS, INHERITED, Keywords, each};
use super::lower::Lowering;
use super::{Item, RoleUse, Vars};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::Span;
use crate::template::Lazy;
use crate::vars::load_path;
use crate::yaml::{Mapping, Node, NodeKind, parse};

/// Dependencies inside dependencies: deeper is a role that depends on itself.
const DEEPEST: usize = 32;

/// One use of a role: what its tasks see besides the play.
#[derive(Debug, Default)]
pub struct Role {
    pub name: String,
    pub dir: PathBuf,
    /// `defaults/`: below everything else.
    pub defaults: Arc<Vars>,
    /// `vars/`, which others see, too; then `vars` of the use, which are its own.
    pub vars: Vec<Arc<Vars>>,
    /// Other keys of the use: above `set_fact`.
    pub params: Arc<Vars>,
    /// `role_name` and its like.
    pub names: Arc<Vars>,
    /// Two uses with the same key are one: it runs once for a host.
    pub key: String,
    pub allow_duplicates: bool,
    /// The roles around, outermost first.
    pub parents: Vec<Arc<Role>>,
}

/// Which role, and which of its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoleWish {
    pub name: String,
    pub tasks_from: Option<String>,
    pub vars_from: Option<String>,
    pub defaults_from: Option<String>,
    pub handlers_from: Option<String>,
    pub allow_duplicates: Option<bool>,
    /// Whether later tasks of the play see its variables.
    pub public: bool,
    /// `rolespec_validate: false`: its arguments are not looked at.
    pub is_unchecked: bool,
}

/// What a use adds to the role itself.
#[derive(Default)]
pub(super) struct Given {
    pub(super) vars: Vec<Arc<Vars>>,
    pub(super) params: Arc<Vars>,
    pub(super) key: String,
}

/// Where roles are looked for, first to last: from the play's folder, the settings, and the folder of the role around.
fn search(play: &Path, configured: &[PathBuf], around: Option<&Role>) -> Vec<PathBuf> {
    let mut dirs = vec![play.join("roles")];
    dirs.extend_from_slice(configured);
    dirs.extend(around.and_then(|role| role.dir.parent().map(Path::to_owned)));
    dirs.push(play.to_owned());
    dirs
}

/// `main` or the file that was asked for, with or without its ending.
pub(super) fn file_of(dir: &Path, folder: &str, from: Option<&str>) -> Option<PathBuf> {
    let base = dir.join(folder).join(from.unwrap_or("main"));
    let with = |ending: &str| {
        let mut name = base.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    [".yml", ".yaml", ".json", ""]
        .iter()
        .map(|ending| with(ending))
        .find(|path| path.exists())
}

/// The same for equal values, whatever their places and spelling.
fn fingerprint(node: &Node) -> String {
    match &node.kind {
        NodeKind::Scalar(scalar) => format!("{:?}", &*scalar.text),
        NodeKind::Sequence(items) => {
            let items: Vec<String> = items.iter().map(fingerprint).collect();
            format!("[{}]", items.join(","))
        }
        NodeKind::Mapping(mapping) => {
            let mut entries: Vec<String> = mapping
                .iter()
                .map(|(key, value)| format!("{}:{}", fingerprint(key), fingerprint(value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
    }
}

fn strings(names: impl Iterator<Item = String>) -> Lazy {
    Lazy::Data(names.map(minijinja::Value::from).collect())
}

impl Lowering<'_> {
    /// One entry of `roles` or of a role's dependencies.
    pub(super) fn role_entry(
        &mut self,
        entry: &Node,
        parent: &Keywords,
        is_public: bool,
    ) -> Option<Item> {
        let empty = Mapping::default();
        let (mapping, name) = match (entry.as_mapping(), entry.as_str()) {
            (Some(mapping), _) => {
                let named = ["role", "name", "import_role", "src"];
                let name = named.iter().find_map(|key| mapping.get(key)?.as_str());
                (mapping, name.unwrap_or_default())
            }
            (None, name) => (&empty, name.unwrap_or_default()),
        };
        if name.is_empty() {
            self.error(
                Code::WRONG_SHAPE,
                &entry.span,
                "role definitions must contain a role name",
            );
            return None;
        }
        let mut own = Keywords::default();
        let mut params = Vars::new();
        let mut key = String::new();
        for (word, value) in mapping.iter() {
            let text = word.as_str().unwrap_or_default();
            if matches!(text, "role" | "name" | "src") {
                continue;
            }
            let is_keyword = INHERITED.contains(&text) || BELOW_PLAYS.contains(&text);
            // Whose rights it has and the like make no other use of it.
            if !is_keyword || matches!(text, "when" | "tags" | "vars") {
                key.push_str(&format!("{text}={};", fingerprint(value)));
            }
            if text == "vars" || (is_keyword && own.take(text, value, &mut self.problems)) {
                continue;
            }
            params.insert(Arc::from(text), Lazy::from_node(value));
        }
        let vars = mapping
            .get("vars")
            .and_then(|node| keywords::vars(node, &mut self.problems));
        let wish = RoleWish {
            name: name.to_owned(),
            public: is_public,
            ..RoleWish::default()
        };
        let given = Given {
            vars: vars.into_iter().map(Arc::new).collect(),
            params: Arc::new(params),
            key,
        };
        self.role(&wish, given, &own.under(parent), &entry.span)
    }

    /// A role, found and opened.
    pub(super) fn role(
        &mut self,
        wish: &RoleWish,
        given: Given,
        parent: &Keywords,
        span: &Span,
    ) -> Option<Item> {
        let around = self.role.clone();
        let parents: Vec<Arc<Role>> = around
            .iter()
            .flat_map(|role| role.parents.iter().chain([role]))
            .cloned()
            .collect();
        if parents.len() > DEEPEST {
            self.error(
                Code::MISSING_FILE,
                span,
                format!(
                    "roles are nested more than {DEEPEST} deep: `{}` depends on itself",
                    wish.name
                ),
            );
            return None;
        }
        let dirs = search(
            &self.base,
            &self.catalogue.defaults.roles_path,
            around.as_deref(),
        );
        let direct = Path::new(&wish.name);
        let found = if direct.is_absolute() {
            direct.is_dir().then(|| direct.to_owned())
        } else {
            dirs.iter()
                .map(|dir| dir.join(direct))
                .find(|dir| dir.is_dir())
        };
        let Some(dir) = found else {
            let looked: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            self.error(
                Code::MISSING_FILE,
                span,
                format!(
                    "the role '{}' was not found in {}",
                    wish.name,
                    looked.join(":")
                ),
            );
            return None;
        };
        let meta = self.meta(&dir, "main");
        let meta = meta.as_ref().and_then(Node::as_mapping);
        let by_meta = meta
            .and_then(|meta| meta.get("allow_duplicates")?.as_str())
            .and_then(keywords::yes_or_no);
        let mut vars = vec![self.role_vars(&dir, "vars", wish.vars_from.as_deref())];
        vars.extend(given.vars);
        let short = match direct.file_name() {
            Some(name) if direct.is_absolute() => name.to_string_lossy().into_owned(),
            _ => wish.name.clone(),
        };
        let mut names = Vars::from([
            (Arc::from("role_name"), Lazy::Data(short.clone().into())),
            (
                Arc::from("ansible_role_name"),
                Lazy::Data(short.clone().into()),
            ),
            (
                Arc::from("role_path"),
                Lazy::Data(dir.display().to_string().into()),
            ),
        ]);
        // Not defined in a role that no other role uses, as in Ansible.
        if !parents.is_empty() {
            names.extend([
                (
                    Arc::from("ansible_parent_role_names"),
                    strings(parents.iter().rev().map(|role| role.name.clone())),
                ),
                (
                    Arc::from("ansible_parent_role_paths"),
                    strings(
                        parents
                            .iter()
                            .rev()
                            .map(|role| role.dir.display().to_string()),
                    ),
                ),
            ]);
        }
        let role = Arc::new(Role {
            defaults: self.role_vars(&dir, "defaults", wish.defaults_from.as_deref()),
            vars,
            params: given.params,
            names: Arc::new(names),
            key: format!("{}|{:?}|{}", dir.display(), wish.tasks_from, given.key),
            allow_duplicates: wish.allow_duplicates.or(by_meta).unwrap_or(false),
            parents,
            name: short,
            dir: dir.clone(),
        });
        self.role = Some(Arc::clone(&role));
        let mut items = Vec::new();
        for entry in meta
            .and_then(|meta| meta.get("dependencies"))
            .into_iter()
            .flat_map(each)
        {
            items.extend(self.role_entry(entry, parent, wish.public));
        }
        // Above those that it depends on.
        if wish.public {
            self.public_roles.push(Arc::clone(&role));
        }
        let tasks = file_of(&dir, "tasks", wish.tasks_from.as_deref());
        if tasks.is_none() && wish.tasks_from.is_some() {
            let from = wish.tasks_from.as_deref().unwrap_or_default();
            self.error(
                Code::MISSING_FILE,
                span,
                format!("Could not find specified file in role: tasks/{from}"),
            );
        }
        if !wish.is_unchecked {
            let written = self.argument_specs(&dir, meta);
            items.extend(self.validation(written.as_ref(), wish, &role, parent));
        }
        items.extend(self.role_file(tasks, parent, false));
        let handlers = file_of(&dir, "handlers", wish.handlers_from.as_deref());
        for item in self.role_file(handlers, &parent.of_handlers(), true) {
            super::block::flatten(item, &mut self.role_handlers);
        }
        self.role = around;
        Some(Item::Role(Arc::new(RoleUse { role, items })))
    }

    fn role_file(&mut self, path: Option<PathBuf>, parent: &Keywords, handlers: bool) -> Vec<Item> {
        let Some(path) = path else {
            return Vec::new();
        };
        match self.catalogue.reader.read(&path) {
            Ok(file) => {
                self.depth += 1;
                let items = self.task_file(&file, parent, handlers);
                self.depth -= 1;
                items
            }
            Err(problem) => {
                self.problems
                    .push(Diagnostic::error(Code::UNREADABLE, problem.to_string()));
                Vec::new()
            }
        }
    }

    pub(super) fn meta(&mut self, dir: &Path, name: &str) -> Option<Node> {
        let path = file_of(dir, "meta", Some(name))?;
        match self.catalogue.reader.read(&path) {
            Ok(file) => {
                let (node, problems) = parse(&file);
                self.problems.extend(problems);
                node
            }
            Err(problem) => {
                self.problems
                    .push(Diagnostic::error(Code::UNREADABLE, problem.to_string()));
                None
            }
        }
    }

    /// A file, or a folder `main` of files.
    fn role_vars(&mut self, dir: &Path, folder: &str, from: Option<&str>) -> Arc<Vars> {
        let Some(path) = file_of(dir, folder, from) else {
            return Arc::default();
        };
        match load_path(&path, &self.catalogue.reader) {
            Ok(vars) => Arc::new(vars),
            Err(problems) => {
                self.problems.extend(problems);
                Arc::default()
            }
        }
    }
}

/// A role that a task includes at run time.
pub struct IncludedRole {
    pub items: Vec<Item>,
    pub handlers: Vec<Arc<super::Task>>,
    pub public: Vec<Arc<Role>>,
}

/// Opens a role for `include_role`: `base` is the playbook's folder, `around` the role of the including task.
pub fn lower_role(
    wish: &RoleWish,
    catalogue: &super::Catalogue,
    base: &Path,
    around: Option<&Arc<Role>>,
    parent: &Keywords,
    span: &Span,
) -> (IncludedRole, Diagnostics) {
    let mut lowering = Lowering::new(catalogue, base);
    lowering.role = around.cloned();
    let item = lowering.role(wish, Given::default(), parent, span);
    let included = IncludedRole {
        items: item.into_iter().collect(),
        handlers: lowering.role_handlers,
        public: lowering.public_roles,
    };
    (included, lowering.problems)
}
