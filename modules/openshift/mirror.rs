//! In: a kind of a cluster. Out: its objects as they are now, whole, kept so by one watch: nothing is asked again while
//! it lives, and what was missed during a break is listed anew.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::connection::Cluster;
use super::objects::{api, json};
use crate::error::ModuleError;

/// Between tries of a watch that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The objects of one kind, by name.
pub struct Mirror {
    cluster: Cluster,
    what: String,
    arrived: UnboundedReceiver<watcher::Result<News>>,
    objects: BTreeMap<String, Value>,
    /// A list that is still arriving; it replaces `objects` once it is whole.
    arriving: BTreeMap<String, Value>,
    complete: bool,
}

/// What a watch brings, without what nobody looks at.
enum News {
    ListBegins,
    Listed(String, Value),
    ListEnds,
    Is(String, Value),
    IsGone(String),
    Unreadable(ModuleError),
}

impl Mirror {
    /// The watch is read by a task of its own, until this is dropped: the server cuts off who falls behind.
    pub fn start(cluster: &Cluster, kind: &ApiResource) -> Self {
        let mut stream = watcher(api(cluster, kind), watcher::Config::default()).boxed();
        let (send, arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = stream.next() => event,
                    () = send.closed() => return,
                };
                let Some(event) = event else { return };
                // 410 Gone: the history is no longer there, and the watcher lists anew by itself.
                if matches!(&event, Err(watcher::Error::WatchError(status)) if status.code == 410) {
                    continue;
                }
                let failed = event.is_err();
                if send.send(event.map(News::of)).is_err() {
                    return;
                }
                if failed {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
        Self {
            cluster: cluster.clone(),
            what: format!("watch {}", kind.plural),
            arrived,
            objects: BTreeMap::new(),
            arriving: BTreeMap::new(),
            complete: false,
        }
    }

    /// True once the first list has come whole.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn objects(&self) -> &BTreeMap<String, Value> {
        &self.objects
    }

    /// Waits for the next change and takes it in, with all that has arrived behind it. May be dropped half-way. After
    /// an error the watch starts anew by itself.
    pub async fn next(&mut self) -> Result<(), ModuleError> {
        let Some(news) = self.arrived.recv().await else {
            return Err(ModuleError::failed(format!(
                "cannot {}: the watch has ended",
                self.what
            )));
        };
        self.take(news)?;
        self.gather()
    }

    /// Takes in what has arrived, without waiting.
    pub fn gather(&mut self) -> Result<(), ModuleError> {
        while let Ok(news) = self.arrived.try_recv() {
            self.take(news)?;
        }
        Ok(())
    }

    fn take(&mut self, news: watcher::Result<News>) -> Result<(), ModuleError> {
        match news {
            Ok(News::ListBegins) => self.arriving.clear(),
            Ok(News::Listed(name, object)) => {
                self.arriving.insert(name, object);
            }
            Ok(News::ListEnds) => {
                self.objects = std::mem::take(&mut self.arriving);
                self.complete = true;
            }
            Ok(News::Is(name, object)) => {
                self.objects.insert(name, object);
            }
            Ok(News::IsGone(name)) => {
                self.objects.remove(&name);
            }
            Ok(News::Unreadable(problem)) => return Err(problem),
            Err(problem) => return Err(self.told(problem)),
        }
        Ok(())
    }

    fn told(&self, problem: watcher::Error) -> ModuleError {
        match problem {
            watcher::Error::InitialListFailed(problem)
            | watcher::Error::WatchStartFailed(problem)
            | watcher::Error::WatchFailed(problem) => self.cluster.told(&self.what, &problem),
            watcher::Error::WatchError(status) => {
                self.cluster.told(&self.what, &kube::Error::Api(status))
            }
            watcher::Error::NoResourceVersion => ModuleError::failed(format!(
                "cannot {}: the server's lists have no resourceVersion",
                self.what
            )),
        }
    }
}

impl News {
    fn of(event: Event<DynamicObject>) -> Self {
        let read = |object, news: fn(String, Value) -> Self| match trimmed(object) {
            Ok((name, value)) => news(name, value),
            Err(problem) => Self::Unreadable(problem),
        };
        match event {
            Event::Init => Self::ListBegins,
            Event::InitApply(object) => read(object, Self::Listed),
            Event::InitDone => Self::ListEnds,
            Event::Apply(object) => read(object, Self::Is),
            Event::Delete(object) => Self::IsGone(object.metadata.name.unwrap_or_default()),
        }
    }
}

/// What rollouts are judged by, without the parts that make objects large: with thousands of nodes they matter.
fn trimmed(object: DynamicObject) -> Result<(String, Value), ModuleError> {
    let mut object = object;
    object.metadata.managed_fields = None;
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut value = json(&object)?;
    if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("images");
    }
    Ok((name, value))
}
