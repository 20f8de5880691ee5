//! In: an expression as a person wrote it. Out: the same for minijinja, and the chains of names in it.
//!
//! Ansible walks through undefined names and fails only where one is used: `a.b.c | default(1)` is 1 when `a` is not
//! defined, and `{{ a.b }}` fails. The engine underneath has no such mode, so a step becomes a filter that hands on
//! what is undefined: `a.b` is `(a|__a('b'))`, `a[i]` is `(a|__i(i))`. Plugin names lose `ansible.builtin.`.

use std::borrow::Cow;
use std::ops::Range;

use super::embedded::{Where, inline};
use super::operators::operators;

/// The filter behind `a.b`.
pub(super) const ATTRIBUTE: &str = "__a";
/// The filter behind `a[b]`.
pub(super) const ITEM: &str = "__i";

/// A name and the attributes taken of it, with its place: what to look up when something is undefined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) root: String,
    pub(super) path: Vec<String>,
    pub(super) at: Range<usize>,
    /// A test or `default` follows: being undefined is allowed.
    pub(super) is_guarded: bool,
}

/// A filter, test or function that an expression calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    pub(super) kind: PluginKind,
    pub(super) name: String,
    pub(super) at: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PluginKind {
    Filter,
    Test,
    Function,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) text: String,
    pub(super) chains: Vec<Chain>,
    pub(super) plugins: Vec<Plugin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    String,
    Sign,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
}

const KEYWORDS: &[&str] = &[
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None",
];

/// Rewrites an expression, or what stands behind the tag of a statement.
pub(super) fn rewrite(source: &str) -> Rewritten {
    rewritten(source, false)
}

/// The same for an output of a value in YAML, where a backslash in a literal is kept as it is typed.
pub(super) fn rewrite_value(source: &str) -> Rewritten {
    rewritten(source, true)
}

fn rewritten(source: &str, is_value: bool) -> Rewritten {
    let written = steps(source, is_value);
    match inline(source, Where::Lookups) {
        Cow::Borrowed(_) => written,
        // The names keep the places where they are written.
        Cow::Owned(meant) => Rewritten {
            text: steps(&meant, is_value).text,
            ..written
        },
    }
}

fn steps(source: &str, is_value: bool) -> Rewritten {
    let tokens = tokens(source);
    let mut rewriter = Rewriter {
        source,
        is_value,
        tokens,
        next: 0,
        chains: Vec::new(),
        plugins: Vec::new(),
    };
    let mut text = String::with_capacity(source.len() * 2);
    let end = rewriter.until(&mut text, None, 0);
    text.push_str(&source[end..]);
    Rewritten {
        text: operators(&text),
        chains: rewriter.chains,
        plugins: rewriter.plugins,
    }
}

pub(super) fn tokens(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                Kind::String
            }
            byte if byte.is_ascii_digit() => {
                while at < bytes.len()
                    && (is_name(bytes[at])
                        || (bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit))
                        || is_exponent(&bytes[start..at], &bytes[at..]))
                {
                    at += 1;
                }
                Kind::Number
            }
            byte if is_name(byte) => {
                while at < bytes.len() && is_name(bytes[at]) {
                    at += 1;
                }
                Kind::Name
            }
            _ => {
                at += 1;
                Kind::Sign
            }
        };
        // An unclosed string runs to the end; a step over a backslash may pass it or land inside a character.
        at = at.min(bytes.len());
        while !source.is_char_boundary(at) {
            at += 1;
        }
        tokens.push(Token {
            kind,
            at: start..at,
        });
    }
    tokens
}

/// The sign in `1e-7`.
fn is_exponent(before: &[u8], after: &[u8]) -> bool {
    matches!(after, [b'-' | b'+', digit, ..] if digit.is_ascii_digit())
        && matches!(before, [rest @ .., b'e' | b'E'] if rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
}

struct Rewriter<'s> {
    source: &'s str,
    is_value: bool,
    tokens: Vec<Token>,
    next: usize,
    chains: Vec<Chain>,
    plugins: Vec<Plugin>,
}

/// Brackets inside brackets that are still followed; the engine refuses deeper ones with a message of its own.
const DEPTH: usize = 150;

impl<'s> Rewriter<'s> {
    fn peek(&self, ahead: usize) -> Option<(Kind, &'s str)> {
        let token = self.tokens.get(self.next + ahead)?;
        Some((token.kind, &self.source[token.at.clone()]))
    }

