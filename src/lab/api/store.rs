//! Objects in, versions and an ordered log of changes out: the etcd of one simulated cluster, in memory.

use super::resources::{self, Resource};
use super::status::ApiError;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many changes are kept for watches and continued lists before older versions answer 410.
const KEPT_CHANGES: usize = 20_000;

/// Namespace (empty for cluster scope) and name.
pub type Key = (String, String);

type Objects = BTreeMap<Key, Arc<Value>>;

/// One write, with the object before and after it.
#[derive(Debug, Clone)]
pub struct Change {
    pub version: u64,
    pub resource: &'static Resource,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    /// `None` when the object was removed.
    pub after: Option<Arc<Value>>,
}

/// What a transaction decides about the object it looked at.
#[derive(Debug)]
pub enum Decision {
    /// Store this; an object equal to the present one makes no new version.
    Put(Value),
    /// Remove the object; the answer is its last state.
    Remove,
    /// Change nothing; the answer is this.
    Keep(Value),
}

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    compacted: u64,
    objects: HashMap<(&'static str, &'static str), Objects>,
    log: VecDeque<Change>,
}

/// The store of one cluster. Cheap to share behind an `Arc`; every write is atomic.
pub struct Store {
    inner: Mutex<Inner>,
    head: watch::Sender<u64>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    random: std::collections::hash_map::RandomState,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

/// Where a list stands: the objects at one version.
#[derive(Debug)]
pub struct Snapshot {
    pub version: u64,
    pub objects: Vec<(Key, Arc<Value>)>,
}

impl Store {
    /// A store whose creation times come from `clock`.
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            // A real server never answers with version 0 or 1: 0 means "any".
            inner: Mutex::new(Inner {
                version: 1,
                compacted: 1,
                ..Inner::default()
            }),
            head: watch::Sender::new(1),
            clock: Box::new(clock),
            random: std::collections::hash_map::RandomState::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock means that a test thread panicked while deciding; the data was not half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present time as the API writes it, to the second.
    pub fn now(&self) -> String {
        (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The clock's present time.
    pub fn timestamp(&self) -> Timestamp {
        (self.clock)()
    }

    /// The newest version.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Wakes whenever the newest version moves.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// 64 random bits, good enough for uids and name suffixes.
    pub fn random(&self) -> u64 {
        static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(self.version());
        hasher.write_i128(Timestamp::now().as_nanosecond());
        hasher.write_u64(COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        hasher.finish()
    }

    /// A random (version 4) uid.
    pub fn new_uid(&self) -> String {
        let (high, low) = (self.random(), self.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    /// The object, if it is there.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let inner = self.lock();
        inner
            .objects
            .get(&(resource.group, resource.plural))?
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All objects of a resource, now. `namespace` empty means all.
    pub fn list(&self, resource: &Resource, namespace: &str) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            version: inner.version,
            objects: collect(
                inner.objects.get(&(resource.group, resource.plural)),
                namespace,
            ),
        }
    }

    /// All objects of a resource as they were at `version`. 410 when that is no longer kept.
    pub fn list_at(
        &self,
        resource: &Resource,
        namespace: &str,
        version: u64,
    ) -> Result<Snapshot, ApiError> {
        let inner = self.lock();
        if version < inner.compacted {
            return Err(ApiError::expired(format!(
                "The resourceVersion for the provided list is too old: {version}"
            )));
        }
        let mut objects = inner
            .objects
            .get(&(resource.group, resource.plural))
            .cloned()
            .unwrap_or_default();
        for change in inner
            .log
            .iter()
            .rev()
            .take_while(|change| change.version > version)
        {
            if std::ptr::eq(change.resource, resource) {
                match &change.before {
                    Some(before) => objects.insert(change.key.clone(), before.clone()),
                    None => objects.remove(&change.key),
                };
            }
        }
        Ok(Snapshot {
            version,
            objects: collect(Some(&objects), namespace),
        })
    }

    /// The changes of a resource after `version`, and the newest version looked at. 410 when `version` is no longer kept.
    pub fn changes_after(
        &self,
        resource: &Resource,
        version: u64,
    ) -> Result<(Vec<Change>, u64), ApiError> {
        let inner = self.lock();
        if version < inner.compacted {
            return Err(ApiError::expired(format!(
                "too old resource version: {version} ({})",
                inner.compacted
            )));
        }
        let start = inner
            .log
            .partition_point(|change| change.version <= version);
        let found = inner
            .log
            .iter()
            .skip(start)
            .filter(|change| std::ptr::eq(change.resource, resource))
            .cloned()
            .collect();
        Ok((found, inner.version))
    }

    /// Forgets every version before the present one, as etcd's compaction does: old watches and continued lists get 410.
    pub fn compact(&self) {
        let mut inner = self.lock();
        inner.compacted = inner.version;
        inner.log.clear();
    }

    /// Looks at one object and decides about it, atomically. The answer is the object as stored (or as last seen, when removed).
    pub fn transact(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        decide: impl FnOnce(Option<&Value>) -> Result<Decision, ApiError>,
    ) -> Result<Value, ApiError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let key = (namespace.to_owned(), name.to_owned());
        let objects = inner
            .objects
            .entry((resource.group, resource.plural))
            .or_default();
        let before = objects.get(&key).cloned();
        let (after, answer) = match decide(before.as_deref())? {
            Decision::Keep(answer) => return Ok(answer),
            Decision::Put(mut object) => {
                if let Some(before) = before.as_deref() {
                    set_version(&mut object, version_text(before));
                    if object == *before {
                        return Ok(object);
                    }
                }
                set_version(&mut object, (inner.version + 1).to_string());
                let stored = Arc::new(object.clone());
                objects.insert(key.clone(), stored.clone());
                (Some(stored), object)
            }
            Decision::Remove => {
                let Some(last) = objects.remove(&key) else {
                    return Err(ApiError::not_found(resource, name));
                };
                (None, (*last).clone())
            }
        };
        inner.version += 1;
        let version = inner.version;
        inner.log.push_back(Change {
            version,
            resource,
            key,
            before,
            after,
        });
        if inner.log.len() > KEPT_CHANGES
            && let Some(oldest) = inner.log.pop_front()
        {
            inner.compacted = oldest.version;
        }
        drop(guard);
        self.head.send_replace(version);
        Ok(answer)
    }

    /// Stores an object as it is, status included, with what is missing of uid, creation time and generation filled in:
    /// for building a cluster's starting state. Replaces an object of the same name.
    pub fn seed(&self, mut object: Value) -> Result<Value, ApiError> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let Some(resource) = resources::find_kind(&api_version, &kind) else {
            return Err(ApiError::bad_request(format!(
                "no resource serves `{api_version}` `{kind}`"
            )));
        };
        if name.is_empty() || namespace.is_empty() == resource.namespaced {
            return Err(ApiError::bad_request(format!(
                "`{kind}` `{namespace}/{name}` lacks a name or has the wrong scope"
            )));
        }
        let (uid, now) = (self.new_uid(), self.now());
        self.transact(resource, &namespace, &name, |before| {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                for field in ["uid", "creationTimestamp"] {
                    let kept = before
                        .and_then(|b| b.pointer(&format!("/metadata/{field}")))
                        .cloned();
                    let fresh = if field == "uid" { &uid } else { &now };
                    metadata
                        .entry(field)
                        .or_insert_with(|| kept.unwrap_or_else(|| json!(fresh)));
                }
                if resource.generation {
                    metadata.entry("generation").or_insert(json!(1));
                }
            }
            Ok(Decision::Put(object))
        })
    }
}

fn collect(objects: Option<&Objects>, namespace: &str) -> Vec<(Key, Arc<Value>)> {
    let Some(objects) = objects else {
        return Vec::new();
    };
    objects
        .iter()
        .filter(|((of, _), _)| namespace.is_empty() || of == namespace)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

fn version_text(object: &Value) -> String {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Writes `metadata.resourceVersion`.
pub(super) fn set_version(object: &mut Value, version: String) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), Value::String(version));
    }
}
