//! `--start-at-task` and `--step`. In: a task that is about to run. Out: whether it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use layerplay_modules::fnmatch;

use super::play::PlayRun;
use crate::event::{EventKind, TaskRef};

impl PlayRun {
    /// Whether the task at which the run was to start was reached.
    pub(super) fn is_reached(&self, task: &TaskRef) -> bool {
        let Some(wanted) = &self.run.world.settings.start_at else {
            return true;
        };
        let own = task.name.split_once(" : ").map_or("", |(_, own)| own);
        let matches = |name: &str| {
            name == wanted || fnmatch::compile(wanted).is_ok_and(|glob| glob.is_match(name))
        };
        if !self.run.started.load(Ordering::Relaxed) && (matches(&task.name) || matches(own)) {
            self.run.started.store(true, Ordering::Relaxed);
        }
        self.run.started.load(Ordering::Relaxed)
    }

    /// With `--step`, what the person at the terminal says.
    pub(super) async fn is_wanted(&self, task: &TaskRef, host: &Arc<str>) -> bool {
        let run = &self.run;
        if !run.world.settings.step || run.goes_on.load(Ordering::Relaxed) {
            return true;
        }
        run.bus.emit(EventKind::Prompt {
            task: task.clone(),
            host: host.to_string(),
            text: format!("Perform task: TASK: {} (N)o/(y)es/(c)ontinue:", task.name),
        });
        let answer = run.answer(false).await.unwrap_or_default();
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => true,
            "c" | "continue" => {
                run.goes_on.store(true, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }
}