    /// The white space before a token, kept: line breaks matter for the places in messages.
    fn gap(&self, from: usize) -> &'s str {
        let to = self
            .tokens
            .get(self.next)
            .map_or(self.source.len(), |token| token.at.start);
        self.source.get(from..to).unwrap_or_default()
    }

    /// Rewrites up to a closing sign at this level (not taken), and says where it ended.
    fn until(&mut self, out: &mut String, close: Option<&str>, depth: usize) -> usize {
        let mut end = self.tokens.get(self.next).map_or(0, |token| token.at.start);
        if depth == 0 {
            out.push_str(&self.source[..end]);
        }
        // What came before decides whether a name is a variable, a filter or a test.
        let mut before = "";
        while let Some((kind, word)) = self.peek(0) {
            if close == Some(word) && kind == Kind::Sign {
                break;
            }
            out.push_str(self.gap(end));
            let is_plugin = before == "|" || before == "is" || (before == "is not");
            match kind {
                Kind::Name if is_plugin && word != "not" => {
                    let kind = if before == "|" {
                        PluginKind::Filter
                    } else {
                        PluginKind::Test
                    };
                    self.plugin(out, kind);
                }
                Kind::Name if !KEYWORDS.contains(&word) => self.primary(out, depth),
                Kind::String | Kind::Name | Kind::Number => self.primary(out, depth),
                Kind::Sign if matches!(word, "(" | "[" | "{") && depth < DEPTH => {
                    self.primary(out, depth);
                }
                Kind::Sign => {
                    out.push_str(word);
                    self.next += 1;
                }
            }
            before = match (before, word) {
                ("is", "not") => "is not",
                _ => word,
            };
            end = self.tokens[self.next - 1].at.end;
        }
        end
    }

    /// A filter or test name, without the collection that everything is in anyway.
    fn plugin(&mut self, out: &mut String, kind: PluginKind) {
        let start = self.tokens[self.next].at.start;
        let mut name = String::new();
        while let Some((Kind::Name, part)) = self.peek(0) {
            name.push_str(part);
            self.next += 1;
            match (self.peek(0), self.peek(1)) {
                (Some((Kind::Sign, ".")), Some((Kind::Name, _))) => {
                    name.push('.');
                    self.next += 1;
                }
                _ => break,
            }
        }
        let name = ["ansible.builtin.", "ansible.legacy."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(&name);
        out.push_str(name);
        self.plugins.push(Plugin {
            kind,
            name: name.to_owned(),
            at: start..self.tokens[self.next - 1].at.end,
        });
    }

    /// A name, literal or bracket, and everything taken of it.
    fn primary(&mut self, out: &mut String, depth: usize) {
        let first = self.tokens[self.next].clone();
        let word = &self.source[first.at.clone()];
        let mut base = String::new();
        let is_variable = first.kind == Kind::Name && !KEYWORDS.contains(&word);
        if first.kind == Kind::Sign {
            self.bracket(&mut base, depth);
        } else {
            if self.is_value && first.kind == Kind::String && word.contains('\\') {
                base.push_str(&doubled(word));
            } else {
                base.push_str(word);
            }
            self.next += 1;
        }
        // `name=` is an argument's name, not a variable.
        let is_argument = matches!((self.peek(0), self.peek(1)), (Some((Kind::Sign, "=")), next) if next.is_none_or(|(_, word)| word != "="))
            && self.tokens[self.next].at.start == first.at.end;
        if (first.kind == Kind::Name && !is_variable)
            || first.kind == Kind::Number
            || (is_argument && is_variable)
        {
            out.push_str(&base);
            return;
        }
        let mut path = Vec::new();
        let mut is_plain = is_variable;
        let mut end = first.at.end;
        loop {
            let taken = match (self.peek(0), self.peek(1), self.peek(2)) {
                (Some((Kind::Sign, ".")), Some((Kind::Name | Kind::Number, name)), after) => {
                    self.next += 2;
                    if let Some((Kind::Sign, "(")) = after {
                        base.push('.');
                        base.push_str(name);
                        self.bracket(&mut base, depth);
                        is_plain = false;
                    } else if name.bytes().all(|b| b.is_ascii_digit()) {
                        base = format!("({base}|{ITEM}({name}))");
                        is_plain = false;
                    } else {
                        base = format!("({base}|{ATTRIBUTE}('{name}'))");
                        if is_plain {
                            path.push(name.to_owned());
                        }
                    }
                    true
                }
                (Some((Kind::Sign, "[")), ..) if depth < DEPTH => {
                    let mut item = String::new();
                    let is_slice = self.is_slice();
                    self.bracket(&mut item, depth);
                    base = match item
                        .strip_prefix('[')
                        .and_then(|item| item.strip_suffix(']'))
                    {
                        Some(item) if !is_slice => format!("({base}|{ITEM}({item}))"),
                        _ => base + &item,
                    };
                    is_plain = false;
                    true
                }
                (Some((Kind::Sign, "(")), ..) if first.kind == Kind::Name && depth < DEPTH => {
                    self.bracket(&mut base, depth);
                    is_plain = false;
                    true
                }
                _ => false,
            };
            if !taken {
                break;
            }
            if is_plain {
                end = self.tokens[self.next - 1].at.end;
            }
        }
        let is_function = self.source[first.at.end..].trim_start().starts_with('(');
        if is_variable && is_function {
            self.plugins.push(Plugin {
                kind: PluginKind::Function,
                name: word.to_owned(),
                at: first.at.clone(),
            });
        }
        if is_variable && !is_function {
            let is_guarded = match (self.peek(0), self.peek(1)) {
                (Some((Kind::Name, "is")), _) => true,
                (Some((Kind::Sign, "|")), Some((_, filter))) => {
                    filter == "default" || filter == "d"
                }
                _ => false,
            };
            self.chains.push(Chain {
                root: word.to_owned(),
                path,
                at: first.at.start..end,
                is_guarded,
            });
        }
        out.push_str(&base);
    }

    /// From an opening sign to its closing one, with the inside rewritten.
    fn bracket(&mut self, out: &mut String, depth: usize) {
        let open = self.tokens[self.next].clone();
        let close = match &self.source[open.at.clone()] {
            "(" => ")",
            "[" => "]",
            _ => "}",
        };
        out.push_str(&self.source[open.at.clone()]);
        self.next += 1;
        out.push_str(self.gap(open.at.end));
        let end = self.until(out, Some(close), depth + 1).max(open.at.end);
        if self.next < self.tokens.len() {
            out.push_str(if end > open.at.end { self.gap(end) } else { "" });
            out.push_str(close);
            self.next += 1;
        }
    }

    /// `[a:b]`: a colon right inside of the brackets.
    fn is_slice(&self) -> bool {
        let mut depth = 0usize;
        for token in &self.tokens[self.next..] {
            match &self.source[token.at.clone()] {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return false;
                    }
                }
                ":" if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }
}

