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
    Run(Box<RunArgs>),
    /// Find the mistakes in playbooks; touches nothing.
    Check(CheckArgs),
    /// Show the settings, each with the place that it comes from.
    Config(ConfigArgs),
    /// Say why a pool's nodes do not get where the pool goes; on every cluster of the inventory.
    Diagnose(PoolArgs),
    /// Free nodes that still go to a configuration which their pool has left; reboots nothing.
    Repair(PoolArgs),
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
    /// Encrypt and decrypt files and strings as ansible-vault does.
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
    },
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
    /// JUnit XML at the end, for CI.
    Junit,
}

#[derive(Debug, Default, Args)]
pub struct InventoryOptions {
    /// Inventory file, folder, executable, or a comma-separated list of hosts; may be given more than once.
    #[arg(short, long = "inventory", visible_alias = "inventory-file", value_name = "INVENTORY", env = "LAYERPLAY_INVENTORY", value_delimiter = None)]
    pub inventory: Vec<String>,
    /// Further pattern that limits the hosts; `@FILE` reads it from a file.
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Variables: `key=value ...`, a JSON or YAML mapping, or `@FILE`; beat everything.
    #[arg(short, long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
}

/// Where the passwords of vaults come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Vaults")]
pub struct VaultOptions {
    /// A vault id and where its password comes from: a file, an executable, or `prompt`.
    #[arg(long = "vault-id", value_name = "[LABEL@]SOURCE")]
    pub vault_ids: Vec<String>,
    /// File with the password of vaults, or executable that prints it (also `ANSIBLE_VAULT_PASSWORD_FILE`).
    #[arg(
        long = "vault-password-file",
        visible_alias = "vault-pass-file",
        value_name = "FILE"
    )]
    pub vault_password_files: Vec<String>,
    /// Ask for the password of vaults.
    #[arg(short = 'J', long, visible_alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

/// How hosts are reached where neither a keyword nor a variable says it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Connections")]
pub struct ReachOptions {
    /// Run tasks with another user's rights.
    #[arg(short = 'b', long = "become")]
    pub becomes: bool,
    /// Whose rights; `root` by default.
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// `sudo` or `su`; `sudo` by default.
    #[arg(long, value_name = "METHOD")]
    pub become_method: Option<String>,
    /// Ask for the password that `sudo` wants.
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// File with the password that `sudo` wants.
    #[arg(
        long,
        visible_alias = "become-pass-file",
        value_name = "FILE",
        conflicts_with = "ask_become_pass"
    )]
    pub become_password_file: Option<PathBuf>,
    /// User to connect as.
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// `ssh`, `local` or `cluster`.
    #[arg(short, long, value_name = "KIND")]
    pub connection: Option<String>,
    /// SSH key.
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<String>,
    /// Ask for the password of SSH.
    #[arg(short = 'k', long)]
    pub ask_pass: bool,
    /// File with the password of SSH.
    #[arg(
        long,
        visible_alias = "conn-pass-file",
        value_name = "FILE",
        conflicts_with = "ask_pass"
    )]
    pub connection_password_file: Option<PathBuf>,
    /// Seconds that a host may take to answer.
    #[arg(short = 'T', long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// Arguments for `ssh`, for every host that has no `ansible_ssh_common_args`.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// More arguments for `ssh`, for every host that has no `ansible_ssh_extra_args`.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Taken for ansible-playbook's sake: files go through `ssh` itself.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, hide = true)]
    pub scp_extra_args: Option<String>,
    /// Taken for ansible-playbook's sake: files go through `ssh` itself.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, hide = true)]
    pub sftp_extra_args: Option<String>,
}

#[derive(Debug, Default, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line, and they go together in any way"
)]
pub struct RunArgs {
    /// Paths of playbooks; a name that is no path is looked for under `playbooks/`.
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    pub inventory: InventoryOptions,
    #[command(flatten)]
    pub vault: VaultOptions,
    #[command(flatten)]
    pub reach: ReachOptions,
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
    /// Hosts at once; 5 by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub forks: Option<u32>,
    /// Run notified handlers of hosts that failed, too.
    #[arg(long)]
    pub force_handlers: bool,
    /// Forget the facts that earlier runs have kept.
    #[arg(long)]
    pub flush_cache: bool,
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
pub struct PoolArgs {
    /// The pool's name.
    pub pool: String,
    #[command(flatten)]
    pub inventory: InventoryOptions,
    #[command(flatten)]
    pub vault: VaultOptions,
    /// Say what would change, and change nothing.
    #[arg(short = 'C', long)]
    pub check: bool,
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
    #[command(flatten)]
    pub vault: VaultOptions,
    #[arg(long, value_enum, default_value = "pretty")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Only those that something sets.
    #[arg(long)]
    pub only_changed: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["list", "graph", "host"]))]
pub struct InventoryArgs {
    #[command(flatten)]
    pub inventory: InventoryOptions,
    #[command(flatten)]
    pub vault: VaultOptions,
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
    Up(LabUp),
    /// End the lab that is up.
    Down(LabDir),
    /// Say whether a lab is up, and where.
    Status(LabDir),
}

#[derive(Debug, Args)]
pub struct LabUp {
    /// What the lab is made of and what goes wrong in it (YAML); two healthy clusters by default.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub dir: LabDir,
}

#[derive(Debug, Args)]
pub struct LabDir {
    /// Where its kubeconfigs and inventory are written.
    #[arg(long, value_name = "DIR", env = "LAYERPLAY_LAB_DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Write a new encrypted file in an editor.
    Create {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Start the editor also without a terminal.
        #[arg(long)]
        skip_tty_check: bool,
        #[command(flatten)]
        seal: SealOptions,
    },
    /// Encrypt files in place; without one, standard input to standard output.
    Encrypt {
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputOption,
        #[command(flatten)]
        seal: SealOptions,
    },
    /// Encrypt strings, as YAML to put into a file.
    #[command(visible_alias = "encrypt_string")]
    EncryptString(EncryptStringArgs),
    /// Decrypt files in place; without one, standard input to standard output.
    Decrypt {
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputOption,
        #[command(flatten)]
        vault: VaultOptions,
    },
    /// Show what is inside.
    View {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        vault: VaultOptions,
    },
    /// Change what is inside in an editor.
    Edit {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        vault: VaultOptions,
    },
    /// Encrypt files with another password.
    Rekey {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// File with the new password, or executable that prints it.
        #[arg(long, value_name = "FILE", conflicts_with = "new_vault_id")]
        new_vault_password_file: Option<String>,
        /// The new vault id and where its password comes from.
        #[arg(long, value_name = "[LABEL@]SOURCE")]
        new_vault_id: Option<String>,
        #[command(flatten)]
        seal: SealOptions,
    },
}

#[derive(Debug, Args)]
pub struct SealOptions {
    #[command(flatten)]
    pub vault: VaultOptions,
    /// The vault id to encrypt with, when several are given.
    #[arg(long, value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct OutputOption {
    /// Where the result goes instead; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EncryptStringArgs {
    /// Strings; `-` reads one from standard input, as does none at all.
    #[arg(value_name = "STRING")]
    pub strings: Vec<String>,
    /// Ask for the string.
    #[arg(short, long, conflicts_with = "stdin_name")]
    pub prompt: bool,
    /// Show what is typed.
    #[arg(long)]
    pub show_input: bool,
    /// The variable of a string; may be given once for each.
    #[arg(short, long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The variable of what standard input holds.
    #[arg(long, value_name = "NAME")]
    pub stdin_name: Option<String>,
    #[command(flatten)]
    pub output: OutputOption,
    #[command(flatten)]
    pub seal: SealOptions,
}
