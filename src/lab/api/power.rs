//! In: restarts. Out: whether the server answers now, and a token for what ends with each restart.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

struct State {
    /// Ends watches and requests that hang.
    era: CancellationToken,
    back_at: Option<Instant>,
}

/// Whether the server runs.
pub(super) struct Power {
    closing: CancellationToken,
    state: Mutex<State>,
}

impl Power {
    pub(super) fn new(closing: CancellationToken) -> Self {
        let era = closing.child_token();
        Self {
            closing,
            state: Mutex::new(State { era, back_at: None }),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends with the next restart, or with the server.
    pub(super) fn era(&self) -> CancellationToken {
        self.with(|state| state.era.clone())
    }

    pub(super) fn restart(&self, lasts: Duration) {
        self.with(|state| {
            state.era.cancel();
            state.era = self.closing.child_token();
            state.back_at = Some(Instant::now() + lasts);
        });
    }

    pub(super) fn is_down(&self) -> bool {
        self.with(|state| state.back_at.is_some_and(|back| Instant::now() < back))
    }
}
