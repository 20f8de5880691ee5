//! In: templates and text as written. Out: the names of facts that they can read, or that these cannot be known before
//! the run. It rather takes a name too many than one too few.

use std::collections::BTreeSet;

/// Facts that a run can read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactNames {
    /// With `ansible_` where a playbook writes it (`ansible_kernel`), without below `ansible_facts`.
    pub names: BTreeSet<String>,
    /// Something reads facts by names that only the run knows.
    pub is_open: bool,
}

/// Lookups that read no variables but their arguments.
const CLOSED: &[&str] = &[
    "config",
    "csvfile",
    "dict",
    "env",
    "file",
    "fileglob",
    "first_found",
    "indexed_items",
    "ini",
    "inventory_hostnames",
    "items",
    "lines",
    "list",
    "nested",
    "password",
    "pipe",
    "random_choice",
    "sequence",
    "subelements",
    "together",
    "unvault",
    "url",
];

/// One step from a mapping.
enum Step<'t> {
    Name(&'t str, &'t str),
    Open,
}

impl FactNames {
    /// A template, an expression, or a whole file of templates.
    pub fn template(&mut self, text: &str) {
        self.scan(text, true);
    }

    /// Text that is no template, but may be read as an expression (`var` of debug), or hold a name.
    pub fn data(&mut self, text: &str) {
        if matches!(text.trim(), "vars" | "hostvars") {
            self.is_open = true;
        }
        self.scan(text, false);
    }

    /// A lookup that is called by its name.
    pub fn lookup(&mut self, name: &str) {
        let name = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        self.is_open |= !CLOSED.contains(&name);
    }

    pub fn extend(&mut self, other: Self) {
        self.names.extend(other.names);
        self.is_open |= other.is_open;
    }

    fn scan(&mut self, text: &str, is_template: bool) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let mut rest = text;
        while let Some(start) = rest.find(is_name) {
            let from = &rest[start..];
            let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            match word {
                "ansible_facts" => {
                    // `x['ansible_facts']`: what is taken of it stands behind the bracket.
                    let is_quoted = rest[..start].ends_with(['\'', '"']);
                    let bracket = after.find(']').filter(|at| is_quoted && *at < 3);
                    self.fact(bracket.map_or(after, |at| &after[at + 1..]));
                }
                "hostvars" => self.of_host(after),
                "vars" if is_template => self.variable(after),
                "lookup" | "query" | "q" if is_template => {
                    if let Some(inner) = after.trim_start().strip_prefix('(') {
                        match quoted(inner) {
                            Some((name, _)) => self.lookup(name),
                            None => self.is_open = true,
                        }
                    }
                }
                "include" | "import" | "extends" | "from"
                    if is_template && rest[..start].trim_end().ends_with(['%', '-', '+']) =>
                {
                    self.is_open = true;
                }
                // A name is put together.
                "ansible_" => self.is_open = true,
                word if word.starts_with("ansible_") => {
                    self.names.insert(word.to_owned());
                }
                _ => {}
            }
            rest = after;
        }
    }

    /// Behind `ansible_facts`.
    fn fact(&mut self, after: &str) {
        match step(after) {
            Step::Name(name, _) => {
                self.names.insert(name.to_owned());
            }
            Step::Open => self.is_open = true,
        }
    }

    /// Behind `vars`, or behind a host.
    fn variable(&mut self, after: &str) {
        match step(after) {
            Step::Name("ansible_facts", after) => self.fact(after),
            Step::Name(name, _) => {
                if name.starts_with("ansible_") {
                    self.names.insert(name.to_owned());
                }
            }
            Step::Open => self.is_open = true,
        }
    }

    /// Behind `hostvars`: a host, then a name.
    fn of_host(&mut self, after: &str) {
        let text = after.trim_start();
        let host = match text.chars().next() {
            Some('[') => closing(text).map(|end| &text[end..]),
            Some('.') => match step(text) {
                Step::Name(_, after) => Some(after),
                Step::Open => None,
            },
            _ => None,
        };
        match host {
            Some(after) => self.variable(after),
            None => self.is_open = true,
        }
    }
}

/// `.name`, `['name']`, `.get('name'`, and what stands behind it.
fn step(text: &str) -> Step<'_> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('[') {
        return match quoted(inner) {
            Some((name, after)) => match after.trim_start().strip_prefix(']') {
                Some(after) => Step::Name(name, after),
                None => Step::Open,
            },
            None => Step::Open,
        };
    }
    let Some(inner) = text.strip_prefix('.') else {
        return Step::Open;
    };
    let end = inner
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    match (name, after.trim_start().strip_prefix('(')) {
        ("", _) => Step::Open,
        (_, None) => Step::Name(name, after),
        ("get", Some(arguments)) => match quoted(arguments) {
            Some((name, after)) if after.trim_start().starts_with([',', ')']) => {
                Step::Name(name, "")
            }
            _ => Step::Open,
        },
        (_, Some(_)) => Step::Open,
    }
}

/// A text in quotes at the start, and what stands behind it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// Where the bracket at the start ends.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) => quote = Some(open).filter(|open| *open != c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 1 => return Some(at + 1),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        let mut facts = FactNames::default();
        facts.template(text);
        (!facts.is_open).then(|| facts.names.into_iter().collect())
    }

    #[test]
    fn names_are_seen_however_they_are_written() {
        for (text, wanted) in [
            ("plain text, no {{ variable }}", &[][..]),
            (
                "don't {{ ansible_kernel | default('x') }}",
                &["ansible_kernel"],
            ),
            ("{{ ansible_facts.kernel }}", &["kernel"]),
            ("{{ ansible_facts['kernel'].x }}", &["kernel"]),
            ("{{ ansible_facts [ \"kernel\" ] }}", &["kernel"]),
            ("{{ ansible_facts.get('kernel', '') }}", &["kernel"]),
            ("{{ hostvars['a'].ansible_kernel }}", &["ansible_kernel"]),
            (
                "{{ hostvars[groups['x'][0]].ansible_facts.kernel }}",
                &["kernel"],
            ),
            ("{{ hostvars.a['ansible_facts']['kernel'] }}", &["kernel"]),
            ("{{ hostvars[x].y }}", &[]),
            ("{{ vars['ansible_kernel'] }}", &["ansible_kernel"]),
            ("{{ lookup('env', 'HOME') }}", &[]),
        ] {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            assert_eq!(names(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_open() {
        for text in [
            "{{ ansible_facts }}",
            "{{ ansible_facts | dict2items }}",
            "{{ ansible_facts[x] }}",
            "{{ ansible_facts['a' ~ b] }}",
            "{{ ansible_facts.keys() }}",
            "{{ hostvars }}",
            "{{ hostvars[x] }}",
            "{{ hostvars[x][y] }}",
            "{{ hostvars.values() }}",
            "{{ groups.all | map('extract', hostvars, 'ansible_kernel') }}",
            "{{ vars }}",
            "{{ vars['ansible_' ~ x] }}",
            "{{ lookup('vars', x) }}",
            "{{ query(x) }}",
            "{% include 'x' %}",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }

    #[test]
    fn plain_text_may_be_an_expression() {
        let mut facts = FactNames::default();
        facts.data("ansible_facts.kernel == 'x' and the vars of it");
        assert_eq!((facts.names.len(), facts.is_open), (1, false));
        facts.data("hostvars");
        assert!(facts.is_open);
    }
}
