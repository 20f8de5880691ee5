//! `pause`. In: how long, or what to ask the person at the terminal. Out: the answer, and how long it took.

use serde_json::{Map, Value, json};

use super::attempt::Unit;
use super::builtin::text;
use super::result::{Done, map};
use crate::event::EventKind;
use crate::playbook::yes_or_no;

pub(super) async fn run(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let number = |name: &str, unit: f64| {
        let text = text(arguments, name)?;
        Some(
            text.parse::<f64>()
                .map(|value| value * unit)
                .map_err(|_| format!("`{name}: {text}` is no number")),
        )
    };
    let seconds = match number("seconds", 1.0).or_else(|| number("minutes", 60.0)) {
        Some(Ok(seconds)) => Some(seconds.max(0.0)),
        Some(Err(message)) => return Done::failed(message),
        None => None,
    };
    let echo = text(arguments, "echo").is_none_or(|text| yes_or_no(&text) != Some(false));
    let prompt = text(arguments, "prompt");
    let begun = std::time::Instant::now();
    let start = jiff::Zoned::now();
    let mut done = Done::default();
    let mut answer = String::new();
    let asks = |text: String| {
        unit.run.bus.emit(EventKind::Prompt {
            task: unit.task_ref.clone(),
            host: unit.scope.host.name.to_string(),
            text,
        });
    };
    let name = unit.task_ref.name.clone();
    match seconds {
        Some(seconds) => {
            let lasts = format!("[{name}]\nPausing for {seconds} seconds");
            asks(prompt.map_or(lasts, |prompt| format!("[{name}]\n{prompt}:")));
            unit.wait(seconds).await;
        }
        None if unit.run.person.is_interactive() => {
            let hint = "Press enter to continue, Ctrl+C to interrupt";
            let prompt = prompt.unwrap_or_else(|| hint.to_owned());
            let hidden = if echo { "" } else { " (output is hidden)" };
            asks(format!("[{name}]\n{prompt}{hidden}:"));
            match unit.run.answer(!echo).await {
                Ok(line) => answer = line,
                Err(message) => return Done::failed(message),
            }
        }
        None => done
            .warnings
            .push("Not waiting for response to prompt as stdin is not interactive".to_owned()),
    }
    let passed = begun.elapsed().as_secs();
    let moment = |time: &jiff::Zoned| time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string();
    let stdout = match seconds {
        Some(seconds) => format!("Paused for {seconds:?} seconds"),
        None => format!(
            "Paused for {:.2} minutes",
            begun.elapsed().as_secs_f64() / 60.0
        ),
    };
    done.result = map(json!({
        "delta": passed, "user_input": answer, "echo": echo, "rc": 0, "stdout": stdout, "stderr": "",
        "start": moment(&start), "stop": moment(&jiff::Zoned::now()),
    }));
    done
}
