//! The contract of a module. In: its typed arguments and the platform. `inspect` reads and says what would change;
//! `apply` does exactly that, and refuses when the world moved meanwhile. Check mode is `inspect` without `apply`,
//! so it cannot lie.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ModuleError;
use crate::platform::Platform;

/// What a module can do besides being run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Supports {
    /// `inspect` tells the whole truth. Without it the task is skipped in check mode, as Ansible does.
    pub check: bool,
    pub diff: bool,
}

/// What a module's `apply` reaches, so that a plan can say "reboots 12 nodes" before anything runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touches {
    /// Needs a machine to run commands on; an error on a host that is a cluster.
    pub machine: bool,
    pub registry: bool,
    pub cluster: bool,
    pub nodes: bool,
    pub reboot: bool,
}

impl Touches {
    /// Looks only.
    pub const NOTHING: Self = Self {
        machine: false,
        registry: false,
        cluster: false,
        nodes: false,
        reboot: false,
    };
    /// Writes what makes nodes reboot.
    pub const REBOOTS: Self = Self {
        cluster: true,
        nodes: true,
        reboot: true,
        ..Self::NOTHING
    };
}

/// A file on the controller that an argument names. The engine finds it by Ansible's search order
/// (role folder, the task's folder, the playbook's folder) and hands the module what it asks for.
#[derive(Debug, Clone, Copy)]
pub struct FileArgument {
    /// The argument that names the file.
    pub argument: &'static str,
    /// The folder searched beside the playbook and in roles: `files`, `templates`.
    pub folder: &'static str,
    pub render: Render,
    /// The argument that receives the rendered text; the naming argument then receives the absolute path. With
    /// `x-filled-in` in its schema it is no argument that a task may write.
    pub content: Option<&'static str>,
    pub part: Part,
}

/// How much of an argument's text names the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The first word, as a shell reads it; the found path takes its place, quoted.
    FirstWord,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Render {
    /// The path is resolved; text is handed over only of a file that is a vault, opened.
    Never,
    /// Rendered as a template with the task's variables.
    Always,
    /// Rendered when the name ends in `.j2`, else read as it is.
    J2,
}

/// One field that differs, as a path and its two values. A secret is masked by whoever makes the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    pub field: String,
    pub before: Value,
    pub after: Value,
}

impl FieldChange {
    pub fn new(field: &str, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        Self {
            field: field.to_owned(),
            before: before.into(),
            after: after.into(),
        }
    }
}

/// Text before and after, for `--diff`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TextDiff {
    pub before_header: String,
    pub after_header: String,
    pub before: String,
    pub after: String,
}

/// What `inspect` found.
#[derive(Debug)]
pub enum Change<W> {
    /// The world is as wanted. The outcome is the task's result.
    None(Outcome),
    /// `apply` would make these differences. `preview` is the result in check mode.
    Some {
        fields: Vec<FieldChange>,
        diff: Vec<TextDiff>,
        preview: Outcome,
        work: W,
    },
    /// Only doing it can tell (`command`). In check mode the task is skipped with this message.
    Unknown { message: String, work: W },
}

impl<W> Change<W> {
    /// The same change, whose work is a part of another module's.
    pub fn map<V>(self, wrap: impl FnOnce(W) -> V) -> Change<V> {
        match self {
            Self::None(outcome) => Change::None(outcome),
            Self::Some {
                fields,
                diff,
                preview,
                work,
            } => Change::Some {
                fields,
                diff,
                preview,
                work: wrap(work),
            },
            Self::Unknown { message, work } => Change::Unknown {
                message,
                work: wrap(work),
            },
        }
    }
}

/// The result of a task, as playbooks read it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub changed: bool,
    /// Set when the module itself says it was skipped.
    pub skipped: bool,
    /// The keys of the result (`stdout`, `rc`, `stat`, `image`, ...).
    pub result: Map<String, Value>,
    /// Becomes variables of the host (`ansible_facts`).
    pub facts: Map<String, Value>,
    pub warnings: Vec<String>,
}

impl Outcome {
    /// From a JSON mapping; anything else is kept under `value`.
    pub fn unchanged(result: Value) -> Self {
        let result = match result {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self {
            result,
            ..Self::default()
        }
    }

    pub fn changed(result: Value) -> Self {
        Self {
            changed: true,
            ..Self::unchanged(result)
        }
    }
}

/// A native module. Everything that users see of it (arguments, `layerplay doc`, JSON schema) comes from `Args` and
/// its doc comments.
#[async_trait]
pub trait Module: Send + Sync + 'static {
    /// `#[serde(deny_unknown_fields)]`; doc comments are the manual.
    type Args: DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// What `inspect` hands to `apply`.
    type Work: Send + 'static;