/// Every backslash twice, but for one before a quote: that one keeps the literal open.
fn doubled(literal: &str) -> String {
    let mut out = String::with_capacity(literal.len() + 4);
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            match chars.peek() {
                Some('\'' | '"') => out.extend(chars.next()),
                Some('\\') => {
                    out.push_str("\\\\\\");
                    chars.next();
                }
                _ => out.push('\\'),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_filters() {
        let cases = [
            ("a", "a"),
            ("a.b.c", "((a|__a('b'))|__a('c'))"),
            ("a['b'].c", "((a|__i('b'))|__a('c'))"),
            ("a[b.c]", "(a|__i((b|__a('c'))))"),
            ("a[1:]", "a[1:]"),
            ("a.b[0] + 1.5", "((a|__a('b'))|__i(0)) + 1.5"),
            ("a.get('x').y", "(a.get('x')|__a('y'))"),
            ("a.b.split(',')[0]", "((a|__a('b')).split(',')|__i(0))"),
            (
                "x is ansible.builtin.version('1', '>')",
                "x is version('1', '>')",
            ),
            (
                "x is not defined and y.z",
                "x is not defined and (y|__a('z'))",
            ),
            (
                "x | ansible.builtin.combine(y.z, recursive=true)",
                "x | combine((y|__a('z')), recursive=true)",
            ),
            (
                "{'a': b.c, d: [e.f]}",
                "{'a': (b|__a('c')), d: [(e|__a('f'))]}",
            ),
            ("'a.b' ~ \"c.d\"", "'a.b' ~ \"c.d\""),
            ("not a.b", "not (a|__a('b'))"),
            ("f(a.b)(1)", "f((a|__a('b')))(1)"),
            ("( a.b )", "( (a|__a('b')) )"),
            ("a == b.c", "a == (b|__a('c'))"),
            ("()", "()"),
            ("x in ['a', 'b']", "x in ['a', 'b']"),
            ("x in (y.z)", "x in ((y|__a('z')))"),
        ];
        for (from, to) in cases {
            assert_eq!(rewrite(from).text, to, "{from}");
        }
    }

    #[test]
    fn chains_know_where_they_stand() {
        let chains = rewrite("a.b.c | default(d) ~ e.f").chains;
        let shown: Vec<_> = chains
            .iter()
            .map(|c| {
                (
                    c.root.as_str(),
                    c.path.join("."),
                    c.at.clone(),
                    c.is_guarded,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "b.c".to_owned(), 0..5, true),
                ("d", String::new(), 16..17, false),
                ("e", "f".to_owned(), 21..24, false)
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_expression_brings_it_down(text in "[ a-cé0-2.,:|(){}\\[\\]'\"\\\\=~-]{0,40}") {
            let _ = rewrite(&text);
        }
    }
}
