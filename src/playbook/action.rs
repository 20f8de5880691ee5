//! In: what stands behind a module's name (`module: {..}`, `module: a=1 b="x y"`, free text). Out: one form of arguments.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::Span;
use crate::template::{Lazy, TemplateText, is_template};
use crate::yaml::{Node, NodeKind};

/// Arguments as written.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    pub named: IndexMap<Arc<str>, Lazy>,
    /// Text that is no `key=value`: the command of `command`, the file of `include_tasks`.
    pub free: Option<Lazy>,
    /// `args:` as one template, or the whole of the arguments as one.
    pub whole: Vec<Lazy>,
    /// Where each argument stands, for errors that point at it.
    pub places: IndexMap<Arc<str>, Span>,
}

/// Words of `command` and `shell` that are arguments even inside of free text.
const COMMAND_WORDS: &[&str] = &[
    "creates",
    "removes",
    "chdir",
    "executable",
    "warn",
    "stdin",
    "stdin_add_newline",
    "strip_empty_ends",
    "argv",
    "expand_argument_vars",
];

impl Arguments {
    /// From the value behind a module's name. `is_free` when the module takes free text.
    pub(super) fn from_node(node: &Node, is_free: bool, problems: &mut Diagnostics) -> Self {
        let mut arguments = Self::default();
        match &node.kind {
            NodeKind::Mapping(mapping) => {
                for (name, value) in mapping.iter() {
                    arguments.add(name, value);
                }
            }
            NodeKind::Scalar(scalar) if !node.is_null() => {
                let text = TemplateText::from_scalar(node, &scalar.text);
                arguments.add_text(&text, is_free, problems);
            }
            NodeKind::Scalar(_) => {}
            NodeKind::Sequence(_) => problems.push(
                Diagnostic::error(
                    Code::WRONG_SHAPE,
                    "a module's arguments are a mapping or text, not a list",
                )
                .at(&node.span, ""),
            ),
        }
        arguments
    }

    fn add(&mut self, name: &Node, value: &Node) {
        let key: Arc<str> = Arc::from(name.as_str().unwrap_or_default());
        self.places.insert(Arc::clone(&key), name.span.clone());
        if &*key == "_raw_params" {
            self.free = Some(Lazy::from_node(value));
        } else {
            self.named.insert(key, Lazy::from_node(value));
        }
    }

    /// `args:` of a task: weaker than what stands behind the module's name.
    pub(super) fn add_args(&mut self, node: &Node) {
        let Some(mapping) = node.as_mapping() else {
            if !node.is_null() {
                self.whole.push(Lazy::from_node(node));
            }
            return;
        };
        for (name, value) in mapping.iter() {
            let key = name.as_str().unwrap_or_default();
            if !self.named.contains_key(key) {
                self.add(name, value);
            }
        }
    }

    fn add_text(&mut self, text: &TemplateText, is_free: bool, problems: &mut Diagnostics) {
        let whole = text.text.trim();
        // One template for all arguments; with anything beside it it is words.
        if !is_free && whole.starts_with("{{") && whole.ends_with("}}") && !whole.contains('=') {
            self.whole.push(Lazy::Template(Arc::new(text.clone())));
            return;
        }
        let (named, free) = match parse_words(whole, is_free) {
            Ok(parts) => parts,
            Err(message) => {
                problems.push(Diagnostic::error(Code::WRONG_SHAPE, message).at(&text.span, ""));
                return;
            }
        };
        for (name, value) in named {
            let key: Arc<str> = Arc::from(name);
            self.places.insert(Arc::clone(&key), text.span.clone());
            self.named.insert(key, lazy(&value, text));
        }
        if !free.is_empty() {
            if is_free {
                self.free = Some(lazy(&free, text));
            } else {
                problems.push(
                    Diagnostic::error(
                        Code::WRONG_SHAPE,
                        format!("`{free}` is no argument: this module takes no free text"),
                    )
                    .at(&text.span, "")
                    .help("write `key=value`, or a mapping below the module's name"),
                );
            }
        }
    }
}

fn lazy(text: &str, of: &TemplateText) -> Lazy {
    if !is_template(text) {
        return Lazy::Data(minijinja::Value::from(text));
    }
    let text: Arc<str> = Arc::from(text);
    let offset = of.span.text().find(&*text);
    Lazy::Template(Arc::new(TemplateText {
        text,
        span: of.span.clone(),
        offset,
    }))
}

