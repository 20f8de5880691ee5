//! In: `version` as a playbook writes it. Out: what the repository calls it, and which commit that is.

use super::Args;
use super::program::Git;
use crate::error::{ErrorKind, ModuleError};

/// What the repository calls the version.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The branch that it shows itself; with its name when it says so.
    Head(Option<String>),
    Branch,
    Tag,
    /// Neither: a commit.
    Commit,
}

/// The version, as the repository has it.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(super) target: Target,
    /// The commit, as far as it can be known without fetching it.
    pub(super) commit: String,
}

/// Reads `ls-remote --symref`.
fn target(version: &str, text: &str) -> Option<Remote> {
    let mut head = None;
    let mut refs: Vec<(&str, &str)> = Vec::new();
    for line in text.lines() {
        let Some((left, name)) = line.split_once('\t') else {
            continue;
        };
        match left.strip_prefix("ref: refs/heads/") {
            Some(branch) if name == "HEAD" => head = Some(branch.to_owned()),
            Some(_) => {}
            None => refs.push((name, left)),
        }
    }
    let find = |name: &str| {
        let found = refs.iter().find(|(known, _)| *known == name);
        found.map(|(_, commit)| (*commit).to_owned())
    };
    if version == "HEAD" {
        return find("HEAD").map(|commit| Remote {
            target: Target::Head(head),
            commit,
        });
    }
    if let Some(commit) = find(&format!("refs/heads/{version}")) {
        return Some(Remote {
            target: Target::Branch,
            commit,
        });
    }
    // An annotated tag is an object of its own; behind it is the commit.
    let tag = format!("refs/tags/{version}");
    find(&format!("{tag}^{{}}"))
        .or_else(|| find(&tag))
        .map(|commit| Remote {
            target: Target::Tag,
            commit,
        })
}

impl Args {
    /// Asks the repository for the version.
    pub(super) async fn remote(&self, git: &Git<'_>) -> Result<Remote, ModuleError> {
        let version = &self.version;
        let mut names = vec!["HEAD".to_owned()];
        if version != "HEAD" {
            names.push(format!("refs/heads/{version}"));
            names.push(format!("refs/tags/{version}"));
            names.push(format!("refs/tags/{version}^{{}}"));
        }
        let mut words = vec!["ls-remote", "--symref", "--", git.repo.as_str()];
        words.extend(names.iter().map(String::as_str));
        let text = git.outside(&words).await?;
        if let Some(remote) = target(version, &text) {
            return Ok(remote);
        }
        let is_commit = (4..=64).contains(&version.len())
            && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_commit || self.refspec.is_some() {
            return Ok(Remote {
                target: Target::Commit,
                commit: version.clone(),
            });
        }
        Err(ModuleError::new(
            ErrorKind::NotFound,
            format!(
                "Could not determine remote revision for {version}: `{}` has no such branch or tag",
                git.hidden.mask(&self.repo)
            ),
        )
        .hint("`version` is a branch, a tag, a commit, or `HEAD`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_the_repository_calls_it() {
        let text = "ref: refs/heads/main\tHEAD\na1\tHEAD\nb2\trefs/heads/x\nc3\trefs/tags/v1\nd4\trefs/tags/v1^{}\ne5\trefs/tags/light\n";
        let of = |version: &str| target(version, text).map(|found| (found.target, found.commit));
        let head = Target::Head(Some("main".to_owned()));
        assert_eq!(of("HEAD"), Some((head, "a1".to_owned())));
        assert_eq!(of("x"), Some((Target::Branch, "b2".to_owned())));
        assert_eq!(of("v1"), Some((Target::Tag, "d4".to_owned())));
        assert_eq!(of("light"), Some((Target::Tag, "e5".to_owned())));
        assert_eq!(of("none"), None);
    }
}
