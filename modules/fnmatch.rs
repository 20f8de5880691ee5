//! Names as shell patterns, as Python's `fnmatch` has them. In: a pattern with `*`, `?`, `[a-z]`, `[!a]`. Out: a matcher.
//! Braces and backslashes are signs like any other, and so is a bracket that is never closed.

use fancy_regex::Regex;

/// A pattern, ready to be asked.
#[derive(Debug, Clone)]
pub struct Matcher(Regex);

impl Matcher {
    /// True when the whole name is as the pattern says.
    pub fn is_match(&self, name: impl AsRef<str>) -> bool {
        // No pattern of a shell can make the engine give up: it has neither look-around nor references.
        self.0.is_match(name.as_ref()).unwrap_or(false)
    }
}

/// The matcher of a pattern; what is wrong with it, if anything is.
pub fn compile(pattern: &str) -> Result<Matcher, String> {
    let mut regex = String::from("(?s)\\A(?:");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '[' => class(rest),
            _ => None,
        };
        let (piece, behind) = rest.split_at(length.unwrap_or(c.len_utf8()));
        match (c, length) {
            ('[', Some(length)) => {
                let inside = &piece[1..length - 1];
                let (not, inside) = match inside.strip_prefix('!') {
                    Some(inside) => ("^", inside),
                    None => ("", inside),
                };
                regex.push_str(&format!("[{not}"));
                for c in inside.chars() {
                    // All but a range's sign are signs like any other.
                    if c != '-' && c.is_ascii_punctuation() {
                        regex.push('\\');
                    }
                    regex.push(c);
                }
                regex.push(']');
            }
            ('*', _) => regex.push_str(".*"),
            ('?', _) => regex.push('.'),
            _ => regex.push_str(&fancy_regex::escape(piece)),
        }
        rest = behind;
    }
    regex.push_str(")\\z");
    Regex::new(&regex)
        .map(Matcher)
        .map_err(|problem| problem.to_string())
}

/// The length of a class with its brackets; a bracket at its start belongs to it.
fn class(text: &str) -> Option<usize> {
    let start = if text[1..].starts_with('!') { 2 } else { 1 };
    let first = usize::from(text[start..].starts_with(']'));
    text[start + first..]
        .find(']')
        .map(|end| start + first + end + 1)
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn as_python_does() {
        for (pattern, name, wanted) in [
            ("*.log", ".log", true),
            ("a**b", "a/b", true),
            ("[ab]?", "bc", true),
            ("[!ab]", "b", false),
            ("[!]]", "]", false),
            ("[]x]", "]", true),
            ("w[1", "w[1", true),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
            ("a\\*", "a\\b", true),
            ("[{]", "{", true),
            ("[^a]", "^", true),
            ("[^a]", "b", false),
            ("é?", "éü", true),
        ] {
            let found = compile(pattern).unwrap().is_match(name);
            assert_eq!(found, wanted, "{pattern} {name}");
        }
    }
}
