//! In: a pool, what a task says of its pause, and the time. Out: whether it is to be paused, and until when. Pure.
//!
//! Nothing in a cluster ends a pause, so that its end is written on the pool, and the next task about the pool that says
//! nothing of pauses ends it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::error::ModuleError;

/// The annotation that holds the end.
pub const PAUSED_UNTIL: &str = "layerplay.io/paused-until";

/// What is written of a pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    /// `None` leaves it as it is.
    pub paused: Option<bool>,
    pub until: Option<Timestamp>,
}

/// `90`, `"90"` (seconds), `"4h"`, `"1h 30m"`.
pub fn length(given: &Value) -> Result<SignedDuration, ModuleError> {
    let text = match given {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let length = match text.parse::<i64>() {
        Ok(seconds) => Some(SignedDuration::from_secs(seconds)),
        Err(_) => text.parse().ok(),
    };
    length.filter(SignedDuration::is_positive).ok_or_else(|| {
        ModuleError::argument("pause_for", format!("`{text}` is no length of time"))
            .hint("write seconds, or `45m`, `4h`, `1d`")
    })
}

/// When a pause ends, by what is written on the pool.
pub fn end(pool: &Value) -> Option<Timestamp> {
    let text = pool["metadata"]["annotations"][PAUSED_UNTIL].as_str()?;
    text.parse().ok().filter(|_| pool["spec"]["paused"] == true)
}

/// In words, for who finds the pool paused: ` until ...`.
pub fn words(pool: &Value, now: Timestamp) -> String {
    match end(pool) {
        Some(end) if end <= now => format!(
            "; its pause ended at {end}, and any `machine_config_pool` task about it that says nothing of `paused` unpauses it"
        ),
        Some(end) => format!(" until {end}"),
        None => String::new(),
    }
}

/// What is to be written.
pub fn decide(
    before: Option<&Value>,
    paused: Option<bool>,
    pause_for: Option<SignedDuration>,
    now: Timestamp,
) -> Pause {
    let known = before.and_then(end);
    let ahead = known.filter(|end| *end > now);
    let whole = |end: Timestamp| Timestamp::from_second(end.as_second()).unwrap_or(end);
    match paused {
        Some(false) => Pause {
            paused,
            until: None,
        },
        // A pause that has begun is not made longer by running the same task again.
        Some(true) => Pause {
            paused,
            until: ahead.or_else(|| Some(whole(now.checked_add(pause_for?).ok()?))),
        },
        None if known.is_some() && ahead.is_none() => Pause {
            paused: Some(false),
            until: None,
        },
        None => Pause {
            paused: None,
            until: ahead,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(paused: bool, until: &str) -> Value {
        json!({"metadata": {"annotations": {PAUSED_UNTIL: until}}, "spec": {"paused": paused}})
    }

    #[test]
    fn a_pause_keeps_its_end_and_ends_when_it_is_over() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (at("2026-11-28T10:00:00Z"), at("2026-11-28T14:00:00Z"));
        let four = length(&json!("4h")).unwrap();
        let fresh = decide(None, Some(true), Some(four), early);
        assert_eq!(fresh.until, Some(late));
        let paused = pool(true, "2026-11-28T14:00:00Z");
        let again = decide(
            Some(&paused),
            Some(true),
            Some(four),
            at("2026-11-28T12:00:00Z"),
        );
        assert_eq!(again.until, Some(late));
        let meanwhile = decide(Some(&paused), None, None, at("2026-11-28T13:59:59Z"));
        assert_eq!((meanwhile.paused, meanwhile.until), (None, Some(late)));
        let over = decide(Some(&paused), None, None, late);
        assert_eq!((over.paused, over.until), (Some(false), None));
        // Somebody else unpaused it: what is left on it says nothing.
        assert_eq!(
            decide(Some(&pool(false, "2026-11-28T14:00:00Z")), None, None, late),
            Pause::default()
        );
        assert_eq!(decide(Some(&paused), Some(true), None, late).until, None);
    }

    #[test]
    fn lengths_are_seconds_or_words() {
        for (given, seconds) in [
            (json!(90), 90),
            (json!("90"), 90),
            (json!("1h 30m"), 5400),
            (json!("2h"), 7200),
        ] {
            assert_eq!(length(&given).unwrap().as_secs(), seconds, "{given}");
        }
        for wrong in [
            json!(0),
            json!("-1h"),
            json!("soon"),
            json!(true),
            json!([1]),
        ] {
            assert!(length(&wrong).is_err(), "{wrong}");
        }
    }
}
