//! The command line as clap reads it: declarations only.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Ansible-style playbooks for custom OS images on OpenShift nodes.
#[derive(Debug, Parser)]
#[command(
    name = "layerplay",
    version,
    about,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run playbooks. Without an inventory they run against a simulated OpenShift.
    Run(RunArgs),
    /// Find the mistakes in playbooks; touches nothing.
    Check(CheckArgs),
    /// Show the inventory as layerplay reads it.
    Inventory(InventoryArgs),
    /// Show what a module does, its arguments and examples; without a name, list all.
    Doc {
        module: Option<String>,
        /// The JSON schema of the arguments, for editors; without a module, that of a whole playbook.
        #[arg(long)]
        schema: bool,
    },
    /// Write a project to start from: playbooks, one layer, an inventory to fill in.
    Init { dir: PathBuf },
    /// A simulated OpenShift that stays up.
    Lab {
        #[command(subcommand)]
        command: LabCommand,
    },
    /// Print a completion script for a shell.
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: live on a terminal, failures gathered at the end.
    Pretty,
    /// In the form of ansible-playbook.
    Ansible,
    /// One event a line, for tools.
    Json,
}

#[derive(Debug, Args)]
pub struct InventoryOptions {
    /// Inventory file, folder, executable, or a comma-separated list of hosts; may be given more than once.
    #[arg(short, long = "inventory", value_name = "INVENTORY", env = "LAYERPLAY_INVENTORY", value_delimiter = None)]
    pub inventory: Vec<String>,
    /// Further pattern that limits the hosts; `@FILE` reads it from a file.
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Variables: `key=value ...`, a JSON or YAML mapping, or `@FILE`; beat everything.
    #[arg(short, long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Paths of playbooks; a name that is no path is looked for under `playbooks/`.
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryOptions,
    /// Only tasks with these tags.
    #[arg(short, long, value_name = "TAGS", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Not the tasks with these tags.
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    pub skip_tags: Vec<String>,
    /// Say what would change, and change nothing.
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show differences of files and fields.
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Hosts at once.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub forks: u32,
    /// Show the tasks that would run, and run none.
    #[arg(long)]
    pub list_tasks: bool,
    /// Show the hosts of each play, and run nothing.
    #[arg(long)]
    pub list_hosts: bool,
    /// Show the tags of each play, and run nothing.
    #[arg(long)]
    pub list_tags: bool,
    /// Read the playbooks, and run nothing.
    #[arg(long)]
    pub syntax_check: bool,
    /// Start at the task with this name, or whose name matches this pattern.
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,
    /// Ask before each task.
    #[arg(long)]
    pub step: bool,
    /// More detail; up to four times.
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,
    /// `pretty` on a terminal by default, else `ansible`.
    #[arg(long, value_enum, env = "LAYERPLAY_FORMAT")]
    pub format: Option<Format>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryOptions,
    #[arg(long, value_enum, default_value = "pretty")]
    pub format: Format,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["list", "graph", "host"]))]
pub struct InventoryArgs {
    #[command(flatten)]
    pub inventory: InventoryOptions,
    /// All groups, hosts and variables as JSON.
    #[arg(long)]
    pub list: bool,
    /// The groups as a tree.
    #[arg(long)]
    pub graph: bool,
    /// The variables of one host as JSON.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start a lab and keep it up until `lab down` or Ctrl-C.
    Up(LabDir),
    /// End the lab that is up.
    Down(LabDir),
    /// Say whether a lab is up, and where.
    Status(LabDir),
}

#[derive(Debug, Args)]
pub struct LabDir {
    /// Where its kubeconfigs and inventory are written.
    #[arg(long, value_name = "DIR", env = "LAYERPLAY_LAB_DIR")]
    pub dir: Option<PathBuf>,
}
