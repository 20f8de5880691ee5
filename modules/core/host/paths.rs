//! In: a path as a playbook writes it. Out: the path on the host: `~`, `~user` and `$NAME` expanded as Ansible does for
//! arguments that are paths. Most paths have none of these and cost nothing.

use crate::error::ModuleError;
use crate::platform::Platform;

/// The last part of a path.
pub(in crate::core) fn name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

/// The folder that a path is in.
pub(in crate::core) fn parent(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((head, _)) if head.trim_end_matches('/').is_empty() => "/".to_owned(),
        Some((head, _)) => head.trim_end_matches('/').to_owned(),
        None => ".".to_owned(),
    }
}

/// Python's `os.path.join`.
pub(in crate::core) fn join(dir: &str, name: &str) -> String {
    if name.starts_with('/') || dir.is_empty() {
        name.to_owned()
    } else if dir.ends_with('/') {
        format!("{dir}{name}")
    } else {
        format!("{dir}/{name}")
    }
}

/// A piece of a path: text, or the name of a variable with the text that stands for it.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, written: &'a str },
}

fn pieces(path: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut rest = path;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        let after = from.get(1..).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, length) = if let Some(inner) = after.strip_prefix('{') {
            match inner.split_once('}') {
                Some((name, _)) => (name, name.len() + 3),
                None => ("", 1),
            }
        } else {
            let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
            let name = after.get(..end).unwrap_or_default();
            (name, name.len() + 1)
        };
        let (written, next) = from.split_at_checked(length).unwrap_or((from, ""));
        all.push(Piece::Text(before));
        let is_name = !name.is_empty()
            && name.chars().all(is_word)
            && !name.starts_with(|c: char| c.is_ascii_digit());
        all.push(if is_name {
            Piece::Variable { name, written }
        } else {
            Piece::Text(written)
        });
        rest = next;
    }
    all.push(Piece::Text(rest));
    all
}

/// Prints the home folder of each `~user`, then each variable with `=` before it when it is set.
const ASK: &str = r#"for word; do case $word in
"~") printf '=%s\0' "${HOME:-$(cd ~ && pwd)}" ;;
"~"*) h=$(getent passwd "${word#?}" 2>/dev/null || grep "^${word#?}:" /etc/passwd) && h=$(printf %s "$h" | cut -d: -f6) && printf '=%s\0' "$h" || printf '\0' ;;
*) env | while IFS= read -r line; do case $line in "$word="*) printf '=%s' "${line#*=}"; break ;; esac; done; printf '\0' ;;
esac; done"#;

/// Expands a path on the host.
pub(in crate::core) async fn expand(
    platform: &Platform,
    path: &str,
) -> Result<String, ModuleError> {
    if path.contains('\0') {
        return Err(ModuleError::argument(
            "path",
            "a path has a NUL character in it",
        ));
    }
    if !path.starts_with('~') && !path.contains('$') {
        return Ok(path.to_owned());
    }
    let (home, rest) = if path.starts_with('~') {
        path.split_at(path.find('/').unwrap_or(path.len()))
    } else {
        ("", path)
    };
    let is_user = home
        .chars()
        .skip(1)
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let (home, rest) = if is_user { (home, rest) } else { ("", path) };
    let pieces = pieces(rest);
    let mut questions: Vec<String> = Vec::new();
    if !home.is_empty() {
        questions.push(home.to_owned());
    }
    for piece in &pieces {
        if let Piece::Variable { name, .. } = piece {
            questions.push((*name).to_owned());
        }
    }
    let output = super::script(platform, ASK, &questions, None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut answers = text.split('\0').map(|answer| answer.strip_prefix('='));
    let mut expanded = String::new();
    if !home.is_empty() {
        expanded.push_str(answers.next().flatten().unwrap_or(home));
    }
    for piece in pieces {
        expanded.push_str(match piece {
            Piece::Text(text) => text,
            Piece::Variable { written, .. } => answers.next().flatten().unwrap_or(written),
        });
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{busybox, here, posix};
    use super::*;

    #[test]
    fn parts_of_paths_are_those_of_a_shell() {
        for (path, dir, last) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a", "/", "a"),
            ("a", ".", "a"),
            ("a//b", "a", "b"),
        ] {
            assert_eq!((parent(path).as_str(), name(path)), (dir, last), "{path}");
        }
        assert_eq!(join("/a/", "b"), "/a/b");
        assert_eq!(join("/a", "/b"), "/b");
    }

    #[tokio::test]
    async fn homes_and_variables_are_those_of_the_host() {
        for platform in [here(), posix(), busybox()] {
            for (path, wanted) in [
                ("/plain path", "/plain path".to_owned()),
                ("~/x", format!("{}/x", std::env::var("HOME").unwrap())),
                ("~root/x", "/root/x".to_owned()),
                ("~no-such-user/x", "~no-such-user/x".to_owned()),
                ("~$(id)/x", "~$(id)/x".to_owned()),
                (
                    "/a/$PATH_OF_TEST/${PATH_OF_TEST}b/$NO_SUCH",
                    "/a/v w/v wb/$NO_SUCH".to_owned(),
                ),
                ("/a/$", "/a/$".to_owned()),
                ("/a/${b", "/a/${b".to_owned()),
            ] {
                assert_eq!(expand(&platform, path).await.unwrap(), wanted, "{path}");
            }
        }
    }
}
