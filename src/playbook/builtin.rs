//! In: the name of an action of the engine itself. Out: which one it is, and its page of the manual: what it does and
//! which arguments it takes.

use layerplay_modules::ModuleError;
use layerplay_modules::contract::{ModuleInfo, Supports, Touches};
use layerplay_modules::core::arguments::unknown;
use serde_json::{Map, Value, json};

/// Actions that need the language: they evaluate expressions or change the engine's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Builtin {
    AddHost,
    Assert,
    AsyncStatus,
    Debug,
    Fail,
    GroupBy,
    ImportRole,
    ImportTasks,
    IncludeRole,
    IncludeTasks,
    IncludeVars,
    Meta,
    Pause,
    SetFact,
    ValidateArgumentSpec,
}

/// What is told of an action.
struct Page {
    action: Builtin,
    name: &'static str,
    summary: &'static str,
    /// Name, type, meaning. Those of the first `required` must be given.
    arguments: &'static [(&'static str, &'static str, &'static str)],
    required: usize,
    /// Takes any other names as well.
    is_open: bool,
    /// Takes text behind its name that is no `key=value`.
    is_free_form: bool,
    examples: &'static str,
}

/// Of `import_role` and `include_role`.
const ROLE: &[(&str, &str, &str)] = &[
    ("name", "string", "The role."),
    ("role", "string", "The same as `name`."),
    (
        "tasks_from",
        "string",
        "A file of its `tasks` instead of `main`.",
    ),
    (
        "vars_from",
        "string",
        "A file of its `vars` instead of `main`.",
    ),
    (
        "defaults_from",
        "string",
        "A file of its `defaults` instead of `main`.",
    ),
    (
        "handlers_from",
        "string",
        "A file of its `handlers` instead of `main`.",
    ),
    (
        "allow_duplicates",
        "boolean",
        "Run it again when it has run already; yes by default.",
    ),
    (
        "apply",
        "object",
        "Keywords for all its tasks; of `include_role` alone.",
    ),
    (
        "public",
        "boolean",
        "Later tasks of the play see its variables.",
    ),
    (
        "rolespec_validate",
        "boolean",
        "`false` leaves out the check of its arguments by `meta/argument_specs.yml`.",
    ),
];

