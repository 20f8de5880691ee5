//! In: the watches of some kinds. Out: their objects as they were last seen, and a call for each time something changed:
//! what client-go calls informers. Several changes at once are looked at once.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use kube::Error;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Kind};

/// Between tries of work that failed, and of a watch that ended.
pub(super) const AGAIN: Duration = Duration::from_millis(50);

/// Namespace and name.
type Key = (String, String);

#[derive(Default)]
struct Objects {
    known: BTreeMap<Key, Value>,
    /// A list that is not whole yet.
    coming: BTreeMap<Key, Value>,
    is_whole: bool,
}

/// The objects of the kinds that a controller watches.
#[derive(Default)]
pub(super) struct Seen(HashMap<Kind, Objects>);

impl Seen {
    /// All objects of a kind, by namespace and name.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.0
            .get(&kind)
            .into_iter()
            .flat_map(|objects| objects.known.values())
    }

    fn is_whole(&self) -> bool {
        self.0.values().all(|objects| objects.is_whole)
    }

    fn take(&mut self, (kind, event): Arrived) {
        let objects = self.0.entry(kind).or_default();
        match event {
            Event::Init => objects.coming.clear(),
            Event::InitApply(object) => insert(&mut objects.coming, &object),
            Event::InitDone => {
                objects.known = std::mem::take(&mut objects.coming);
                objects.is_whole = true;
            }
            Event::Apply(object) => insert(&mut objects.known, &object),
            Event::Delete(object) => {
                objects.known.remove(&key(&object));
            }
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn insert(into: &mut BTreeMap<Key, Value>, object: &DynamicObject) {
    if let Ok(value) = serde_json::to_value(object) {
        into.insert(key(object), value);
    }
}

pub(super) type Arrived = (Kind, Event<DynamicObject>);

/// Takes in what watches bring, also while their controller works: a watch that is not read falls behind.
pub(super) fn pump(
    access: &Access,
    kinds: &[Kind],
    stop: &CancellationToken,
) -> mpsc::UnboundedReceiver<Arrived> {
    let streams = kinds.iter().map(|kind| {
        let kind = *kind;
        watcher(access.objects(kind), watcher::Config::default())
            .map(move |event| (kind, event))
            .boxed()
    });
    let mut events = futures_util::stream::select_all(streams);
    let (send, arrived) = mpsc::unbounded_channel();
    let stop = stop.clone();
    tokio::spawn(async move {
        while let Some(Some((kind, event))) = stop.run_until_cancelled(events.next()).await {
            let Ok(event) = event else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if send.send((kind, event)).is_err() {
                return;
            }
        }
    });
    arrived
}

/// Calls `work` once everything was listed and after every change of these kinds, until `stop`. An error of `work` is
/// tried again after the pause: controllers never give up.
pub(super) async fn on_change<W>(
    access: &Access,
    kinds: &[Kind],
    pause: Duration,
    stop: &CancellationToken,
    mut work: W,
) where
    W: AsyncFnMut(&Access, &Seen) -> Result<(), Error>,
{
    let mut arrived = pump(access, kinds, stop);
    let mut seen = Seen::default();
    for kind in kinds {
        seen.0.entry(*kind).or_default();
    }
    let mut failed = false;
    loop {
        let wait = async {
            if failed {
                tokio::time::sleep(pause.max(AGAIN)).await;
            } else if let Some(event) = arrived.recv().await {
                seen.take(event);
            }
            if seen.is_whole() {
                tokio::time::sleep(pause).await;
            }
            while let Ok(event) = arrived.try_recv() {
                seen.take(event);
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => return,
        }
        if seen.is_whole() {
            failed = work(access, &seen).await.is_err();
        }
    }
}
