//! In: a format with `%`, as C and Python have it, and values. Out: text. Behind the operator `%`, the filter `format`
//! and sequences.

use minijinja::value::{Value, ValueKind};

/// One `%` of a format.
#[derive(Default)]
struct Directive {
    is_left: bool,
    has_sign: bool,
    has_space: bool,
    has_zeros: bool,
    is_alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Wider is a mistake, and would cost memory.
const WIDEST: usize = 10_000;

/// `'%s-%03d' % ('a', 7)` is `a-007`; a mapping answers `%(name)s`.
pub fn format(format: &str, value: &Value) -> Result<String, String> {
    let list = if value.is_tuple() {
        value.try_iter().map(Iterator::collect).unwrap_or_default()
    } else {
        vec![value.clone()]
    };
    format_all(format, list, value)
}

/// The same with a list of values, and a mapping for names.
pub(super) fn format_all(format: &str, list: Vec<Value>, value: &Value) -> Result<String, String> {
    let is_map = value.kind() == ValueKind::Map;
    let mut list = list.into_iter();
    let mut out = String::new();
    let mut used_map = false;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut named = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let (name, after) = inner
                .split_once(')')
                .ok_or("incomplete format key".to_owned())?;
            if !is_map {
                return Err("format requires a mapping".to_owned());
            }
            let found = value
                .get_item(&Value::from(name))
                .map_err(|problem| problem.to_string())?;
            if found.is_undefined() {
                return Err(format!("the mapping has no `{name}`"));
            }
            used_map = true;
            named = Some(found);
            rest = after;
        }
        let mut directive = Directive::default();
        let mut chars = rest.chars().peekable();
        loop {
            match chars.peek() {
                Some('-') => directive.is_left = true,
                Some('+') => directive.has_sign = true,
                Some(' ') => directive.has_space = true,
                Some('0') => directive.has_zeros = true,
                Some('#') => directive.is_alternate = true,
                _ => break,
            }
            chars.next();
        }
        let mut take = || -> Result<Value, String> {
            list.next()
                .ok_or_else(|| "not enough arguments for format string".to_owned())
        };
        directive.width = match chars.peek() {
            Some('*') => {
                chars.next();
                take()?.as_usize().ok_or("* wants int".to_owned())?
            }
            _ => digits(&mut chars).unwrap_or(0),
        };
        if chars.peek() == Some(&'.') {
            chars.next();
            directive.precision = Some(digits(&mut chars).unwrap_or(0));
        }
        while matches!(chars.peek(), Some('h' | 'l' | 'L')) {
            chars.next();
        }
        if directive.width.max(directive.precision.unwrap_or(0)) > WIDEST {
            return Err(format!("a width above {WIDEST}"));
        }
        let conversion = chars.next().ok_or("incomplete format".to_owned())?;
        rest = &rest[rest.len() - chars.map(char::len_utf8).sum::<usize>()..];
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => take()?,
        };
        out.push_str(&directive.shown(conversion, &value)?);
    }
    out.push_str(rest);
    if list.next().is_some() && !used_map && !is_map {
        return Err("not all arguments converted during string formatting".to_owned());
    }
    Ok(out)
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        number = Some(
            number
                .unwrap_or(0_usize)
                .saturating_mul(10)
                .saturating_add(digit as usize),
        );
    }
    number
}

impl Directive {
    fn shown(&self, conversion: char, value: &Value) -> Result<String, String> {
        let cut = |text: String| match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        let body = match conversion {
            's' => cut(value.to_string()),
            'r' | 'a' => cut(format!("{value:?}")),
            'c' => match value.as_i64() {
                Some(code) => u32::try_from(code)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or("%c arg not in range".to_owned())?
                    .to_string(),
                None => value.to_string(),
            },
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' => return self.whole(conversion, value),
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' => return self.real(conversion, value),
            other => return Err(format!("unsupported format character '{other}'")),
        };
        Ok(self.padded("", &body, false))
    }

