//! `layerplay check PLAYBOOK...`: everything that can be known to be wrong without touching a host.

use super::project;
use crate::cli::args::{CheckArgs, Format};
use crate::cli::{exit, printer};
use crate::diagnostic::{Diagnostics, to_json};

pub(in crate::cli) fn run(args: &CheckArgs) -> u8 {
    let found = project::playbooks(&args.playbooks).and_then(|(_, _, warnings)| {
        if args.inventory.inventory.is_empty() {
            return Ok(warnings);
        }
        project::inventory(&args.inventory.inventory, &args.inventory).map(|_| warnings)
    });
    let (problems, is_good): (Diagnostics, bool) = match found {
        Ok(warnings) => (warnings, true),
        Err(problems) => (problems, false),
    };
    if args.format == Format::Json {
        for problem in &problems.0 {
            printer::out(&to_json(problem).to_string());
        }
        return if is_good {
            exit::OK
        } else {
            exit::UNREACHABLE_OR_PARSE
        };
    }
    let code = project::show(&problems);
    if is_good {
        printer::err("no mistakes found");
    }
    code
}
