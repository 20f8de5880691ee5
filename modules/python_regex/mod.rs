//! Regular expressions as Python's `re` has them, for modules whose arguments are such. In: an expression, a text, a
//! replacement. Out: matches, or the text with them replaced.

mod translate;

use std::sync::OnceLock;

use fancy_regex::{Captures, Regex, RegexBuilder};

/// What is wrong with an expression or a replacement, in Python's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

/// An expression.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    /// The same where an empty match does not count; built when it is needed. `None` when it can match nothing else.
    not_empty: OnceLock<Option<Regex>>,
    translated: String,
    multiline: bool,
}

/// Steps that a search may take before it is given up: large files are searched as well.
const LIMIT: usize = 50_000_000;

/// Bytes as text, one character each: what Python's expressions over bytes see.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes of such a text.
pub fn bytes_of(text: &str) -> Vec<u8> {
    text.chars()
        .filter_map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

fn build(translated: &str, skips_empty: bool) -> Result<Regex, Problem> {
    RegexBuilder::new(translated)
        .backtrack_limit(LIMIT)
        .find_not_empty(skips_empty)
        .build()
        .map_err(|problem| Problem(problem.to_string()))
}

/// Python's flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    pub multiline: bool,
    pub dotall: bool,
    pub ignore_case: bool,
}

impl Pattern {
    /// Over text.
    pub fn text(pattern: &str, flags: Flags) -> Result<Self, Problem> {
        Self::new(pattern, false, flags)
    }

    /// Over bytes, which are given to it as [`latin`] makes text of them.
    pub fn bytes(pattern: &str) -> Result<Self, Problem> {
        Self::new(&latin(pattern.as_bytes()), true, Flags::default())
    }

    fn new(pattern: &str, bytes: bool, flags: Flags) -> Result<Self, Problem> {
        let (mut translated, multiline) =
            translate::translate(pattern, bytes, flags.multiline, flags.dotall)?;
        if flags.ignore_case {
            translated.insert_str(0, "(?i)");
        }
        Ok(Self {
            regex: build(&translated, false)?,
            not_empty: OnceLock::new(),
            translated,
            multiline,
        })
    }

    /// Whether `^` and `$` match at each line.
    pub fn is_multiline(&self) -> bool {
        self.multiline
    }

    pub fn search<'t>(&self, text: &'t str) -> Result<Option<Captures<'t, str>>, Problem> {
        self.regex
            .captures(text)
            .map_err(|problem| Problem(format!("the search gave up: {problem}")))
    }

    pub fn is_match(&self, text: &str) -> Result<bool, Problem> {
        Ok(self.search(text)?.is_some())
    }

    /// Python's `match`: from the first character on, wherever it ends.
    pub fn is_match_at_start(&self, text: &str) -> Result<bool, Problem> {
        // The leftmost match is found first.
        let found = self.search(text)?;
        Ok(found.is_some_and(|found| found.get(0).is_some_and(|all| all.start() == 0)))
    }

    /// Python's `finditer`: all matches from left to right, the empty ones between others as well.
    pub fn find_all<'t>(
        &self,
        text: &'t str,
        most: usize,
    ) -> Result<Vec<Captures<'t, str>>, Problem> {
        let gave_up = |problem| Problem(format!("the search gave up: {problem}"));
        let (mut all_found, mut end) = (Vec::new(), 0);
        let mut was_empty = false;
        while all_found.len() < most {
            let mut found;
            if was_empty {
                // At the same place once more, but not nothing; else from the next character on.
                let not_empty = self
                    .not_empty
                    .get_or_init(|| build(&self.translated, true).ok());
                let again = match not_empty {
                    Some(regex) => regex.captures_from_pos(text, end).map_err(gave_up)?,
                    None => None,
                };
                let starts = |found: &Captures<'_, str>| found.get(0).map(|all| all.start());
                found = again.filter(|found| starts(found) == Some(end));
                let next = text.get(end..).and_then(|rest| rest.chars().next());
                if let (None, Some(next)) = (&found, next) {
                    found = self
                        .regex
                        .captures_from_pos(text, end + next.len_utf8())
                        .map_err(gave_up)?;
                }
            } else {
                found = self.regex.captures_from_pos(text, end).map_err(gave_up)?;
            }
            let Some((found, all)) = found.and_then(|found| {
                let all = found.get(0)?;
                Some((found, all))
            }) else {
                break;
            };
            end = all.end();
            was_empty = all.start() == all.end();
            all_found.push(found);
        }
        Ok(all_found)
    }

    /// Python's `subn`: the text with the first matches replaced, and how many there were.
    pub fn replace(
        &self,
        replacement: &str,
        text: &str,
        most: usize,
    ) -> Result<(String, usize), Problem> {
        let replacement = Replacement::new(replacement, &self.regex)?;
        let all_found = self.find_all(text, most)?;
        let (mut out, mut end) = (String::new(), 0);
        for found in &all_found {
            let Some(all) = found.get(0) else { continue };
            out.push_str(text.get(end..all.start()).unwrap_or_default());
            replacement.write(&mut out, found);
            end = all.end();
        }
        out.push_str(text.get(end..).unwrap_or_default());
        Ok((out, all_found.len()))
    }

    /// As [`Pattern::replace`], all matches.
    pub fn replace_all(&self, replacement: &str, text: &str) -> Result<(String, usize), Problem> {
        self.replace(replacement, text, usize::MAX)
    }

    /// Python's `match.group`: a group by its name or number. `None` when it took no part in the match.
    pub fn group<'t>(
        &self,
        found: &Captures<'t, str>,
        name: &str,
    ) -> Result<Option<&'t str>, Problem> {
        let named = || {
            self.regex
                .capture_names()
                .position(|known| known == Some(name))
        };
        let number = name.parse().ok().or_else(named);
        match number.filter(|number| *number < found.len()) {
            Some(number) => Ok(found.get(number).map(|group| group.as_str())),
            None => Err(Problem("no such group".to_owned())),
        }
    }

    /// Python's `match.expand`.
    pub fn expand(&self, replacement: &str, found: &Captures<'_, str>) -> Result<String, Problem> {
        let mut out = String::new();
        Replacement::new(replacement, &self.regex)?.write(&mut out, found);
        Ok(out)
    }
}

