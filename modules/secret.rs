//! In: values that must never be shown. Out: text without them. A secret is registered where it enters (vault, a
//! pull secret, an argument named `*_password`), and every reporter, record and error passes through [`Secrets::mask`].

use std::borrow::Cow;
use std::sync::RwLock;

/// What stands where a secret stood.
pub const MASK: &str = "********";

/// Shorter values are not masked one by one: hiding every `a` would hide nothing and break all text.
const SHORTEST: usize = 4;

/// All secrets of a run.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Longest first, so that a secret inside another does not leave the rest of it.
    values: RwLock<Vec<String>>,
}

impl Secrets {
    /// Registers a value and its lines (a multi-line secret shows up line by line).
    pub fn add(&self, value: &str) {
        let Ok(mut values) = self.values.write() else {
            return;
        };
        let whole = value.trim();
        for part in std::iter::once(whole).chain(whole.lines().map(str::trim)) {
            if part.len() >= SHORTEST && !values.iter().any(|known| known == part) {
                values.push(part.to_owned());
                // A secret inside JSON text is escaped.
                let escaped = serde_json::to_string(part).unwrap_or_default();
                let escaped = escaped.trim_matches('"');
                if escaped != part {
                    values.push(escaped.to_owned());
                }
            }
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    /// The text without any registered secret.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Ok(values) = self.values.read() else {
            return Cow::Borrowed(MASK);
        };
        let mut masked = Cow::Borrowed(text);
        for value in values.iter() {
            if masked.contains(value.as_str()) {
                masked = Cow::Owned(masked.replace(value.as_str(), MASK));
            }
        }
        masked
    }

    pub fn is_empty(&self) -> bool {
        self.values.read().is_ok_and(|values| values.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_whole_each_line_and_the_escaped_form() {
        let secrets = Secrets::default();
        secrets.add("first-line\nsecond\"line");
        assert_eq!(secrets.mask("x first-line y"), "x ******** y");
        assert_eq!(
            secrets.mask(r#"{"k":"second\"line"}"#),
            r#"{"k":"********"}"#
        );
        assert_eq!(secrets.mask("nothing here"), "nothing here");
    }

    #[test]
    fn a_longer_secret_goes_first() {
        let secrets = Secrets::default();
        secrets.add("pass");
        secrets.add("password1");
        assert_eq!(secrets.mask("password1"), "********");
    }
}
