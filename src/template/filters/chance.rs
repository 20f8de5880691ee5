//! `random` and `shuffle`. With a seed the same comes out every time; not the same as Python makes of that seed.

use std::hash::{BuildHasher, Hasher};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};
use sha1::{Digest, Sha1};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("random", random);
    env.add_filter("shuffle", shuffle);
}

/// Numbers without end, from a seed.
struct Source {
    seed: Vec<u8>,
    next: u64,
}

impl Source {
    fn new(seed: Option<&Value>) -> Self {
        let seed = match seed.filter(|seed| !seed.is_none()) {
            Some(seed) => format!("{}:{seed}", seed.kind()).into_bytes(),
            // Keys of a new hasher are the standard library's own chance.
            None => std::collections::hash_map::RandomState::new()
                .build_hasher()
                .finish()
                .to_le_bytes()
                .to_vec(),
        };
        Self { seed, next: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        loop {
            let mut hash = Sha1::new();
            hash.update(&self.seed);
            hash.update(self.next.to_le_bytes());
            self.next += 1;
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash.finalize()[..8]);
            let number = u64::from_le_bytes(bytes);
            if number < u64::MAX - u64::MAX % limit {
                return number % limit;
            }
        }
    }
}

/// `10 | random` is from 0 to 9, `10 | random(start=5, step=2)` one of 5, 7 and 9; of a list one item.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn random(
    value: &Value,
    start: Option<i64>,
    step: Option<i64>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let start = kwargs.get::<Option<i64>>("start")?.or(start);
    let step = kwargs.get::<Option<i64>>("step")?.or(step);
    let mut source = Source::new(kwargs.get::<Option<Value>>("seed")?.as_ref());
    kwargs.assert_all_used()?;
    if value.kind() == ValueKind::Number {
        let end = value
            .as_i64()
            .ok_or_else(|| fail("`random` takes a whole number or a list"))?;
        let (start, step) = (start.unwrap_or(0), step.unwrap_or(1));
        if step < 1 || end <= start {
            return Err(fail(format!(
                "no number from {start} below {end} by {step}"
            )));
        }
        let count = (end.abs_diff(start) - 1) / step.unsigned_abs() + 1;
        let at = source.below(count).cast_signed();
        // What lies between may be more than 64 bits hold with a sign; the sum never is.
        return Ok(Value::from(start.wrapping_add(at.wrapping_mul(step))));
    }
    if start.is_some() || step.is_some() {
        return Err(fail("`start` and `step` are for numbers"));
    }
    let items: Vec<Value> = match value.as_str() {
        Some(text) => text.chars().map(Value::from).collect(),
        None => value.try_iter()?.collect(),
    };
    if items.is_empty() {
        return Ok(Value::UNDEFINED);
    }
    let at = source.below(items.len() as u64);
    Ok(items[usize::try_from(at).unwrap_or(0)].clone())
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn shuffle(value: &Value, kwargs: Kwargs) -> Result<Vec<Value>, Error> {
    let mut source = Source::new(kwargs.get::<Option<Value>>("seed")?.as_ref());
    kwargs.assert_all_used()?;
    let mut items: Vec<Value> = value.try_iter()?.collect();
    for at in (1..items.len()).rev() {
        let other = source.below(at as u64 + 1);
        items.swap(at, usize::try_from(other).unwrap_or(0));
    }
    Ok(items)
}