const PAGES: &[Page] = &[
    Page {
        action: Builtin::AddHost,
        name: "add_host",
        summary: "Adds a host to the inventory of this run, once for all hosts of the play",
        arguments: &[
            (
                "name",
                "string",
                "The host; `hostname` and `host` mean the same.",
            ),
            (
                "groups",
                "array",
                "Groups that it is put into; `groupname` and `group` mean the same.",
            ),
            ("hostname", "string", "The same as `name`."),
            ("host", "string", "The same as `name`."),
            ("groupname", "array", "The same as `groups`."),
            ("group", "array", "The same as `groups`."),
        ],
        required: 0,
        is_open: true,
        is_free_form: false,
        examples: "- add_host: {name: stage-b, groups: staging, context: stage-b}\n",
    },
    Page {
        action: Builtin::Assert,
        name: "assert",
        summary: "Fails unless all conditions hold",
        arguments: &[
            ("that", "array", "Conditions without braces; all must hold."),
            ("fail_msg", "string", "What is said when one does not."),
            ("msg", "string", "The same as `fail_msg`."),
            ("success_msg", "string", "What is said when all do."),
            ("quiet", "boolean", "Say nothing when all hold."),
        ],
        required: 1,
        is_open: false,
        is_free_form: false,
        examples: "- assert:\n    that: release.version is match('4[.]18')\n    fail_msg: this layer is for 4.18\n",
    },
    Page {
        action: Builtin::AsyncStatus,
        name: "async_status",
        summary: "Asks for the result of a task that runs beside the play (`async` with `poll: 0`)",
        arguments: &[
            ("jid", "string", "`ansible_job_id` of the task's result."),
            (
                "mode",
                "string",
                "`status` by default; `cleanup` forgets the result.",
            ),
        ],
        required: 1,
        is_open: false,
        is_free_form: false,
        examples: "- async_status: {jid: \"{{ started.ansible_job_id }}\"}\n  register: job\n  until: job.finished\n  retries: 30\n  delay: 2\n",
    },
    Page {
        action: Builtin::Debug,
        name: "debug",
        summary: "Shows text or a variable",
        arguments: &[
            ("msg", "string", "What is shown."),
            (
                "var",
                "string",
                "An expression without braces whose value is shown.",
            ),
            ("verbosity", "integer", "Only with at least this many `-v`."),
        ],
        required: 0,
        is_open: false,
        is_free_form: false,
        examples: "- debug: {var: built.image}\n",
    },
    Page {
        action: Builtin::Fail,
        name: "fail",
        summary: "Fails with a message",
        arguments: &[("msg", "string", "Why.")],
        required: 0,
        is_open: false,
        is_free_form: false,
        examples: "- fail: {msg: this cluster is not ours}\n  when: cluster_owner != 'us'\n",
    },
    Page {
        action: Builtin::GroupBy,
        name: "group_by",
        summary: "Puts hosts into groups by a value",
        arguments: &[
            ("key", "string", "The group's name, usually a template."),
            ("parents", "array", "Groups above it."),
        ],
        required: 1,
        is_open: false,
        is_free_form: false,
        examples: "- group_by: {key: \"release_{{ release.version }}\"}\n",
    },
    Page {
        action: Builtin::ImportRole,
        name: "import_role",
        summary: "Takes in a role when the playbook is read",
        arguments: ROLE,
        required: 0,
        is_open: false,
        is_free_form: false,
        examples: "- import_role: {name: agent}\n",
    },
    Page {
        action: Builtin::IncludeRole,
        name: "include_role",
        summary: "Takes in a role when it is reached",
        arguments: ROLE,
        required: 0,
        is_open: false,
        is_free_form: false,
        examples: "- include_role: {name: agent, tasks_from: remove}\n  vars: {version: 2}\n",
    },
    Page {
        action: Builtin::ImportTasks,
        name: "import_tasks",
        summary: "Takes in the tasks of a file when the playbook is read",
        arguments: &[
            ("file", "string", "The file."),
            ("apply", "object", "Keywords for all its tasks."),
        ],
        required: 0,
        is_open: false,
        is_free_form: true,
        examples: "- import_tasks: checks.yml\n",
    },
    Page {
        action: Builtin::IncludeTasks,
        name: "include_tasks",
        summary: "Takes in the tasks of a file when it is reached",
        arguments: &[
            ("file", "string", "The file."),
            ("apply", "object", "Keywords for all its tasks."),
        ],
        required: 0,
        is_open: false,
        is_free_form: true,
        examples: "- include_tasks: \"{{ pool }}.yml\"\n  loop: [canary, worker]\n  loop_control: {loop_var: pool}\n",
    },
    Page {
        action: Builtin::IncludeVars,
        name: "include_vars",
        summary: "Takes in variables from a file or a folder",
        arguments: &[
            ("file", "string", "The file."),
            ("dir", "string", "A folder of such files."),
            (
                "name",
                "string",
                "One variable that receives all of them as a mapping.",
            ),
            ("depth", "integer", "How deep folders are looked into."),
            (
                "extensions",
                "array",
                "Endings of file names that are taken.",
            ),
            (
                "files_matching",
                "string",
                "A regular expression for file names.",
            ),
            ("ignore_files", "array", "File names that are left out."),
            (
                "ignore_unknown_extensions",
                "boolean",
                "Other endings are no error.",
            ),
            (
                "hash_behaviour",
                "string",
                "`replace`, or `merge` for mappings.",
            ),
        ],
        required: 0,
        is_open: false,
        is_free_form: true,
        examples: "- include_vars: \"{{ release.version }}.yml\"\n",
    },
    Page {
        action: Builtin::Meta,
        name: "meta",
        summary: "Steers the run: `flush_handlers`, `end_play`, `end_host`, `end_batch`, `clear_facts`, `clear_host_errors`, `refresh_inventory`, `reset_connection`, `noop`",
        arguments: &[],
        required: 0,
        is_open: false,
        is_free_form: true,
        examples: "- meta: flush_handlers\n",
    },
    Page {
        action: Builtin::Pause,
        name: "pause",
        summary: "Waits for some time, or for a person",
        arguments: &[
            ("seconds", "number", "How long."),
            ("minutes", "number", "How long."),
            (
                "prompt",
                "string",
                "What is asked; without a time it waits for an answer.",
            ),
            ("echo", "boolean", "Show what is typed."),
        ],
        required: 0,
        is_open: false,
        is_free_form: false,
        examples: "- pause: {minutes: 10}\n",
    },
    Page {
        action: Builtin::SetFact,
        name: "set_fact",
        summary: "Sets variables of the host for the rest of the run",
        arguments: &[(
            "cacheable",
            "boolean",
            "Taken for Ansible's sake: there is no cache of facts.",
        )],
        required: 0,
        is_open: true,
        is_free_form: false,
        examples: "- set_fact: {image: \"{{ built.image }}\"}\n",
    },
    Page {
        action: Builtin::ValidateArgumentSpec,
        name: "validate_argument_spec",
        summary: "Fails unless variables are as a specification of arguments says",
        arguments: &[
            (
                "argument_spec",
                "object",
                "Options by name, each with `type`, `required`, `choices`, `elements`, `options`, as in a role's `meta/argument_specs.yml`.",
            ),
            (
                "provided_arguments",
                "object",
                "Values that count instead of variables of the same names.",
            ),
            (
                "validate_args_context",
                "object",
                "Handed on to the result: what the arguments are of.",
            ),
        ],
        required: 1,
        is_open: false,
        is_free_form: false,
        examples: "- validate_argument_spec:\n    argument_spec:\n      pool: {required: true, choices: [canary, worker]}\n",
    },
];

