//! In: restarts, and machines that go away. Out: whether the server answers now, and a token for what ends with each restart.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

struct State {
    /// Ends watches and requests that hang.
    era: CancellationToken,
    back_at: Option<Instant>,
    /// Its machine is away.
    is_off: bool,
}

/// Whether the server runs.
pub struct Power {
    closing: CancellationToken,
    state: Mutex<State>,
}

impl Power {
    pub(super) fn new(closing: CancellationToken) -> Self {
        let era = closing.child_token();
        Self {
            closing,
            state: Mutex::new(State {
                era,
                back_at: None,
                is_off: false,
            }),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends with the next restart, or with the server.
    pub(super) fn era(&self) -> CancellationToken {
        self.with(|state| state.era.clone())
    }

    /// Watches end, and for a while nothing is answered.
    pub fn restart(&self, lasts: Duration) {
        self.with(|state| {
            self.end_era(state);
            state.back_at = Some(Instant::now() + lasts);
        });
    }

    fn end_era(&self, state: &mut State) {
        state.era.cancel();
        state.era = self.closing.child_token();
    }

    /// The same until it is switched on.
    pub fn off(&self) {
        self.with(|state| {
            self.end_era(state);
            state.is_off = true;
        });
    }

    pub fn on(&self) {
        self.with(|state| state.is_off = false);
    }

    pub(super) fn is_down(&self) -> bool {
        self.with(|state| state.is_off || state.back_at.is_some_and(|back| Instant::now() < back))
    }
}
