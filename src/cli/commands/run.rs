//! `layerplay run PLAYBOOK...`: checks everything that can be known before the first host, then runs.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{junit, lab, list, project};
use crate::cli::args::{Format, ReachOptions, RunArgs};
use crate::cli::prompter::{self, Terminal};
use crate::cli::{exit, printer};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::{EventKind, Sink};
use crate::platform::Adapters;
use crate::report::{Ansible, JsonLines, Junit, Output, Pretty};
use crate::run::{Run, execute};
use crate::template::Templar;
use crate::vars::{Reach, Settings, World};

pub(in crate::cli) fn run(args: &RunArgs) -> u8 {
    match prepare(args) {
        Ok(code) => code,
        Err(problems) => project::show(&problems),
    }
}

fn prepare(args: &RunArgs) -> Result<u8, Diagnostics> {
    let reader = project::reader(&args.vault)?;
    let reach = reach(&args.reach)?;
    let (playbooks, catalogue, warnings) = project::playbooks(&args.playbooks, &reader)?;
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
    let simulated = if args.inventory.inventory.is_empty() {
        let started = runtime.block_on(lab::for_run());
        Some(started.map_err(|problem| {
            Diagnostic::error(
                Code::COMMAND_LINE,
                format!("the lab cannot be started: {problem}"),
            )
            .help("name an inventory with `-i`")
        })?)
    } else {
        None
    };
    let sources = simulated.as_ref().map_or_else(
        || args.inventory.inventory.clone(),
        |lab| vec![lab.inventory.display().to_string()],
    );
    let (inventory, extra, limit) = project::inventory(&sources, &args.inventory, &reader)?;
    let settings = Settings {
        check: args.check,
        diff: args.diff,
        verbosity: args.verbose,
        forks: usize::try_from(args.forks).unwrap_or(usize::MAX),
        tags: args.tags.clone(),
        skip_tags: args.skip_tags.clone(),
        limit: limit.clone(),
        start_at: args.start_at_task.clone(),
        step: args.step,
        reach,
    };
    let secrets = Arc::clone(reader.secrets());
    let output = Output::new(Box::new(anstream::stdout()), Arc::clone(&secrets));
    // A script that reads what ansible-playbook prints can read this.
    let format = args.format.unwrap_or(if std::io::stdout().is_terminal() {
        Format::Pretty
    } else {
        Format::Ansible
    });
    let sink: Box<dyn Sink> = match format {
        Format::Pretty => Box::new(Pretty::new(
            output,
            std::io::stderr().is_terminal(),
            args.verbose,
            args.diff,
        )),
        Format::Ansible => Box::new(Ansible::new(output, args.verbose, args.diff)),
        Format::Json => Box::new(JsonLines::new(output)),
        Format::Junit => Box::new(Junit::new(output, junit::options())),
    };
    let cancel = CancellationToken::new();
    let world = Arc::new(World::new(
        inventory,
        Templar::new(reader).with_lookups(crate::run::lookups()),
        extra,
        settings,
    ));
    if is_list(args) {
        list::show(&playbooks, &world, args);
        return Ok(exit::OK);
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
    Ok(ended.code())
}

/// Nothing runs: it is only shown what would.
fn is_list(args: &RunArgs) -> bool {
    args.list_tasks || args.list_hosts || args.list_tags || args.syntax_check
}

/// How hosts are reached by the options, with the password that the person gives.
fn reach(options: &ReachOptions) -> Result<Reach, Diagnostics> {
    let wrong = |message: String| Diagnostic::error(Code::COMMAND_LINE, message);
    let become_password = match &options.become_password_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|problem| {
                wrong(format!(
                    "the password file `{}` cannot be read: {problem}",
                    path.display()
                ))
            })?;
            Some(text.trim().to_owned())
        }
        None if options.ask_become_pass => {
            let answer = prompter::ask_hidden("BECOME password: ")
                .map_err(|problem| wrong(format!("no password was given: {problem}")))?;
            Some(answer)
        }
        None => None,
    };
    Ok(Reach {
        becomes: options.becomes,
        become_user: options.become_user.clone(),
        become_method: options.become_method.clone(),
        become_password: become_password.filter(|password| !password.is_empty()),
        user: options.user.clone(),
        connection: options.connection.clone(),
        private_key: options.private_key.clone(),
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
