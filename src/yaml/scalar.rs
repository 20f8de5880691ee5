//! In: the text of a plain scalar; out: its type and value as PyYAML (YAML 1.1) resolves them.
//!
//! The rules are those of PyYAML's resolver (`yaml/resolver.py`, `yaml/constructor.py`), which Ansible reads with:
//! `yes` is a boolean and `y` is not, `0644` is octal and `0o644` is text, `1:30` is 90, `1e3` is text and `1.0e+3` a
//! number. Dates print as written, so they stay text.

use super::node::ScalarValue;

/// Resolves a plain scalar. Quoted and block scalars are text and never come here.
pub(super) fn resolve(text: &str) -> ScalarValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarValue::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return ScalarValue::Bool(true);
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return ScalarValue::Bool(false);
        }
        _ => {}
    }
    // Cheap way out for most text: numbers start with one of these.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return ScalarValue::Text;
    }
    integer(text)
        .or_else(|| float(text).map(ScalarValue::Float))
        .unwrap_or(ScalarValue::Text)
}

fn signed(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn integer(text: &str) -> Option<ScalarValue> {
    let (negative, body) = signed(text);
    if body.contains(':') {
        return sexagesimal_integer(negative, body);
    }
    let (radix, digits) = if let Some(digits) = body.strip_prefix("0b") {
        (2, digits)
    } else if let Some(digits) = body.strip_prefix("0x") {
        (16, digits)
    } else if body == "0" {
        (10, body)
    } else if let Some(digits) = body.strip_prefix('0') {
        (8, digits)
    } else {
        (10, body)
    };
    let ok = !digits.is_empty()
        && digits.chars().all(|c| c == '_' || c.is_digit(radix))
        && (radix != 10 || !digits.starts_with('_'));
    if !ok {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.is_empty() {
        // `0_` is an octal zero; `0x_` and `0b_` are numbers to PyYAML's resolver and an error to its constructor, and
        // are text here.
        return (radix == 8).then_some(ScalarValue::Int(0));
    }
    let sign = if negative { "-" } else { "" };
    if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(ScalarValue::Int(value));
    }
    if radix == 10 {
        return Some(ScalarValue::BigInt(format!("{sign}{digits}")));
    }
    let value = i128::from_str_radix(&format!("{sign}{digits}"), radix).ok()?;
    Some(ScalarValue::BigInt(value.to_string()))
}

/// `[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+`
fn sexagesimal_integer(negative: bool, body: &str) -> Option<ScalarValue> {
    let mut parts = body.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| c.is_ascii_digit() && c != '0') {
        return None;
    }
    let mut value: i64 = underscored(first)?.parse().ok()?;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(sixty(part)?)?;
    }
    Some(ScalarValue::Int(if negative { -value } else { value }))
}

/// A part of a base 60 number: one or two digits, below 60.
fn sixty(part: &str) -> Option<i64> {
    let bytes = part.as_bytes();
    let shaped = match bytes {
        [low] => low.is_ascii_digit(),
        [high, low] => (b'0'..=b'5').contains(high) && low.is_ascii_digit(),
        _ => false,
    };
    shaped.then(|| part.parse().ok()).flatten()
}

/// Digits and underscores only, without the underscores.
fn underscored(text: &str) -> Option<String> {
    let ok = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c == '_' || c.is_ascii_digit());
    ok.then(|| text.replace('_', ""))
}

fn float(text: &str) -> Option<f64> {
    let (negative, body) = signed(text);
    let sign = if negative { -1.0 } else { 1.0 };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let (whole, rest) = body.split_once('.')?;
    if whole.contains(':') {
        // `[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*`
        let mut parts = whole.split(':');
        let mut value: f64 = underscored(parts.next()?)?.parse().ok()?;
        for part in parts {
            #[allow(clippy::cast_precision_loss, reason = "below 60")]
            let low = sixty(part)? as f64;
            value = value * 60.0 + low;
        }
        let fraction = fraction(rest)?;
        return Some(sign * (value + fraction));
    }
    // `[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?` or `\.[0-9][0-9_]*([eE][-+][0-9]+)?`
    let (digits, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let whole = if whole.is_empty() {
        // The form that starts with a point has no sign: `-.5` is text.
        if body.len() != text.len() {
            return None;
        }
        String::new()
    } else {
        underscored(whole)?
    };
    let shaped = digits.chars().all(|c| c == '_' || c.is_ascii_digit())
        && (!whole.is_empty() || digits.starts_with(|c: char| c.is_ascii_digit()));
    if !shaped {
        return None;
    }
    let exponent = match exponent {
        None => String::new(),
        Some(exponent) => {
            let number = exponent.strip_prefix(['+', '-'])?;
            if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            format!("e{exponent}")
        }
    };
    let value: f64 = format!("{whole}.{}0{exponent}", digits.replace('_', ""))
        .parse()
        .ok()?;
    Some(sign * value)
}

/// The digits behind the point of a base 60 float.
fn fraction(digits: &str) -> Option<f64> {
    let ok = digits.chars().all(|c| c == '_' || c.is_ascii_digit());
    ok.then(|| format!("0.{}0", digits.replace('_', "")).parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pyyaml_does() {
        // Each right side is what PyYAML 6.0.3 gives for the left one.
        let text = [
            "y",
            "n",
            "0o644",
            "1e3",
            "08",
            "-.5",
            "+.5",
            "1e+3",
            "._5",
            "0x",
            "1:60",
            "0:30",
            "+",
            ".",
            "1.2.3",
            "2024-01-02",
            "12e03",
            "=",
            "_1",
            "1:2:x",
            "10.0.0.1",
            "4.18.7",
            "-.nan",
            "٣",
        ];
        for case in text {
            assert_eq!(resolve(case), ScalarValue::Text, "{case}");
        }
        let integers = [
            ("0644", 420),
            ("0x1F", 31),
            ("1_000", 1000),
            ("1:30", 90),
            ("12:30:45", 45045),
            ("0", 0),
            ("-17", -17),
            ("+5", 5),
            ("0b101", 5),
            ("00", 0),
            ("-0x10", -16),
            ("190:20:30", 685_230),
            ("0_7", 7),
            ("0_", 0),
            ("+0644", 420),
            ("1__0", 10),
        ];
        for (case, value) in integers {
            assert_eq!(resolve(case), ScalarValue::Int(value), "{case}");
        }
        let floats = [
            ("1.0e+3", 1000.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-1.5", -1.5),
            ("1_0.5", 10.5),
            ("190:20:30.15", 685_230.15),
            ("-.inf", f64::NEG_INFINITY),
            ("6.02e+23", 6.02e23),
            (".5e+3", 500.0),
            ("0:30.5", 30.5),
            ("1_000.0_0e-1", 100.0),
            (".5_", 0.5),
        ];
        for (case, value) in floats {
            assert_eq!(resolve(case), ScalarValue::Float(value), "{case}");
        }
        for case in ["~", "", "null", "NULL"] {
            assert_eq!(resolve(case), ScalarValue::Null, "{case}");
        }
        for (case, value) in [
            ("yes", true),
            ("On", true),
            ("FALSE", false),
            ("off", false),
        ] {
            assert_eq!(resolve(case), ScalarValue::Bool(value), "{case}");
        }
        assert_eq!(
            resolve("99999999999999999999"),
            ScalarValue::BigInt("99999999999999999999".to_owned())
        );
        assert!(matches!(resolve(".nan"), ScalarValue::Float(value) if value.is_nan()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_type(text in "[-+0-9a-fxob_:.eE~]{0,24}|\\PC{0,12}") {
            let _ = resolve(&text);
        }
    }
}
