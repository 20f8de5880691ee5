//! `vars_prompt`. In: the variables that a play asks for. Out: what the person at the terminal says, or the defaults.

use std::sync::Arc;

use super::Run;
use crate::diagnostic::{Code, Diagnostic};
use crate::event::{EventKind, TaskRef};
use crate::playbook::{Play, Prompt};
use crate::template::Lazy;
use crate::vars::Vars;

/// The answers, asked for once a play. A variable that was given with `-e` is not asked for.
pub(super) async fn ask(run: &Arc<Run>, play: &Play) -> Result<Vars, Diagnostic> {
    let mut answers = Vars::new();
    for prompt in &play.prompts {
        if run.world.extra.contains_key(&prompt.name) {
            continue;
        }
        let answer = if run.person.is_interactive() {
            one(run, prompt).await?
        } else {
            run.bus.emit(EventKind::Warning {
                message: format!(
                    "Not prompting for `{}` as we are not in interactive mode",
                    prompt.name
                ),
            });
            prompt.default.clone().unwrap_or_default()
        };
        if prompt.private {
            run.secrets.add(&answer);
        }
        let answer = match &prompt.hash {
            Some(hash) => hash.of(&answer).map_err(|problem| {
                Diagnostic::error(
                    Code::COMMAND_LINE,
                    format!("`vars_prompt` of `{}`: {problem}", prompt.name),
                )
            })?,
            None => answer,
        };
        answers.insert(Arc::clone(&prompt.name), Lazy::Data(answer.into()));
    }
    Ok(answers)
}

async fn one(run: &Arc<Run>, prompt: &Prompt) -> Result<String, Diagnostic> {
    let text = match &prompt.default {
        Some(default) if !prompt.private => format!("{} [{default}]:", prompt.text),
        _ => format!("{}:", prompt.text),
    };
    loop {
        let answer = line(run, prompt, text.clone()).await?;
        if prompt.confirm && line(run, prompt, format!("confirm {}", prompt.text)).await? != answer
        {
            run.bus.emit(EventKind::Warning {
                message: "VALUES ENTERED DO NOT MATCH".to_owned(),
            });
            continue;
        }
        return Ok(match (answer.is_empty(), &prompt.default) {
            (true, Some(default)) => default.clone(),
            _ => answer,
        });
    }
}

async fn line(run: &Arc<Run>, prompt: &Prompt, text: String) -> Result<String, Diagnostic> {
    run.bus.emit(EventKind::Prompt {
        task: TaskRef {
            id: 0,
            name: "vars_prompt".to_owned(),
            action: "vars_prompt".to_owned(),
            place: None,
            handler: false,
        },
        host: String::new(),
        text,
    });
    run.answer(prompt.private).await.map_err(|problem| {
        Diagnostic::error(
            Code::COMMAND_LINE,
            format!("`vars_prompt` of `{}`: {problem}", prompt.name),
        )
        .help(format!("give it with `-e {}=...`", prompt.name))
    })
}
