//! In: YAML nodes. Out: plays, blocks and tasks with everything that they inherit, or every problem of the file.
//!
//! ```text
//! keywords   what plays, blocks and tasks share, and how it flows down
//! action     the three ways to write a module and its arguments
//! lower      files -> plays; imports are opened here
//! block      lists of tasks and blocks
//! task       one task: its module, arguments, loop
//! role       a role: its files, dependencies, variables
//! role_spec  the task that checks a role's arguments
//! builtin    the engine's own actions
//! schema     all of it as JSON schema, for editors
//! catalogue  names -> modules: the engine's own actions, native, in YAML, executables
//! ```

mod action;
mod block;
mod builtin;
pub mod catalogue;
mod keywords;
mod lower;
mod module;
mod role;
mod role_spec;
mod schema;
mod task;

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::source::{SourceFile, Span};
use crate::template::{Condition, Lazy, PasswordHash};

pub use action::{Arguments, parse_words};
pub use builtin::Builtin;
pub use catalogue::{Catalogue, Defaults, Kind};
pub use keywords::{Keywords, yes_or_no};
pub use lower::{lower, lower_included, lower_tasks};
pub use module::{OptionSpec, OptionType, YamlModule};
pub use role::{IncludedRole, Role, RoleWish, lower_role};
pub use schema::schema;

/// A playbook file, its imports opened.
#[derive(Debug, Clone)]
pub struct Playbook {
    pub file: Arc<SourceFile>,
    pub plays: Vec<Play>,
}

/// `vars:` as written.
pub type Vars = IndexMap<Arc<str>, Lazy>;

#[derive(Debug, Clone)]
pub struct Play {
    pub name: Option<Lazy>,
    pub span: Span,
    /// The folder of the file that holds the play: an imported playbook has its own.
    pub dir: PathBuf,
    /// A pattern, or a list of patterns.
    pub hosts: Lazy,
    pub hosts_span: Span,
    pub keywords: Keywords,
    pub vars: Arc<Vars>,
    /// Each a name, or a list of which the first that exists is taken.
    pub vars_files: Vec<Lazy>,
    pub serial: Option<Lazy>,
    pub order: Option<String>,
    pub gather_facts: Option<Lazy>,
    /// `gather_subset`, `gather_timeout`, `fact_path`.
    pub gather_options: Vars,
    pub max_fail_percentage: Option<Lazy>,
    pub force_handlers: bool,
    pub strategy: Strategy,
    /// `vars_prompt`.
    pub prompts: Vec<Prompt>,
    pub stage: Option<Stage>,
    pub pre_tasks: Vec<Item>,
    /// Run before `tasks`.
    pub roles: Vec<Item>,
    pub tasks: Vec<Item>,
    pub post_tasks: Vec<Item>,
    /// Those of its roles first.
    pub handlers: Vec<Arc<Task>>,
    /// Roles whose variables all tasks of the play see: those listed and those imported.
    pub public_roles: Vec<Arc<Role>>,
}

/// How hosts go through a play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All finish a task before any starts on the next.
    #[default]
    Linear,
    /// Each goes on by itself.
    Free,
}

impl Strategy {
    /// By the name that playbooks and settings use.
    pub fn of(name: &str) -> Option<Self> {
        match name.strip_prefix("ansible.builtin.").unwrap_or(name) {
            "linear" => Some(Self::Linear),
            "free" | "host_pinned" => Some(Self::Free),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Free => "free",
        }
    }
}

/// A variable that a person is asked for.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub name: Arc<str>,
    pub text: String,
    pub default: Option<String>,
    /// Not shown while it is typed, nor later.
    pub private: bool,
    pub confirm: bool,
    /// The answer becomes the hash of it.
    pub hash: Option<PasswordHash>,
}