enum Piece {
    Text(char),
    Group(usize),
}

/// A replacement text: `\1`, `\g<1>`, `\g<name>`, `\n`, `\\`.
struct Replacement(Vec<Piece>);

impl Replacement {
    fn new(text: &str, regex: &Regex) -> Result<Self, Problem> {
        let groups = regex.captures_len();
        let group = |number: usize| {
            if number < groups {
                Ok(Piece::Group(number))
            } else {
                Err(Problem(format!("invalid group reference {number}")))
            }
        };
        let chars: Vec<char> = text.chars().collect();
        let peek = |at: usize| chars.get(at).copied();
        let octal = |at: usize| peek(at).and_then(|c| c.to_digit(8));
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(c) = peek(at) {
            at += 1;
            if c != '\\' {
                pieces.push(Piece::Text(c));
                continue;
            }
            let position = at - 1;
            let Some(c) = peek(at) else {
                return Err(Problem("bad escape (end of pattern)".to_owned()));
            };
            at += 1;
            let plain = match c {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                '\\' => '\\',
                'g' => {
                    if peek(at) != Some('<') {
                        return Err(Problem("missing <".to_owned()));
                    }
                    let name: String = chars
                        .iter()
                        .skip(at + 1)
                        .take_while(|c| **c != '>')
                        .collect();
                    at += name.chars().count() + 2;
                    if at > chars.len() {
                        return Err(Problem("missing >, unterminated name".to_owned()));
                    }
                    let named =
                        |name: &str| regex.capture_names().position(|known| known == Some(name));
                    let number = name.parse().ok().or_else(|| named(&name));
                    let number =
                        number.ok_or_else(|| Problem(format!("unknown group name '{name}'")))?;
                    pieces.push(group(number)?);
                    continue;
                }
                '0' => {
                    let mut code = 0;
                    for _ in 0..2 {
                        let Some(digit) = octal(at) else { break };
                        code = code * 8 + digit;
                        at += 1;
                    }
                    char::from_u32(code).unwrap_or_default()
                }
                '1'..='9' => {
                    let first = c.to_digit(10).unwrap_or_default();
                    if let (Some(a), Some(b), Some(c)) = (octal(at - 1), octal(at), octal(at + 1)) {
                        at += 2;
                        let code = (a * 8 + b) * 8 + c;
                        let one = char::from_u32(code).filter(|_| code <= 0o377);
                        one.ok_or_else(|| {
                            Problem("octal escape value outside of range 0-0o377".to_owned())
                        })?
                    } else {
                        let mut number = first as usize;
                        if let Some(digit) = peek(at).and_then(|c| c.to_digit(10)) {
                            number = number * 10 + digit as usize;
                            at += 1;
                        }
                        pieces.push(group(number)?);
                        continue;
                    }
                }
                c if c.is_ascii_alphabetic() => {
                    return Err(Problem(format!("bad escape \\{c} at position {position}")));
                }
                c => {
                    pieces.push(Piece::Text('\\'));
                    c
                }
            };
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    fn write(&self, out: &mut String, found: &Captures<'_, str>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(c) => out.push(*c),
                Piece::Group(number) => {
                    out.push_str(found.get(*number).map_or("", |group| group.as_str()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