    const NAME: &'static str;
    /// One sentence, for lists.
    const SUMMARY: &'static str;
    /// Playbook examples, YAML.
    const EXAMPLES: &'static str;
    const SUPPORTS: Supports;
    const TOUCHES: Touches;
    /// Names that mean the same module (`kubernetes.core.k8s`). `ansible.builtin.NAME` and `ansible.legacy.NAME` are
    /// added for modules whose `ANSIBLE_BUILTIN` is true.
    const ALIASES: &'static [&'static str] = &[];
    const ANSIBLE_BUILTIN: bool = false;
    /// The argument that receives free text (`command: ls -l`). Known `k=v` words are cut out of it first.
    const FREE_FORM: Option<&'static str> = None;
    const FILES: &'static [FileArgument] = &[];

    /// Reads only.
    async fn inspect(
        &self,
        args: &Self::Args,
        platform: &Platform,
    ) -> Result<Change<Self::Work>, ModuleError>;

    /// Does what `inspect` said.
    async fn apply(
        &self,
        args: &Self::Args,
        work: Self::Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError>;
}

/// The static facts of a module, for catalogues, documentation and checks.
#[derive(Debug, Clone)]
pub struct ModuleInfo {
    pub name: String,
    pub summary: String,
    pub examples: String,
    pub aliases: Vec<String>,
    pub supports: Supports,
    pub touches: Touches,
    pub free_form: Option<String>,
    pub files: Vec<FileArgument>,
    /// JSON schema (draft 2020-12) of the arguments that a task may write.
    pub schema: Value,
}

/// A change with the typed work hidden, and the arguments that it was made for.
pub struct ErasedChange {
    pub change: Change<()>,
    args: Box<dyn Any + Send + Sync>,
    work: Option<Box<dyn Any + Send>>,
}

/// A module whose argument types are hidden: what the engine calls.
#[async_trait]
pub trait DynModule: Send + Sync {
    fn info(&self) -> &ModuleInfo;
    /// Checks arguments without running anything: the first problem, as an [`ModuleError`] that names the argument.
    fn check_args(&self, args: &Map<String, Value>) -> Result<(), ModuleError>;
    async fn inspect(
        &self,
        args: Map<String, Value>,
        platform: &Platform,
    ) -> Result<ErasedChange, ModuleError>;
    async fn apply(
        &self,
        change: ErasedChange,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError>;
}

struct Native<M> {
    module: M,
    info: ModuleInfo,
    /// Of all arguments: also those that only the engine fills in.
    schema: Value,
}

/// Hides the types of a native module.
pub fn erase<M: Module>(module: M) -> Arc<dyn DynModule> {
    let mut aliases: Vec<String> = M::ALIASES.iter().map(ToString::to_string).collect();
    if M::ANSIBLE_BUILTIN {
        aliases.push(format!("ansible.builtin.{}", M::NAME));
        aliases.push(format!("ansible.legacy.{}", M::NAME));
    }
    let schema = schemars::schema_for!(M::Args).to_value();
    let mut written = schema.clone();
    if let Some(properties) = written["properties"].as_object_mut() {
        properties.retain(|_, property| property["x-filled-in"] != true);
    }
    let info = ModuleInfo {
        name: M::NAME.to_owned(),
        summary: M::SUMMARY.to_owned(),
        examples: M::EXAMPLES.to_owned(),
        aliases,
        supports: M::SUPPORTS,
        touches: M::TOUCHES,
        free_form: M::FREE_FORM.map(ToOwned::to_owned),
        files: M::FILES.to_vec(),
        schema: written,
    };
    Arc::new(Native {
        module,
        info,
        schema,
    })
}

impl<M: Module> Native<M> {
    fn parse(&self, args: &Map<String, Value>) -> Result<M::Args, ModuleError> {
        crate::core::arguments::parse::<M::Args>(M::NAME, &self.schema, args)
    }
}

#[async_trait]
impl<M: Module> DynModule for Native<M> {
    fn info(&self) -> &ModuleInfo {
        &self.info
    }

    fn check_args(&self, args: &Map<String, Value>) -> Result<(), ModuleError> {
        self.parse(args).map(|_| ())
    }

    async fn inspect(
        &self,
        args: Map<String, Value>,
        platform: &Platform,
    ) -> Result<ErasedChange, ModuleError> {
        let args = self.parse(&args)?;
        let change = self.module.inspect(&args, platform).await?;
        let (change, work): (Change<()>, Option<Box<dyn Any + Send>>) = match change {
            Change::None(outcome) => (Change::None(outcome), None),
            Change::Some {
                fields,
                diff,
                preview,
                work,
            } => (
                Change::Some {
                    fields,
                    diff,
                    preview,
                    work: (),
                },
                Some(Box::new(work)),
            ),
            Change::Unknown { message, work } => {
                (Change::Unknown { message, work: () }, Some(Box::new(work)))
            }
        };
        Ok(ErasedChange {
            change,
            args: Box::new(args),
            work,
        })
    }

    async fn apply(
        &self,
        change: ErasedChange,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let work = change.work.and_then(|work| work.downcast::<M::Work>().ok());
        let args = change.args.downcast::<M::Args>().ok();
        match (change.change, work, args) {
            (Change::None(outcome), _, _) => Ok(outcome),
            (_, Some(work), Some(args)) => self.module.apply(&args, *work, platform).await,
            _ => Err(ModuleError::failed(format!(
                "`{}` was given a change that another module made",
                M::NAME
            ))),
        }
    }
}
