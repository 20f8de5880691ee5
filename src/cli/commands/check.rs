//! `layerplay check PLAYBOOK...`: everything that can be known to be wrong without touching a host.

use super::project;
use crate::cli::args::{CheckArgs, Format};
use crate::cli::{exit, printer, settings};
use crate::diagnostic::{Diagnostics, to_json};
use crate::vars::{Settings, World};

pub(in crate::cli) fn run(args: &CheckArgs) -> u8 {
    if args.format == Format::Junit {
        printer::err("error: `check` runs no tasks, so it has no `--format junit`");
        return exit::BAD_OPTIONS;
    }
    let problems = look(args).unwrap_or_else(|problems| problems);
    let code = if args.format == Format::Json {
        for problem in &problems.0 {
            printer::out(&to_json(problem).to_string());
        }
        project::code(&problems)
    } else {
        project::show(&problems)
    };
    match (problems.0.len(), code) {
        (0, _) => printer::err("no mistakes found"),
        (1, _) => printer::err("1 mistake found"),
        (count, _) => printer::err(&format!("{count} mistakes found")),
    }
    // What a run only warns of is a mistake here: that is what one asks for.
    if code == exit::OK && !problems.is_empty() {
        exit::UNREACHABLE_OR_PARSE
    } else {
        code
    }
}

fn look(args: &CheckArgs) -> Result<Diagnostics, Diagnostics> {
    let (settings, mut problems) = settings::load()?;
    let reader = project::reader(&args.vault, &settings)?;
    let (playbooks, catalogue, found) = project::playbooks(
        &args.playbooks,
        &reader,
        &settings,
        &args.inventory.extra_vars,
    )?;
    problems.extend(found);
    let sources = project::sources(&args.inventory, &settings);
    let mut world = None;
    if !sources.is_empty() {
        let (inventory, _) = project::inventory(&sources, &args.inventory, &reader)?;
        world = Some(World::new(
            inventory,
            project::templar(reader, &settings),
            catalogue.extra.clone(),
            Settings::default(),
        ));
    }
    problems.extend(project::lint(&playbooks, &catalogue, world.as_ref()).0);
    Ok(problems)
}
