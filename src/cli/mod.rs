//! The command line: in, arguments and settings; out, exit codes.

mod args;
pub mod exit;
mod printer;
mod prompter;
mod secrets;
mod settings;

mod commands {
    pub(super) mod check;
    pub(super) mod completion;
    pub(super) mod config;
    pub(super) mod doc;
    pub(super) mod init;
    pub(super) mod inventory;
    mod junit;
    pub(super) mod lab;
    mod list;
    pub(super) mod pool;
    mod project;
    pub(super) mod run;
    pub(super) mod vault;
}

use clap::Parser;

use args::{Command, CommandLine};

/// Runs the command line and returns the exit code.
pub fn run() -> u8 {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(problem) => {
            let code = u8::try_from(problem.exit_code()).unwrap_or(exit::BUG);
            // Nothing can be done about a closed standard error here.
            let _ = problem.print();
            return code;
        }
    };
    match line.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::Diagnose(args) => commands::pool::diagnose(args),
        Command::Repair(args) => commands::pool::repair(args),
        Command::Inventory(args) => commands::inventory::run(&args),
        Command::Doc { module, schema } => commands::doc::run(module.as_deref(), schema),
        Command::Init { dir } => commands::init::run(&dir),
        Command::Vault { command } => commands::vault::run(&command),
        Command::Lab { command } => commands::lab::run(&command),
        Command::Completion { shell } => commands::completion::run(shell),
    }
}
