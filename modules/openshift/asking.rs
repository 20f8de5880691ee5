//! In: nodes that say that they are done. Out: what each has booted, as the node itself says it. Some are asked at a
//! time, apart from who waits for the answers: a node that does not answer holds nobody up.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;
use tokio::task::JoinSet;

use super::connection::Cluster;
use super::look::AT_ONCE;
use super::objects::name;
use super::proof::{self, Booted, Method};
use crate::error::ModuleError;
use crate::platform::Platform;

/// A node as it was when its turn came, and what it said.
pub(super) struct Answer {
    pub(super) node: Value,
    pub(super) said: Result<Booted, ModuleError>,
}

pub(super) struct Asking<'w> {
    platform: &'w Platform,
    cluster: Cluster,
    method: Method,
    line: VecDeque<Value>,
    at_work: JoinSet<Answer>,
    /// In the line or at work.
    asked: BTreeSet<String>,
}

impl<'w> Asking<'w> {
    pub(super) fn new(platform: &'w Platform, cluster: Cluster, method: Method) -> Self {
        Self {
            platform,
            cluster,
            method,
            line: VecDeque::new(),
            at_work: JoinSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Puts a node into the line, unless it is there.
    pub(super) fn ask(&mut self, node: &Value) {
        if self.asked.insert(name(node).to_owned()) {
            self.line.push_back(node.clone());
            self.go_on();
        }
    }

    /// The next answer; waits as long as there is none. May be dropped half-way.
    pub(super) async fn next(&mut self) -> Answer {
        loop {
            match self.at_work.join_next().await {
                Some(Ok(answer)) => return self.take(answer),
                // Only a task that panicked; its node stays asked, and the wait ends by its limit.
                Some(Err(_)) => self.go_on(),
                None => std::future::pending().await,
            }
        }
    }

    /// An answer that has come already.
    pub(super) fn come(&mut self) -> Option<Answer> {
        loop {
            match self.at_work.try_join_next()? {
                Ok(answer) => return Some(self.take(answer)),
                Err(_) => self.go_on(),
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Answer {
        self.asked.remove(name(&answer.node));
        self.go_on();
        answer
    }

    fn go_on(&mut self) {
        while self.at_work.len() < AT_ONCE {
            let Some(node) = self.line.pop_front() else {
                return;
            };
            let (platform, cluster) = (self.platform.clone(), self.cluster.clone());
            let method = self.method;
            self.at_work.spawn(async move {
                let said = proof::read(&platform, &cluster, &node, method).await;
                Answer { node, said }
            });
        }
    }
}
