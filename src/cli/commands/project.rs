//! In: the names on the command line. Out: playbooks, modules, inventory and variables, or every problem drawn.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::args::{InventoryOptions, VaultOptions};
use crate::cli::secrets::Vaults;
use crate::cli::settings::{self, Settings};
use crate::cli::{exit, printer};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity, draw};
use crate::inventory::{Inventory, load};
use crate::plan::{self, Known};
use crate::platform::Adapters;
use crate::playbook::{Catalogue, Defaults, Keywords, Playbook, lower};
use crate::source::{self, Reader};
use crate::template::{FactNames, Lazy, Lint, Templar};
use crate::vars::{World, parse_extra};

/// Draws problems (the printer drops colours that the reader cannot show); returns the exit code that they ask for.
pub(in crate::cli) fn show(problems: &Diagnostics) -> u8 {
    for problem in &problems.0 {
        printer::err(&format!("{}\n", draw(problem, true)));
    }
    code(problems)
}

/// The exit code that problems ask for, as ansible-playbook leaves.
pub(in crate::cli) fn code(problems: &Diagnostics) -> u8 {
    let errors: Vec<&Diagnostic> = problems
        .0
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    if errors.is_empty() {
        exit::OK
    } else if errors.iter().any(|problem| {
        !matches!(
            problem.code,
            Code::MISSING_FILE
                | Code::UNREADABLE
                | Code::INVENTORY
                | Code::COMMAND_LINE
                | Code::UNKNOWN_HOST
                | Code::UNKNOWN_HANDLER
                | Code::TWO_LOOPS
        )
    }) {
        exit::UNREACHABLE_OR_PARSE
    } else {
        exit::ERROR
    }
}

/// The file of a playbook: a path, else a name under `playbooks/`.
fn find(name: &Path) -> Result<PathBuf, Diagnostics> {
    let below = Path::new("playbooks").join(name);
    if name.is_file() {
        Ok(name.to_owned())
    } else if below.is_file() {
        Ok(below)
    } else {
        Err(Diagnostic::error(
            Code::MISSING_FILE,
            format!("the playbook `{}` could not be found", name.display()),
        )
        .help(format!(
            "looked for `{}` and `{}`",
            name.display(),
            below.display()
        ))
        .into())
    }
}

/// The settings, with their warnings shown.
pub(in crate::cli) fn settings() -> Result<Settings, Diagnostics> {
    let (settings, warnings) = settings::load()?;
    show(&warnings);
    Ok(settings)
}

/// The reader of a run, with the passwords that options and settings name.
pub(in crate::cli) fn reader(
    options: &VaultOptions,
    settings: &Settings,
) -> Result<Reader, Diagnostics> {
    Ok(Reader::new(
        Vaults(settings).keyring(options)?,
        Arc::default(),
        settings.duplicate_dict_key.value,
    ))
}

/// What evaluates templates.
pub(in crate::cli) fn templar(reader: Reader, settings: &Settings) -> Templar {
    let connect = Arc::new(Adapters::new(Arc::clone(reader.secrets())));
    Templar::new(reader)
        .with_lookups(crate::run::lookups(connect, settings.by_constant()))
        .with_any_condition(settings.allow_broken_conditionals.value)
}

/// What holds where a play does not say it.
fn defaults(settings: &Settings) -> Defaults {
    let always = |is_on: bool| is_on.then(|| Lazy::Data(true.into()));
    let timeout = settings.task_timeout.value;
    Defaults {
        roles_path: settings.roles_path.0.clone(),
        strategy: settings.strategy.value,
        force_handlers: settings.force_handlers.value,
        keywords: Keywords {
            no_log: always(settings.no_log.value),
            any_errors_fatal: always(settings.any_errors_fatal.value),
            timeout: (timeout > 0).then(|| Lazy::Data(timeout.into())),
            ..Keywords::default()
        },
    }
}

/// The inventories of the options, else those of the settings.
pub(in crate::cli) fn sources(options: &InventoryOptions, settings: &Settings) -> Vec<String> {
    if options.inventory.is_empty() {
        settings.inventory.0.clone()
    } else {
        options.inventory.clone()
    }
}

