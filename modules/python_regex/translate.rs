//! In: a regular expression as Python reads it. Out: the same for `fancy_regex`, which reads some signs in another way:
//! `$` before a last newline, `\Z`, `{,3}`, `[[]`, and classes of ASCII only where Python matches bytes.

use super::Problem;

#[derive(Clone, Copy)]
struct Flags {
    multiline: bool,
    dotall: bool,
    verbose: bool,
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    /// Each character stands for one byte.
    bytes: bool,
    ascii: bool,
    flags: Flags,
    /// Those of the groups that are open.
    open: Vec<Flags>,
    out: String,
}

/// The translated expression, and whether it is one over several lines as a whole.
pub(super) fn translate(
    pattern: &str,
    bytes: bool,
    multiline: bool,
    dotall: bool,
) -> Result<(String, bool), Problem> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        bytes,
        ascii: bytes,
        flags: Flags {
            multiline,
            dotall,
            verbose: false,
        },
        open: Vec::new(),
        out: String::new(),
    };
    translator.all()?;
    Ok((translator.out, translator.flags.multiline))
}

/// A character of a class, or a set of them as it is written in the end.
enum Item {
    One(char),
    Set(String),
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0);
        self.at += usize::from(c.is_some());
        c
    }

    fn wrong(&self, text: impl std::fmt::Display) -> Problem {
        Problem(format!("{text} at position {}", self.at.saturating_sub(1)))
    }

    fn all(&mut self) -> Result<(), Problem> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    if let Some(flags) = self.open.pop() {
                        self.flags = flags;
                    }
                    self.out.push(')');
                }
                '.' if self.flags.dotall => self.out.push_str("(?s:.)"),
                '.' => self.out.push_str("[^\\n]"),
                '^' if self.flags.multiline => self.out.push_str("(?m:^)"),
                '^' => self.out.push_str("\\A"),
                '$' if self.flags.multiline => self.out.push_str("(?m:$)"),
                '$' => self.out.push_str("(?=\\n?\\z)"),
                '{' => self.counted(),
                '*' | '+' | '?' | '|' => self.out.push(c),
                c if self.flags.verbose && c.is_ascii_whitespace() => {}
                '#' if self.flags.verbose => while self.next().is_some_and(|c| c != '\n') {},
                c => self.literal(c),
            }
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || c == '_' {
            self.out.push(c);
        } else if c.is_ascii() {
            self.out.push_str(&format!("\\x{:02X}", u32::from(c)));
        } else if self.bytes {
            // A byte has no upper case.
            self.out.push_str(&format!("(?-i:{c})"));
        } else {
            self.out.push(c);
        }
    }

    /// `{3}`, `{,3}`, `{3,}`; anything else in braces is text.
    fn counted(&mut self) {
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let inner: String = rest.iter().take_while(|c| **c != '}').collect();
        let is_closed = rest.len() > inner.chars().count();
        let (low, high) = inner.split_once(',').unwrap_or((&inner, &inner));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if !is_closed || inner.is_empty() || !digits(low) || !digits(high) {
            self.literal('{');
            return;
        }
        let low = if low.is_empty() { "0" } else { low };
        self.out.push_str(&format!("{{{low},{high}}}"));
        self.at += inner.chars().count() + 1;
    }

    fn set(&self, c: char, is_inside: bool) -> String {
        let ascii = match c.to_ascii_lowercase() {
            'd' => "0-9",
            's' => r" \t\n\r\x0b\x0c",
            _ => "0-9A-Za-z_",
        };
        match (self.ascii, c.is_ascii_uppercase(), is_inside) {
            (false, _, _) => format!("\\{c}"),
            (true, true, _) => format!("[^{ascii}]"),
            (true, false, true) => ascii.to_owned(),
            (true, false, false) => format!("[{ascii}]"),
        }
    }

    /// What every escape means that stands for one character. `None` when it is something else.
    fn character(&mut self, c: char) -> Result<Option<char>, Problem> {
        let hex = |this: &mut Self, length: usize| {
            let digits: String = this.chars.iter().skip(this.at).take(length).collect();
            let code = u32::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == length);
            this.at += length;
            code.and_then(char::from_u32)
                .ok_or_else(|| this.wrong(format!("incomplete escape \\{c}{digits}")))
        };
        let one = match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => hex(self, 2)?,
            'u' if !self.bytes => hex(self, 4)?,
            'U' if !self.bytes => hex(self, 8)?,
            c if c.is_ascii_alphanumeric() => return Ok(None),
            c => c,
        };
        Ok(Some(one))
    }

    /// Octal digits from here on, as many as there are up to a number.
    fn octal(&mut self, first: char, length: usize) -> char {
        let mut code = first.to_digit(8).unwrap_or_default();
        for _ in 1..length {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) else {
                break;
            };
            code = code * 8 + digit;
            self.at += 1;
        }
        char::from_u32(code).unwrap_or_default()
    }

    fn escape(&mut self) -> Result<(), Problem> {
        let c = self
            .next()
            .ok_or_else(|| self.wrong("bad escape (end of pattern)"))?;
        if let Some(one) = self.character(c)? {
            self.literal(one);
            return Ok(());
        }
        match c {
            'A' => self.out.push_str("\\A"),
            'Z' | 'z' => self.out.push_str("\\z"),
            'b' | 'B' if !self.ascii => self.out.push_str(&format!("\\{c}")),
            'b' => self.out.push_str(
                "(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))",
            ),
            'B' => self.out.push_str(
                "(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))",
            ),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                let set = self.set(c, false);
                self.out.push_str(&set);
            }
            '0' => {
                let one = self.octal(c, 3);
                self.literal(one);
            }
            '1'..='9' => {
                let is_octal = |c: Option<char>| c.is_some_and(|c| c.is_digit(8));
                if c.is_digit(8) && is_octal(self.peek(0)) && is_octal(self.peek(1)) {
                    let one = self.octal(c, 3);
                    self.literal(one);
                    return Ok(());
                }
                let mut number = c.to_string();
                if let Some(digit) = self.peek(0).filter(char::is_ascii_digit) {
                    number.push(digit);
                    self.at += 1;
                }
                self.out.push_str(&format!("(?:\\{number})"));
            }
            c => return Err(self.wrong(format!("bad escape \\{c}"))),
        }
        Ok(())
    }

    fn class_item(&mut self, c: char) -> Result<Item, Problem> {
        if c != '\\' {
            return Ok(Item::One(c));
        }
        let c = self
            .next()
            .ok_or_else(|| self.wrong("unterminated character set"))?;
        if let Some(one) = self.character(c)? {
            return Ok(Item::One(one));
        }
        match c {
            'b' => Ok(Item::One('\x08')),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok(Item::Set(self.set(c, true))),
            c if c.is_digit(8) => Ok(Item::One(self.octal(c, 3))),
            c => Err(self.wrong(format!("bad escape \\{c}"))),
        }
    }

    fn class(&mut self) -> Result<(), Problem> {
        let shown = |c: char| format!("\\x{{{:X}}}", u32::from(c));
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let first = self.at;
        loop {
            let c = self
                .next()
                .ok_or_else(|| self.wrong("unterminated character set"))?;
            if c == ']' && self.at != first + 1 {
                break;
            }
            let item = self.class_item(c)?;
            let is_range = self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']');
            match item {
                Item::One(low) if is_range => {
                    self.at += 1;
                    let c = self.next().unwrap_or_default();
                    match self.class_item(c)? {
                        Item::One(high) if low <= high => {
                            let range = format!("{}-{}", shown(low), shown(high));
                            self.out.push_str(&range);
                        }
                        _ => return Err(self.wrong("bad character range")),
                    }
                }
                Item::One(one) => self.out.push_str(&shown(one)),
                Item::Set(set) => self.out.push_str(&set),
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Copies up to and with a sign.
    fn through(&mut self, end: char) -> Result<String, Problem> {
        let mut all = String::new();
        loop {
            match self.next() {
                Some(c) if c == end => return Ok(all),
                Some(c) => all.push(c),
                None => return Err(self.wrong(format!("missing {end}, unterminated name"))),
            }
        }
    }

    fn group(&mut self) -> Result<(), Problem> {
        if self.peek(0) != Some('?') {
            self.open.push(self.flags);
            self.out.push('(');
            return Ok(());
        }
        self.at += 1;
        let kind = self
            .next()
            .ok_or_else(|| self.wrong("unexpected end of pattern"))?;
        match (kind, self.peek(0)) {
            ('#', _) => {
                self.through(')')?;
                return Ok(());
            }
            ('P', Some('=')) => {
                self.at += 1;
                let name = self.through(')')?;
                self.out.push_str(&format!("(?:\\k<{name}>)"));
                return Ok(());
            }
            ('P', Some('<')) => {
                self.at += 1;
                let name = self.through('>')?;
                self.out.push_str(&format!("(?P<{name}>"));
            }
            ('(', _) => {
                let name = self.through(')')?;
                self.out.push_str(&format!("(?({name})"));
            }
            ('<', Some(sign @ ('=' | '!'))) => {
                self.at += 1;
                self.out.push_str(&format!("(?<{sign}"));
            }
            (':' | '=' | '!' | '>', _) => self.out.push_str(&format!("(?{kind}")),
            _ => {
                self.at -= 1;
                return self.settings();
            }
        }
        self.open.push(self.flags);
        Ok(())
    }

    /// `(?im)` for all that follows, `(?i-s:` for a group.
    fn settings(&mut self) -> Result<(), Problem> {
        let outer = self.flags;
        let (mut is_on, mut case) = (true, "");
        loop {
            match self.next() {
                Some('i') => case = if is_on { "i" } else { "-i" },
                Some('m') => self.flags.multiline = is_on,
                Some('s') => self.flags.dotall = is_on,
                Some('x') => self.flags.verbose = is_on,
                Some('a') if is_on => self.ascii = true,
                Some('u') if is_on && !self.bytes => {}
                Some('-') if is_on => is_on = false,
                Some(':') => {
                    self.out.push_str(&format!("(?{case}:"));
                    self.open.push(outer);
                    return Ok(());
                }
                Some(')') if is_on => {
                    if !case.is_empty() {
                        self.out.push_str("(?i)");
                    }
                    return Ok(());
                }
                _ => return Err(self.wrong("unknown extension or flag")),
            }
        }
    }
}
