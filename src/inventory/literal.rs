//! In: a value of an INI inventory. Out: what Python's `literal_eval` makes of it, else the text (Ansible's rule: shell
//! quoting first, literal second).

use minijinja::Value;

/// A number, a boolean, `None`, quoted text, a list, a tuple or a mapping; anything else is text.
pub fn read(text: &str) -> Value {
    let mut reader = Reader {
        rest: text.trim(),
        depth: 0,
    };
    match reader.value() {
        Some(value) if reader.rest.trim().is_empty() => value,
        _ => Value::from(text),
    }
}

/// Brackets inside brackets that are followed; with more it is text.
const DEPTH: usize = 64;

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl Reader<'_> {
    fn eat(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let value = self.any();
        self.depth -= 1;
        value
    }

    fn any(&mut self) -> Option<Value> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '[' => self.items('[', ']').map(Value::from),
            '(' => self.items('(', ')').map(Value::from),
            '{' => self.mapping(),
            quote @ ('\'' | '"') => self.quoted(quote).map(Value::from),
            _ => self.word(),
        }
    }

    fn items(&mut self, open: char, close: char) -> Option<Vec<Value>> {
        self.eat(open);
        let mut items = Vec::new();
        loop {
            if self.eat(close) {
                return Some(items);
            }
            items.push(self.value()?);
            if !self.eat(',') {
                return self.eat(close).then_some(items);
            }
        }
    }

    fn mapping(&mut self) -> Option<Value> {
        self.eat('{');
        let mut entries = Vec::new();
        loop {
            if self.eat('}') {
                break;
            }
            let key = self.value()?;
            if !self.eat(':') {
                return None;
            }
            entries.push((key, self.value()?));
            if !self.eat(',') {
                if self.eat('}') {
                    break;
                }
                return None;
            }
        }
        Some(Value::from_pairs(entries))
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    c @ ('\\' | '\'' | '"') => text.push(c),
                    other => {
                        text.push('\\');
                        text.push(other);
                    }
                },
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }

    fn word(&mut self) -> Option<Value> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::from(true),
            "False" => Value::from(false),
            "None" => Value::from(()),
            _ => number(word)?,
        };
        self.rest = rest;
        Some(value)
    }
}

fn number(word: &str) -> Option<Value> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain = digits.replace('_', "");
    // Python refuses `010`, so that it stays text.
    let is_padded =
        plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit());
    if is_padded && plain.bytes().any(|b| b != b'0') {
        return None;
    }
    let sign = if word.starts_with('-') { -1 } else { 1 };
    let radix = |prefix: &str, base| {
        plain
            .strip_prefix(prefix)
            .and_then(|digits| i64::from_str_radix(digits, base).ok())
    };
    radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| plain.parse::<i64>().ok())
        .map(|whole| Value::from(sign * whole))
        .or_else(|| {
            let is_float = plain
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
            let value = is_float.then(|| plain.parse::<f64>().ok()).flatten()?;
            Some(Value::from(if sign < 0 { -value } else { value }))
        })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn values_are_read_as_python_literals_or_stay_text() {
        for (text, json) in [
            ("5", "5"),
            ("-5", "-5"),
            ("1.5", "1.5"),
            ("0x1F", "31"),
            ("010", "\"010\""),
            ("True", "true"),
            ("true", "\"true\""),
            ("None", "null"),
            ("'5'", "\"5\""),
            ("[1, 'a', True]", "[1,\"a\",true]"),
            ("{'k': [1, 2]}", "{\"k\":[1,2]}"),
            ("a b", "\"a b\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("5 apples", "\"5 apples\""),
            ("[broken", "\"[broken\""),
        ] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), json, "{text}");
        }
    }

    #[test]
    fn brackets_without_end_are_text() {
        let deep = "[".repeat(200_000);
        assert_eq!(read(&deep).as_str(), Some(deep.as_str()));
        let closed = format!("{}1{}", "[".repeat(60), "]".repeat(60));
        assert!(read(&closed).as_str().is_none());
    }
}
