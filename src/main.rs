//! Runs the command line and leaves with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(layerplay::cli::run())
}
