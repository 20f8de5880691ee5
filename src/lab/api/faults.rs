//! A request's outline in, what should go wrong with it out. The server asks before it does anything.

use super::request::RequestInfo;
use super::status::ApiError;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer instead of the real one.
    Error(ApiError),
    /// The real answer, late.
    Delay(Duration),
    /// No answer until the client gives up.
    Hang,
    /// The request is carried out, yet the answer is this: the write that succeeded and looked failed.
    ErrorAfter(ApiError),
    /// The server restarts: this request and all watches end, and for this long there is no answer.
    Restart(Duration),
}

/// The seam: decides about each request. Called once a request, watches included.
pub trait Faults: Send + Sync {
    fn before(&self, request: &RequestInfo) -> Option<Fault>;
}

/// Nothing goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn before(&self, _: &RequestInfo) -> Option<Fault> {
        None
    }
}

type Matches = Box<dyn Fn(&RequestInfo) -> bool + Send + Sync>;

/// Faults in the order they were pushed: each is used up by the requests that it matches.
#[derive(Default)]
pub struct FaultQueue {
    planned: Mutex<VecDeque<(usize, Matches, Fault)>>,
}

impl FaultQueue {
    /// The next `times` requests that match get `fault`.
    pub fn push(
        &self,
        times: usize,
        matches: impl Fn(&RequestInfo) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.push_back((times, Box::new(matches), fault));
    }

    /// Whether every planned fault has happened.
    pub fn is_used_up(&self) -> bool {
        self.planned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

impl Faults for FaultQueue {
    fn before(&self, request: &RequestInfo) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let at = planned
            .iter()
            .position(|(times, matches, _)| *times > 0 && matches(request))?;
        let (times, _, fault) = planned.get_mut(at)?;
        *times -= 1;
        let (left, fault) = (*times, fault.clone());
        if left == 0 {
            planned.remove(at);
        }
        Some(fault)
    }
}
