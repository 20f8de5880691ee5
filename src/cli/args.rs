//! The command line as clap reads it: declarations only.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
    /// Show what a module does, its arguments and examples; without a name, list all.
    Doc {
        module: Option<String>,
        /// The JSON schema of the arguments, for editors.
        #[arg(long)]
        schema: bool,
    },
    /// Write a project to start from: playbooks, one layer, an inventory to fill in.
    Init { dir: PathBuf },
    /// Print a completion script for a shell.
    Completion { shell: clap_complete::Shell },
}
