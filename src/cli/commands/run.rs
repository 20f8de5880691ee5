//! `layerplay run PLAYBOOK...`: checks everything that can be known before the first host, then runs.

mod output;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{junit, lab, list, project};
use crate::cli::args::RunArgs;
use crate::cli::prompter::Terminal;
use crate::cli::settings::Settings as Configured;
use crate::cli::{exit, printer};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::EventKind;
use crate::platform::Adapters;
use crate::run::{Run, execute};
use crate::vars::{FactCache, Settings, World};

pub(in crate::cli) fn run(args: &RunArgs) -> u8 {
    match prepare(args) {
        Ok(code) => code,
        Err(problems) => project::show(&problems),
    }
}

fn prepare(args: &RunArgs) -> Result<u8, Diagnostics> {
    let configured = with_options(project::settings()?, args);
    let reader = project::reader(&args.vault, &configured)?;
    let reach = reach::of(&args.reach, &configured)?;
    let (playbooks, catalogue, warnings) = project::playbooks(
        &args.playbooks,
        &reader,
        &configured,
        &args.inventory.extra_vars,
    )?;
    project::show(&warnings);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(problem) => {
            printer::err(&format!("error: cannot start: {problem}"));
            return Ok(exit::ERROR);
        }
    };
    let mut sources = project::sources(&args.inventory, &configured);
    let simulated = if sources.is_empty() && !args.syntax_check {
        let started = runtime.block_on(lab::for_run());
        let lab = started.map_err(|problem| {
            Diagnostic::error(
                Code::COMMAND_LINE,
                format!("the lab cannot be started: {problem}"),
            )
            .help("name an inventory with `-i`")
        })?;
        sources.push(lab.inventory.display().to_string());
        Some(lab)
    } else {
        None
    };
    let (inventory, limit) = project::inventory(&sources, &args.inventory, &reader)?;
    let settings = Settings {
        limit: limit.clone(),
        reach,
        ..settings(args, &configured)
    };
    let secrets = Arc::clone(reader.secrets());
    let sink = output::sink(args, &configured, &secrets)?;
    let cancel = CancellationToken::new();
    let mut world = World::new(
        inventory,
        project::templar(reader, &configured),
        catalogue.extra.clone(),
        settings,
    );
    if let Some(cache) = cache(&configured) {
        world = world.with_cache(cache);
    }
    let world = Arc::new(world);
    if is_list(args) {
        list::show(&playbooks, &world, args);
        return Ok(exit::OK);
    }
    if args.flush_cache {
        for host in world.host_names() {
            world.host(&host).clear_facts();
        }
    }
    let (mistakes, facts) = project::lint(&playbooks, &catalogue, Some(&world));
    let code = project::show(&mistakes);
    if code != exit::OK {
        return Ok(code);
    }
    let mut sinks = vec![sink];
    if let Some(file) = junit::file(&args.playbooks, &secrets)? {
        sinks.push(Box::new(file));
    }
    let run = Run::new(
        world,
        Arc::new(catalogue),
        Arc::new(Adapters::new(Arc::clone(&secrets))),
        Arc::new(Terminal),
        sinks,
        secrets,
        cancel,
        limit,
        simulated.as_ref().map(|lab| lab.notice.clone()),
    );
    let run = Arc::new(run.reading(&facts));
    let (ended, problems) = runtime.block_on(async {
        let interrupts = tokio::spawn(interrupts(Arc::clone(&run)));
        let ended = execute(&run, &playbooks).await;
        interrupts.abort();
        ended
    });
    drop(simulated);
    // What is left (an interrupted wait on a thread) must not hold the process.
    runtime.shutdown_background();
    project::show(&problems);
    if configured.retry_files_enabled.value {
        output::retry_file(&args.playbooks, &configured, &run.lost_hosts());
    }
    Ok(ended.code())
}

/// Nothing runs: it is only shown what would.
fn is_list(args: &RunArgs) -> bool {
    args.list_tasks || args.list_hosts || args.list_tags || args.syntax_check
}

/// The settings with the options that say the same: from here on nobody asks for both.
fn with_options(mut settings: Configured, args: &RunArgs) -> Configured {
    // Where a play says otherwise, the play is right.
    settings.force_handlers.value |= args.force_handlers;
    settings.diff_always.value |= args.diff;
    settings.verbosity.value = settings.verbosity.saturating_add(args.verbose);
    settings.forks.value = args.forks.unwrap_or(settings.forks.value);
    settings.tags_run.value.extend_from_slice(&args.tags);
    settings.tags_skip.value.extend_from_slice(&args.skip_tags);
    settings
}

/// What playbooks can read of the command line and the settings.
fn settings(args: &RunArgs, configured: &Configured) -> Settings {
    Settings {
        check: args.check,
        diff: configured.diff_always.value,
        verbosity: configured.verbosity.value,
        forks: usize::try_from(configured.forks.value).unwrap_or(usize::MAX),
        tags: configured.tags_run.value.clone(),
        skip_tags: configured.tags_skip.value.clone(),
        start_at: args.start_at_task.clone(),
        step: args.step,
        gathering: configured.gathering.value,
        hides_facts: !configured.inject_facts_as_vars.value,
        allows_missing_handlers: !configured.error_on_missing_handler.value,
        config_file: configured.files.last().cloned(),
        ..Settings::default()
    }
}

/// Where facts are kept between runs, if they are.
fn cache(configured: &Configured) -> Option<FactCache> {
    let is_in_files = configured.fact_caching.ends_with("jsonfile");
    let dir = configured.fact_caching_connection.value.clone()?;
    let seconds = configured.fact_caching_timeout.value;
    is_in_files.then(|| FactCache {
        dir,
        prefix: configured.fact_caching_prefix.value.clone(),
        timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
    })
}

/// The first Ctrl-C ends the run in order, the second at once. So does SIGTERM, by which a CI job is called off.
async fn interrupts(run: Arc<Run>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    for again in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        run.bus.emit(EventKind::Interrupted { again });
        run.cancel.cancel();
    }
    leave();
}

#[allow(clippy::exit, reason = "a second interrupt asks for exactly this")]
fn leave() -> ! {
    std::process::exit(i32::from(exit::INTERRUPTED))
}
