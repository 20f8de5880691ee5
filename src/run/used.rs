//! In: the requests that a run made. Out: what it took of the machine, by the system's own books.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::event::Used;

pub(super) fn now(api_requests: BTreeMap<String, u64>) -> Used {
    let of_process = getrusage(UsageWho::RUSAGE_SELF).ok();
    Used {
        memory_bytes: of_process.map_or(0, |used| memory(used.max_rss())),
        cpu_seconds: of_process.map_or(0.0, |used| {
            let time = used.user_time() + used.system_time();
            let micros = u64::try_from(time.num_microseconds()).unwrap_or_default();
            Duration::from_micros(micros).as_secs_f64()
        }),
        api_requests,
    }
}

/// `ru_maxrss` in bytes: macOS says bytes, Linux and the BSDs kilobytes (getrusage(2)).
fn memory(max_rss: i64) -> u64 {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(max_rss).unwrap_or_default() * unit
}
