//! `async`. In: a task that may take long. Out: its result within a time, or a job that runs beside the play and whose
//! result `async_status` asks for. Jobs end with the run, which waits for them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use super::attempt::Unit;
use super::builtin::text;
use super::result::Done;

/// Seconds between looks, when `poll` is not said (ansible-core: `DEFAULT_POLL_INTERVAL`).
const POLL: f64 = 15.0;

/// Jobs that were started.
#[derive(Default)]
pub(super) struct Jobs {
    count: AtomicU64,
    running: Mutex<HashMap<String, JoinHandle<Done>>>,
    ended: Mutex<HashMap<String, Done>>,
}

impl Jobs {
    fn name(&self) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        format!("j{number}.{}", std::process::id())
    }

    /// The number of jobs that are not over yet.
    pub(super) fn left(&self) -> usize {
        self.running.lock().map_or(0, |running| {
            running.values().filter(|job| !job.is_finished()).count()
        })
    }

    /// Waits until all are over.
    pub(super) async fn finish(&self) {
        let jobs: Vec<JoinHandle<Done>> = match self.running.lock() {
            Ok(mut running) => running.drain().map(|(_, job)| job).collect(),
            Err(_) => return,
        };
        for job in jobs {
            // A job's failure is nobody's who did not ask for it.
            let _ = job.await;
        }
    }
}

fn about(job: &str, finished: bool) -> Map<String, Value> {
    super::result::map(
        json!({"ansible_job_id": job, "started": true, "finished": finished, "results_file": ""}),
    )
}

fn told(job: &str, mut done: Done) -> Done {
    let own = std::mem::replace(&mut done.result, about(job, true));
    done.result.extend(own);
    done
}

impl Unit {
    /// A number that a keyword gives.
    fn seconds(&self, lazy: Option<&crate::template::Lazy>) -> Result<Option<f64>, Done> {
        match self.text(lazy) {
            Ok(None) => Ok(None),
            Ok(Some(text)) => text.trim().parse().map(Some).map_err(|_| {
                Done::failed(format!(
                    "`async` and `poll` are numbers of seconds, not `{text}`"
                ))
            }),
            Err(problem) => Err(problem.done()),
        }
    }

    /// Runs the task's action once, within its time or beside the play.
    pub(super) async fn attempt(&self) -> Done {
        let (limit, poll) = match (
            self.seconds(self.task.async_.as_ref()),
            self.seconds(self.task.poll.as_ref()),
        ) {
            (Ok(limit), Ok(poll)) => (limit.filter(|limit| *limit > 0.0), poll.unwrap_or(POLL)),
            (Err(done), _) | (_, Err(done)) => return done,
        };
        let Some(limit) = limit else {
            return self.timed().await;
        };
        if self.check {
            return Done::failed("check mode and async cannot be used on same task.");
        }
        let job = self.run.jobs.name();
        let unit = self.clone();
        let text = format!("async task did not complete within the requested time - {limit}s");
        let named = job.clone();
        let work = async move {
            match tokio::time::timeout(Duration::from_secs_f64(limit), unit.timed()).await {
                Ok(done) => told(&named, done),
                Err(_) => told(&named, Done::failed(text)),
            }
        };
        if poll > 0.0 {
            return work.await;
        }
        let handle = tokio::spawn(work);
        if let Ok(mut running) = self.run.jobs.running.lock() {
            running.insert(job.clone(), handle);
        }
        Done {
            changed: true,
            result: about(&job, false),
            ..Done::default()
        }
    }

    /// `async_status`.
    pub(super) fn job_status(&self, arguments: &Map<String, Value>) -> Done {
        let Some(job) = text(arguments, "jid") else {
            return Done::failed("missing required arguments: jid");
        };
        let jobs = &self.run.jobs;
        if text(arguments, "mode").as_deref() == Some("cleanup") {
            if let Ok(mut ended) = jobs.ended.lock() {
                ended.remove(&job);
            }
            return Done::ok(json!({"ansible_job_id": job, "erased": job}));
        }
        if let (Ok(mut running), Ok(mut ended)) = (jobs.running.lock(), jobs.ended.lock()) {
            match running.remove(&job) {
                Some(handle) if !handle.is_finished() => {
                    running.insert(job.clone(), handle);
                    return Done {
                        result: about(&job, false),
                        ..Done::default()
                    };
                }
                Some(handle) => {
                    let done = match handle.now_or_never() {
                        Some(Ok(done)) => done,
                        Some(Err(problem)) => Done::failed(problem.to_string()),
                        None => Done::failed("the job is not over"),
                    };
                    ended.insert(job.clone(), done);
                }
                None => {}
            }
            if let Some(done) = ended.get(&job) {
                return done.clone();
            }
        }
        let mut done = Done::failed("could not find job");
        done.result.extend(about(&job, true));
        done
    }
}
