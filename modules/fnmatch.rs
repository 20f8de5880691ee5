//! Names as shell patterns, as Python's `fnmatch` has them. In: a pattern with `*`, `?`, `[a-z]`, `[!a]`. Out: a matcher.
//! Braces and backslashes are signs like any other, and so is a bracket that is never closed.

use globset::{GlobBuilder, GlobMatcher};

/// The matcher of a pattern; what is wrong with it, if anything is.
pub fn compile(pattern: &str) -> Result<GlobMatcher, String> {
    let mut glob = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '[' => class(rest),
            _ => None,
        };
        let (piece, behind) = rest.split_at(length.unwrap_or(c.len_utf8()));
        match c {
            // Here `^` is a sign, and `!` says not.
            '[' if length.is_some() => match piece.strip_prefix("[^") {
                Some(rest) => glob.push_str(&format!("[{}^]", rest.trim_end_matches(']'))),
                None => glob.push_str(piece),
            },
            '[' | '{' | '}' | '\\' => glob.push_str(&format!("[{c}]")),
            // Two stars are one.
            '*' if glob.ends_with('*') => {}
            _ => glob.push(c),
        }
        rest = behind;
    }
    GlobBuilder::new(&glob)
        .backslash_escape(false)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|problem| problem.kind().to_string())
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
