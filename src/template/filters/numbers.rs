//! Filters over numbers, and over sizes as people write them.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};

use super::fail;

const UNITS: [(char, f64); 8] = [
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
];

/// In words, `zeta` as Ansible spells it; the last is for bytes themselves.
const NAMES: [&str; 9] = [
    "yotta", "zeta", "exa", "peta", "tera", "giga", "mega", "kilo", "b",
];

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("log", |x: f64, base: Option<f64>| match base {
        _ if x <= 0.0 => Err(fail("`log` takes a number above zero")),
        Some(10.0) => Ok(x.log10()),
        Some(base) => Ok(x.ln() / base.ln()),
        None => Ok(x.ln()),
    });
    env.add_filter("pow", |x: f64, power: f64| x.powf(power));
    env.add_filter("root", |x: f64, base: Option<f64>| match base {
        None | Some(2.0) => Ok(x.sqrt()),
        Some(0.0) => Err(fail("`root` has no base 0")),
        Some(base) => Ok(x.powf(1.0 / base)),
    });
    env.add_filter("round", round);
    env.add_test("nan", |value: &Value| {
        f64::try_from(value.clone()).is_ok_and(f64::is_nan)
    });
    // Python's: what has a length and can be gone through, text and mappings too.
    env.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String
        )
    });
    env.add_filter("human_readable", human_readable);
    env.add_filter("human_to_bytes", human_to_bytes);
}

/// Python's: half goes to the even neighbour as floats fall, and an integer stays one.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn round(
    value: &Value,
    precision: Option<i32>,
    method: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let precision = kwargs
        .get::<Option<i32>>("precision")?
        .or(precision)
        .unwrap_or(0);
    let method = kwargs.get::<Option<String>>("method")?.or(method);
    kwargs.assert_all_used()?;
    if value.kind() != ValueKind::Number {
        return Err(fail(format!(
            "`round` takes a number, and was given {}",
            value.kind()
        )));
    }
    if !(-300..=300).contains(&precision) {
        return Err(fail("a precision of `round` is from -300 to 300"));
    }
    let number = f64::try_from(value.clone())?;
    let scale = 10f64.powi(precision);
    let rounded = match method.as_deref().unwrap_or("common") {
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        "common" if value.is_integer() && precision >= 0 => return Ok(value.clone()),
        "common" => match usize::try_from(precision) {
            // Writing a float in decimal rounds its exact value, as Python does.
            Ok(places) => format!("{number:.places$}").parse().unwrap_or(number),
            Err(_) => (number * scale).round_ties_even() / scale,
        },
        other => {
            return Err(fail(format!(
                "`{other}` is no method of `round`: common, ceil or floor"
            )));
        }
    };
    #[allow(clippy::cast_possible_truncation, reason = "the range was looked at")]
    Ok(
        if value.is_integer() && precision < 0 && method.is_none() && rounded.abs() < 9e15 {
            Value::from(rounded.round() as i64)
        } else {
            Value::from(rounded)
        },
    )
}

/// `1048576` is `1.00 MB`; with `isbits` it ends in `b`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn human_readable(
    size: f64,
    bits: Option<bool>,
    unit: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let bits = kwargs.get::<Option<bool>>("isbits")?.or(bits);
    let unit = kwargs.get::<Option<String>>("unit")?.or(unit);
    kwargs.assert_all_used()?;
    let base = if bits.unwrap_or(false) { "b" } else { "B" };
    let wanted = unit.as_deref().and_then(|unit| unit.chars().next());
    let found = UNITS.iter().find(|(letter, limit)| match wanted {
        Some(wanted) => wanted.eq_ignore_ascii_case(letter),
        None => size >= *limit,
    });
    Ok(match found {
        Some((letter, limit)) => format!("{:.2} {letter}{base}", size / limit),
        None if base == "b" => format!("{size:.2} bits"),
        None => format!("{size:.2} Bytes"),
    })
}

/// `10M`, `1.5 GB`, `7`: bytes, or bits with `isbits`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn human_to_bytes(
    value: &Value,
    default_unit: Option<String>,
    bits: Option<bool>,
    kwargs: Kwargs,
) -> Result<i64, Error> {
    let default_unit = kwargs
        .get::<Option<String>>("default_unit")?
        .or(default_unit);
    let bits = kwargs
        .get::<Option<bool>>("isbits")?
        .or(bits)
        .unwrap_or(false);
    kwargs.assert_all_used()?;
    let text = value.to_string();
    bytes_of(&text, default_unit.as_deref(), bits).ok_or_else(|| {
        let example = if bits { "10Mb" } else { "10M` or `1.5GB" };
        fail(format!("`{text}` is no size: write it like `{example}`"))
    })
}

/// `1.5GB`, `10 kilobyte`: in bytes, or in bits.
pub fn bytes_of(text: &str, default_unit: Option<&str>, bits: bool) -> Option<i64> {
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let number: f64 = trimmed[..end].parse().ok()?;
    let written = trimmed[end..].trim();
    let unit = if written.is_empty() {
        default_unit.unwrap_or_default()
    } else {
        written
    };
    let factor = match unit.chars().next() {
        None => 1.0,
        Some(letter) => {
            let letter = letter.to_ascii_uppercase();
            let mut known = NAMES
                .iter()
                .zip(UNITS.iter().map(|(_, factor)| *factor).chain([1.0]));
            let (name, factor) =
                known.find(|(name, _)| name.starts_with(letter.to_ascii_lowercase()))?;
            let (word, short) = if bits { ("bit", 'b') } else { ("byte", 'B') };
            // `K`, `KB`, `kilobyte`; of bytes themselves `B` and `byte`.
            let (long, abbreviation) = match letter {
                'B' => (word.to_owned(), short.to_string()),
                _ => (format!("{name}{word}"), format!("{letter}{short}")),
            };
            if unit.len() > 1 && unit.to_lowercase() != long && unit != abbreviation {
                return None;
            }
            factor
        }
    };
    let size = (number * factor).round_ties_even();
    #[allow(clippy::cast_possible_truncation, reason = "the range was looked at")]
    (size < 9e18).then_some(size as i64)
}