/// The `key=value` words of a text, and the rest of it. For free text (`command`) only known words are taken out, and
/// the rest keeps its quotes and spaces.
pub fn parse_words(text: &str, is_free: bool) -> Result<(Vec<(String, String)>, String), String> {
    let mut named = Vec::new();
    let mut free: Vec<&str> = Vec::new();
    for word in words(text)? {
        let key = word
            .split_once('=')
            .filter(|(key, _)| super::keywords::is_name(key))
            .filter(|(key, _)| !is_free || COMMAND_WORDS.contains(key));
        match key {
            Some((key, value)) => named.push((key.to_owned(), unquote(&decoded(value)))),
            None => free.push(word),
        }
    }
    let rest = if named.is_empty() && is_free {
        text.to_owned()
    } else {
        free.join(" ")
    };
    Ok((named, rest))
}

/// Splits at spaces outside of quotes and templates; the pieces keep their quotes.
fn words(text: &str) -> Result<Vec<&str>, String> {
    let mut found = Vec::new();
    let (mut start, mut quote, mut depth) = (None, None, 0_usize);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        if start.is_none() && !c.is_whitespace() {
            start = Some(at);
        }
        match (quote, c) {
            (_, '{') if matches!(next, Some('{' | '%' | '#')) => {
                depth += 1;
                chars.next();
            }
            (_, '}' | '%' | '#') if depth > 0 && next == Some('}') => {
                depth -= 1;
                chars.next();
            }
            (_, _) if depth > 0 => {}
            (_, '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => {
                if let Some(start) = start.take() {
                    found.push(&text[start..at]);
                }
            }
            _ => {}
        }
    }
    if quote.is_some() {
        return Err("a quote is opened and never closed".to_owned());
    }
    if depth > 0 {
        return Err("a template is opened and never closed".to_owned());
    }
    if let Some(start) = start {
        found.push(&text[start..]);
    }
    Ok(found)
}

/// The escapes that Ansible reads in `key=value`: `\n`, `\"`, `\x41`, `\u00fc`. Others (`\d`, `\1`) stay as they are typed.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let code = |digits: usize| {
            let hex = rest.get(2..2 + digits)?;
            char::from_u32(u32::from_str_radix(hex, 16).ok()?).map(|c| (c, 2 + digits))
        };
        let plain = |c: char| Some((c, 2));
        let found = match rest.chars().nth(1) {
            Some(c @ ('\\' | '\'' | '"')) => plain(c),
            Some('a') => plain('\u{7}'),
            Some('b') => plain('\u{8}'),
            Some('f') => plain('\u{c}'),
            Some('n') => plain('\n'),
            Some('r') => plain('\r'),
            Some('t') => plain('\t'),
            Some('v') => plain('\u{b}'),
            Some('x') => code(2),
            Some('u') => code(4),
            Some('U') => code(8),
            _ => None,
        };
        if let Some((c, length)) = found {
            out.push(c);
            rest = &rest[length..];
        } else {
            out.push('\\');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn unquote(text: &str) -> String {
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    match inner {
        Some(inner) => inner.to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_words;

    #[test]
    fn words_and_free_text() {
        let (named, free) = parse_words("msg=\"a b\" x={{ y | d('a b') }} z='q'", false).unwrap();
        let shown: Vec<String> = named.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        assert_eq!(shown, ["msg:a b", "x:{{ y | d('a b') }}", "z:q"]);
        assert!(free.is_empty());
        let (named, free) = parse_words("echo  a=b 'c  d' chdir=/tmp", true).unwrap();
        assert_eq!((named.len(), free.as_str()), (1, "echo a=b 'c  d'"));
        let (named, free) = parse_words("echo  a=b 'c  d'", true).unwrap();
        assert_eq!((named.len(), free.as_str()), (0, "echo  a=b 'c  d'"));
        assert!(parse_words("msg='open", false).is_err());
    }

    #[test]
    fn escapes_in_words_are_those_of_ansible() {
        for (text, value) in [
            (r#"x="a\\nb""#, "a\\nb"),
            (r#"x="a\nb\t""#, "a\nb\t"),
            (r#"x="say \"hi\"""#, "say \"hi\""),
            (r"x='^\d+\.\1$'", r"^\d+\.\1$"),
            (r"x=\x41\u00fc\xzz", r"Aü\xzz"),
        ] {
            let (named, _) = parse_words(text, false).unwrap();
            assert_eq!(named[0].1, value, "{text}");
        }
    }
}
