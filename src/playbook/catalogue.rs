//! In: a module's name as a playbook writes it. Out: what it is: an action of the engine itself, a native module, one
//! written in YAML, or an executable of the project.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerplay_modules::contract::{DynModule, ModuleInfo};

use super::{Builtin, Keywords, Strategy, YamlModule};
use crate::diagnostic::nearest::nearest;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{self, Reader, SourceFile};
use crate::vars::Vars;

/// What a task runs.
#[derive(Clone)]
pub enum Kind {
    Builtin(Builtin),
    Native(Arc<dyn DynModule>),
    Yaml(Arc<YamlModule>),
    /// JSON on standard input, JSON on standard output.
    External(Arc<PathBuf>),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin(action) => write!(f, "{action:?}"),
            Self::Native(module) => f.write_str(&module.info().name),
            Self::Yaml(module) => f.write_str(&module.info.name),
            Self::External(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Kind {
    pub fn info(&self) -> Option<&ModuleInfo> {
        match self {
            Self::Native(module) => Some(module.info()),
            Self::Yaml(module) => Some(&module.info),
            Self::Builtin(_) | Self::External(_) => None,
        }
    }

    /// What is told of it: for an executable, which says nothing of itself, nothing.
    pub fn manual(&self) -> Option<ModuleInfo> {
        match self {
            Self::Builtin(action) => Some(action.info()),
            other => other.info().cloned(),
        }
    }
}

/// Modules in YAML that are part of layerplay, as `(path, text)`. A module may use those before it.
const OWN: &[(&str, &str)] = &[
    (
        "modules/apply_layer/module.yml",
        include_str!("../../modules/apply_layer/module.yml"),
    ),
    (
        "modules/remove_layer/module.yml",
        include_str!("../../modules/remove_layer/module.yml"),
    ),
    (
        "modules/verify_layer/module.yml",
        include_str!("../../modules/verify_layer/module.yml"),
    ),
];

/// All modules by all their names.
#[derive(Clone, Default)]
pub struct Catalogue {
    modules: HashMap<String, Kind>,
    /// Files of a project's `modules/` that would be modules if they were executable.
    passed_over: HashMap<String, PathBuf>,
    /// Reads the files that playbooks name.
    pub reader: Reader,
    /// Variables of the command line, for the names of files that are imported.
    pub extra: Vars,
    pub defaults: Defaults,
}

/// What holds where a play does not say it.
#[derive(Clone, Default)]
pub struct Defaults {
    /// Where roles are looked for, besides the playbook's own folders.
    pub roles_path: Vec<PathBuf>,
    pub strategy: Strategy,
    pub force_handlers: bool,
    pub keywords: Keywords,
}

impl Catalogue {
    /// The engine's actions, the native modules and layerplay's own modules in YAML.
    pub fn new() -> Result<Self, Diagnostics> {
        let mut catalogue = Self::default();
        for action in Builtin::all() {
            for prefix in ["", "ansible.builtin.", "ansible.legacy."] {
                let name = format!("{prefix}{}", action.name());
                catalogue.modules.insert(name, Kind::Builtin(action));
            }
        }
        for module in layerplay_modules::catalogue::native() {
            let info = module.info().clone();
            for name in std::iter::once(info.name).chain(info.aliases) {
                catalogue
                    .modules
                    .insert(name, Kind::Native(Arc::clone(&module)));
            }
        }
        for (path, text) in OWN {
            catalogue.add_yaml(&SourceFile::from_text(*path, *text))?;
        }
        Ok(catalogue)
    }

    fn add_yaml(&mut self, file: &Arc<SourceFile>) -> Result<(), Diagnostics> {
        let module = YamlModule::read(file, self)?;
        self.modules
            .insert(module.info.name.clone(), Kind::Yaml(Arc::new(module)));
        Ok(())
    }

    /// A project's own modules: `modules/NAME/module.yml`, and executables `modules/NAME`. They hide modules of the same name.
    pub fn add_project(&mut self, dir: &Path) -> Result<(), Diagnostics> {
        let mut entries: Vec<PathBuf> = fs::read_dir(dir.join("modules"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        let mut problems = Diagnostics::default();
        for path in entries {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let description = path.join("module.yml");
            if description.is_file() {
                let read = source::read(&description).map_err(|problem| {
                    Diagnostic::error(Code::UNREADABLE, problem.to_string()).into()
                });
                if let Err(found) = read.and_then(|file| self.add_yaml(&file)) {
                    problems.extend(found);
                }
            } else if is_executable(&path) {
                self.modules.insert(name, Kind::External(Arc::new(path)));
            } else if path.is_file() {
                self.passed_over.insert(name, path);
            }
        }
        if problems.has_errors() {
            Err(problems)
        } else {
            Ok(())
        }
    }

    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.modules.get(name)
    }

    /// A file that has the name of a module, and is none because nobody may execute it.
    pub fn passed_over(&self, name: &str) -> Option<&Path> {
        self.passed_over.get(name).map(PathBuf::as_path)
    }

    /// The name that was probably meant.
    pub fn nearest(&self, wrong: &str) -> Option<&str> {
        let mut names: Vec<&str> = self.modules.keys().map(String::as_str).collect();
        names.sort_unstable();
        nearest(wrong, names)
    }

    /// Every module once, by its own name.
    pub fn infos(&self) -> Vec<ModuleInfo> {
        let mut infos: Vec<ModuleInfo> = self
            .modules
            .iter()
            .filter_map(|(name, kind)| kind.manual().filter(|info| info.name == *name))
            .collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