/// Reads playbooks with the modules of their projects. All problems of all files come back together.
pub(in crate::cli) fn playbooks(
    names: &[PathBuf],
    reader: &Reader,
    settings: &Settings,
    extra_vars: &[String],
) -> Result<(Vec<Playbook>, Catalogue, Diagnostics), Diagnostics> {
    let mut catalogue = Catalogue::new()?;
    catalogue.reader = reader.clone();
    catalogue.defaults = defaults(settings);
    catalogue.extra = parse_extra(extra_vars, reader)?;
    let mut paths = Vec::new();
    for name in names {
        paths.push(find(name)?);
    }
    let mut projects = vec![PathBuf::from(".")];
    for dir in paths.iter().filter_map(|path| path.parent()) {
        projects.push(dir.to_owned());
    }
    projects.dedup();
    for project in &projects {
        catalogue.add_project(project)?;
    }
    let mut problems = Diagnostics::default();
    let mut playbooks = Vec::new();
    for path in &paths {
        let file = reader
            .read(path)
            .map_err(|problem| Diagnostic::error(Code::UNREADABLE, problem.to_string()))?;
        let (playbook, found) = lower(&file, &catalogue);
        problems.extend(found);
        playbooks.push(playbook);
    }
    stages(&playbooks, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok((playbooks, catalogue, problems))
}

/// `stage.after` must name a stage of an earlier play.
fn stages(playbooks: &[Playbook], problems: &mut Diagnostics) {
    let mut known: Vec<&str> = Vec::new();
    let plays = playbooks.iter().flat_map(|playbook| &playbook.plays);
    for stage in plays.filter_map(|play| play.stage.as_ref()) {
        if let Some(after) = stage.after.as_deref()
            && !known.contains(&after)
        {
            problems.push(
                Diagnostic::error(
                    Code::UNKNOWN_STAGE,
                    format!("no play before this one has the stage `{after}`"),
                )
                .at(&stage.span, "")
                .suggest(after, known.iter().copied()),
            );
        }
        known.push(&stage.name);
    }
}

/// The inventory, and the pattern that limits its hosts.
pub(in crate::cli) fn inventory(
    sources: &[String],
    options: &InventoryOptions,
    reader: &Reader,
) -> Result<(Inventory, Option<String>), Diagnostics> {
    let loaded = load(sources, reader);
    if loaded.problems.has_errors() {
        return Err(loaded.problems);
    }
    let limit = match options.limit.as_deref() {
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                let file = source::read(Path::new(path)).map_err(|problem| {
                    Diagnostic::error(Code::COMMAND_LINE, format!("--limit: {problem}"))
                })?;
                Some(
                    file.text
                        .lines()
                        .map(str::trim)
                        .filter(|line| !line.is_empty() && !line.starts_with('#'))
                        .collect::<Vec<_>>()
                        .join(","),
                )
            }
            None => Some(text.to_owned()),
        },
        None => None,
    };
    if let Some(pattern) = &limit {
        let matched = loaded
            .inventory
            .select(pattern)
            .map_err(|problem| Diagnostic::error(Code::COMMAND_LINE, problem.message))?;
        if matched.hosts.is_empty() {
            return Err(Diagnostic::error(
                Code::COMMAND_LINE,
                "Specified hosts and/or --limit does not match any hosts",
            )
            .help(format!(
                "`--limit {pattern}` names no host or group of the inventory"
            ))
            .into());
        }
    }
    Ok((loaded.inventory, limit))
}

/// Mistakes that can be seen before the first host is touched, and the facts that the run can read.
pub(in crate::cli) fn lint(
    playbooks: &[Playbook],
    catalogue: &Catalogue,
    world: Option<&World>,
) -> (Diagnostics, FactNames) {
    let known = world.map(|world| {
        let mut known = Known::default();
        let dirs = playbooks
            .iter()
            .flat_map(|playbook| &playbook.plays)
            .map(|play| &play.dir);
        for dir in dirs.collect::<HashSet<_>>() {
            // A file that cannot be read is told by the run itself, with its place.
            if world.prepare(dir).is_ok() {
                let mut lint = Lint::default();
                world.each(dir, &mut |vars| {
                    known.names.extend(vars.keys().cloned());
                    let read = vars
                        .values()
                        .filter(|value| !matches!(value, Lazy::Data(_)));
                    read.for_each(|value| lint.value(value));
                });
                known.facts.extend(lint.facts);
            }
        }
        known
    });
    plan::lint(
        playbooks,
        catalogue,
        known.as_ref(),
        crate::run::lookup_names(),
    )
}