    fn whole(&self, conversion: char, value: &Value) -> Result<String, String> {
        let wrong = || {
            let kind = match value.kind() {
                ValueKind::String => "str",
                ValueKind::None => "NoneType",
                ValueKind::Seq => "list",
                ValueKind::Map => "dict",
                _ => "object",
            };
            format!("%{conversion} format: a real number is required, not {kind}")
        };
        let number: i128 = match value.kind() {
            ValueKind::Bool => i128::from(value.is_true()),
            ValueKind::Number if value.is_integer() => {
                i128::try_from(value.clone()).map_err(|_| wrong())?
            }
            ValueKind::Number if matches!(conversion, 'd' | 'i' | 'u') => {
                let number = f64::try_from(value.clone()).map_err(|_| wrong())?;
                #[allow(clippy::cast_possible_truncation, reason = "Python truncates here")]
                let whole = number.trunc() as i128;
                whole
            }
            _ => return Err(wrong()),
        };
        let size = number.unsigned_abs();
        let (prefix, body) = match conversion {
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            'o' => ("0o", format!("{size:o}")),
            _ => ("", size.to_string()),
        };
        let least = self.precision.unwrap_or(0);
        let prefix = if self.is_alternate { prefix } else { "" };
        let head = format!("{}{prefix}", self.sign(number < 0));
        Ok(self.padded(&head, &format!("{body:0>least$}"), true))
    }

    fn real(&self, conversion: char, value: &Value) -> Result<String, String> {
        let number = match value.kind() {
            ValueKind::Bool => f64::from(u8::from(value.is_true())),
            _ => f64::try_from(value.clone()).map_err(|_| "must be real number".to_owned())?,
        };
        let places = self.precision.unwrap_or(6);
        let size = number.abs();
        let body = match conversion {
            'f' | 'F' => format!("{size:.places$}"),
            'e' | 'E' => exponent(size, places),
            _ => general(size, places.max(1)),
        };
        let body = if conversion.is_uppercase() {
            body.to_uppercase()
        } else {
            body
        };
        Ok(self.padded(self.sign(number.is_sign_negative()), &body, true))
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.has_sign, self.has_space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn padded(&self, head: &str, body: &str, is_number: bool) -> String {
        let used = head.chars().count() + body.chars().count();
        let missing = self.width.saturating_sub(used);
        if self.is_left {
            format!("{head}{body}{}", " ".repeat(missing))
        } else if self.has_zeros && is_number {
            format!("{head}{}{body}", "0".repeat(missing))
        } else {
            format!("{}{head}{body}", " ".repeat(missing))
        }
    }
}

/// `1.50e+01`.
fn exponent(size: f64, places: usize) -> String {
    let text = format!("{size:.places$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = power
        .strip_prefix('-')
        .map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

/// The shorter of the two forms, without zeros at the end.
fn general(size: f64, digits: usize) -> String {
    let scientific = exponent(size, digits - 1);
    let power: i64 = scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse().ok())
        .unwrap_or(0);
    let bare = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let most = i64::try_from(digits).unwrap_or(i64::MAX);
    if power < -4 || power >= most {
        let (head, tail) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
        return format!("{}e{tail}", bare(head));
    }
    let places = usize::try_from(most - 1 - power).unwrap_or(0);
    bare(&format!("{size:.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_as_python_does() {
        let list = |items: &[Value]| Value::from(minijinja::value::Tuple::from(items.to_vec()));
        let cases = [
            ("%s/%d", list(&["a".into(), 3.into()]), "a/3"),
            ("%03d", Value::from(5), "005"),
            ("n%02d", Value::from(4), "n04"),
            ("%-4s|", Value::from("ab"), "ab  |"),
            ("%5.1f", Value::from(2.25001), "  2.3"),
            (
                "%x %X %#o",
                list(&[255.into(), 255.into(), 8.into()]),
                "ff FF 0o10",
            ),
            ("%+d", Value::from(3), "+3"),
            ("%05d", Value::from(-42), "-0042"),
            ("%%%s", Value::from(1), "%1"),
            (
                "%(a)s-%(b)d",
                Value::from_pairs([("a", 1), ("b", 2)]),
                "1-2",
            ),
            ("%.2s", Value::from("abc"), "ab"),
            (
                "%e %g %g",
                list(&[15.0.into(), 0.0001.into(), 1e10.into()]),
                "1.500000e+01 0.0001 1e+10",
            ),
            ("%d", Value::from(3.9), "3"),
            ("%s", Value::from(true), "True"),
        ];
        for (text, value, wanted) in cases {
            assert_eq!(format(text, &value).as_deref(), Ok(wanted), "{text}");
        }
        for (text, value) in [
            ("%d", Value::from("x")),
            ("%s %s", Value::from(1)),
            ("x", Value::from(1)),
            ("%y", Value::from(1)),
            ("%", Value::from(1)),
        ] {
            assert!(format(text, &value).is_err(), "{text}");
        }
    }
}