/// A step of a promotion.
#[derive(Debug, Clone)]
pub struct Stage {
    pub name: String,
    /// The stage whose hosts must have proven the same digest.
    pub after: Option<String>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum Item {
    Task(Arc<Task>),
    Block(Arc<Block>),
    Role(Arc<RoleUse>),
}

/// A role where it is used: its dependencies, then its tasks.
#[derive(Debug, Clone)]
pub struct RoleUse {
    pub role: Arc<Role>,
    pub items: Vec<Item>,
}

/// Sections of tasks. What a block says is already in its tasks ([`Keywords::under`]).
#[derive(Debug, Clone)]
pub struct Block {
    pub block: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
}

/// A task with everything that it inherits.
#[derive(Debug, Clone)]
pub struct Task {
    pub name: Option<Lazy>,
    pub span: Span,
    /// The folder of the file that holds the task.
    pub dir: PathBuf,
    /// The module as written.
    pub action: String,
    pub action_span: Span,
    pub kind: Kind,
    pub args: Arguments,
    pub keywords: Keywords,
    /// Of an include: the keywords of what is around it, which its file's tasks inherit; its own are its own.
    pub around: Option<Arc<Keywords>>,
    /// The task's own `vars`, which are also in its keywords: the parameters of an include.
    pub vars: Option<Arc<Vars>>,
    pub looping: Option<Loop>,
    pub register: Option<Arc<str>>,
    pub changed_when: Option<Condition>,
    pub failed_when: Option<Condition>,
    pub until: Option<Condition>,
    pub retries: Option<Lazy>,
    pub delay: Option<Lazy>,
    /// Seconds that it may run beside the play, or at most.
    pub async_: Option<Lazy>,
    /// Zero: it runs beside the play.
    pub poll: Option<Lazy>,
    /// Handlers only.
    pub listen: Vec<String>,
    pub is_handler: bool,
    /// The role whose file it stands in.
    pub role: Option<Arc<Role>>,
}

#[derive(Debug, Clone)]
pub struct Loop {
    pub items: Lazy,
    /// `with_NAME`: the lookup that makes the items; `None` for `loop`.
    pub lookup: Option<String>,
    pub span: Span,
    pub loop_var: Arc<str>,
    pub index_var: Option<Arc<str>>,
    pub label: Option<Lazy>,
    pub pause: Option<Lazy>,
    pub extended: bool,
    /// `extended_allitems`.
    pub all_items: bool,
    pub break_when: Option<Condition>,
}

impl Play {
    /// Its sections of tasks, in the order in which they run.
    pub fn sections(&self) -> [&[Item]; 4] {
        [&self.pre_tasks, &self.roles, &self.tasks, &self.post_tasks]
    }

    /// Every task of its sections, those of blocks and roles too; handlers are none.
    pub fn tasks(&self) -> Vec<&Arc<Task>> {
        fn collect<'p>(items: &'p [Item], tasks: &mut Vec<&'p Arc<Task>>) {
            for item in items {
                match item {
                    Item::Task(task) => tasks.push(task),
                    Item::Role(used) => collect(&used.items, tasks),
                    Item::Block(block) => {
                        for section in [&block.block, &block.rescue, &block.always] {
                            collect(section, tasks);
                        }
                    }
                }
            }
        }
        let mut tasks = Vec::new();
        for section in self.sections() {
            collect(section, &mut tasks);
        }
        tasks
    }
}

impl Task {
    /// A task of the engine's own, that no person wrote: with these keywords and no others.
    pub fn of_engine(
        name: Lazy,
        action: &str,
        kind: Kind,
        args: Arguments,
        keywords: Keywords,
        span: &Span,
    ) -> Self {
        Self {
            name: Some(name),
            span: span.clone(),
            dir: PathBuf::new(),
            action: action.to_owned(),
            action_span: span.clone(),
            kind,
            args,
            keywords,
            around: None,
            vars: None,
            looping: None,
            register: None,
            changed_when: None,
            failed_when: None,
            until: None,
            retries: None,
            delay: None,
            async_: None,
            poll: None,
            listen: Vec::new(),
            is_handler: false,
            role: None,
        }
    }

    /// The text of a `name:` that is no template.
    pub fn plain_name(&self) -> Option<String> {
        match self.name.as_ref()? {
            Lazy::Data(value) => Some(value.to_string()),
            Lazy::Template(text) => Some(text.text.to_string()),
            _ => None,
        }
    }
}
