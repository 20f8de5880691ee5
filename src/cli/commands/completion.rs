//! `layerplay completion SHELL`.

use clap::CommandFactory;

use crate::cli::args::CommandLine;
use crate::cli::{exit, printer};

pub(in crate::cli) fn run(shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "layerplay", &mut script);
    printer::out(String::from_utf8_lossy(&script).trim_end());
    exit::OK
}