impl Builtin {
    pub fn all() -> impl Iterator<Item = Self> {
        PAGES.iter().map(|page| page.action)
    }

    fn page(self) -> Option<&'static Page> {
        PAGES.iter().find(|page| page.action == self)
    }

    pub fn name(self) -> &'static str {
        self.page().map_or("", |page| page.name)
    }

    /// Takes text behind its name that is no `key=value`.
    pub(super) fn is_free_form(self) -> bool {
        self.page().is_some_and(|page| page.is_free_form)
    }

    /// The first argument that the action does not take.
    pub fn unknown(self, arguments: &Map<String, Value>) -> Option<&str> {
        let page = self.page().filter(|page| !page.is_open)?;
        arguments
            .keys()
            .find(|given| !page.arguments.iter().any(|(name, ..)| name == given))
            .map(String::as_str)
    }

    /// Whether an argument has this name.
    pub(super) fn takes(self, argument: &str) -> bool {
        self.page().is_none_or(|page| {
            page.is_open || page.arguments.iter().any(|(name, ..)| *name == argument)
        })
    }

    /// The error for such an argument, as modules have it.
    pub fn wrong_argument(self, name: &str) -> ModuleError {
        let schema = self.info().schema;
        let none = Map::new();
        unknown(
            self.name(),
            name,
            schema["properties"].as_object().unwrap_or(&none),
        )
    }

    /// The page of the manual, as modules have it.
    pub fn info(self) -> ModuleInfo {
        let arguments = self.page().map_or::<&[_], _>(&[], |page| page.arguments);
        let properties: Map<String, Value> = arguments
            .iter()
            .map(|(name, kind, meaning)| {
                (
                    (*name).to_owned(),
                    json!({"type": [kind, "null"], "description": meaning}),
                )
            })
            .collect();
        let required: Vec<&str> = arguments
            .iter()
            .take(self.page().map_or(0, |page| page.required))
            .map(|(name, ..)| *name)
            .collect();
        ModuleInfo {
            name: self.name().to_owned(),
            summary: self.page().map_or("", |page| page.summary).to_owned(),
            examples: self.page().map_or("", |page| page.examples).to_owned(),
            aliases: vec![
                format!("ansible.builtin.{}", self.name()),
                format!("ansible.legacy.{}", self.name()),
            ],
            supports: Supports {
                check: true,
                diff: false,
            },
            touches: Touches::default(),
            free_form: self.is_free_form().then(|| "_raw_params".to_owned()),
            files: Vec::new(),
            schema: json!({
                "type": "object", "properties": properties, "required": required,
                "additionalProperties": self.page().is_some_and(|page| page.is_open),
            }),
        }
    }
}
