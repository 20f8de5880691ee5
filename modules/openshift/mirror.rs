//! In: a kind of a cluster. Out: its objects as they are now, whole, kept so by one watch: nothing is asked again while
//! it lives, and what was missed during a break is listed anew.

use std::collections::BTreeMap;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;

use super::connection::Cluster;
use super::objects::{api, json};
use crate::error::ModuleError;

/// The objects of one kind, by name.
pub struct Mirror {
    cluster: Cluster,
    what: String,
    stream: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    objects: BTreeMap<String, Value>,
    /// A list that is still arriving; it replaces `objects` once it is whole.
    arriving: BTreeMap<String, Value>,
    complete: bool,
}

impl Mirror {
    pub fn start(cluster: &Cluster, kind: &ApiResource) -> Self {
        Self {
            cluster: cluster.clone(),
            what: format!("watch {}", kind.plural),
            stream: watcher(api(cluster, kind), watcher::Config::default()).boxed(),
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
    /// an error the watch starts anew with the next call.
    pub async fn next(&mut self) -> Result<(), ModuleError> {
        let Some(event) = self.stream.next().await else {
            return Err(ModuleError::failed(format!(
                "cannot {}: the watch has ended",
                self.what
            )));
        };
        self.take(event)?;
        self.gather()
    }

    /// Takes in what has arrived, without waiting.
    pub fn gather(&mut self) -> Result<(), ModuleError> {
        while let Some(Some(event)) = self.stream.next().now_or_never() {
            self.take(event)?;
        }
        Ok(())
    }

    fn take(&mut self, event: watcher::Result<Event<DynamicObject>>) -> Result<(), ModuleError> {
        match event {
            Ok(Event::Init) => self.arriving.clear(),
            Ok(Event::InitApply(object)) => {
                let (name, value) = trimmed(object)?;
                self.arriving.insert(name, value);
            }
            Ok(Event::InitDone) => {
                self.objects = std::mem::take(&mut self.arriving);
                self.complete = true;
            }
            Ok(Event::Apply(object)) => {
                let (name, value) = trimmed(object)?;
                self.objects.insert(name, value);
            }
            Ok(Event::Delete(object)) => {
                self.objects
                    .remove(&object.metadata.name.unwrap_or_default());
            }
            // 410 Gone: the history is no longer there, and the watcher lists anew by itself.
            Err(watcher::Error::WatchError(status)) if status.code == 410 => {}
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
