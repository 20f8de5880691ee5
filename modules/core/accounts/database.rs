//! In: names of users and groups. Out: what the host's databases say of them, by `getent` (local files, LDAP, SSSD), and
//! from `/etc` where there is no `getent`.

use super::super::host;
use crate::error::ModuleError;
use crate::platform::Platform;

/// A line of `passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Account {
    pub(in crate::core) name: String,
    pub(in crate::core) password: String,
    pub(in crate::core) uid: u32,
    pub(in crate::core) gid: u32,
    pub(in crate::core) comment: String,
    pub(in crate::core) home: String,
    pub(in crate::core) shell: String,
}

/// A line of `group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Group {
    pub(in crate::core) name: String,
    pub(in crate::core) gid: u32,
    pub(in crate::core) members: Vec<String>,
    /// As the database has it.
    pub(super) line: String,
}

/// What of a line of `shadow` is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Shadow {
    /// The hash.
    pub(in crate::core) password: String,
    pub(in crate::core) min: Option<i64>,
    pub(in crate::core) max: Option<i64>,
    pub(in crate::core) warn: Option<i64>,
    pub(in crate::core) inactive: Option<i64>,
    /// Days since 1970.
    pub(in crate::core) expires: Option<i64>,
}

impl Account {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(7, ':').map(str::to_owned);
        let mut next = || parts.next();
        Some(Self {
            name: next()?,
            password: next()?,
            uid: next()?.parse().ok()?,
            gid: next()?.parse().ok()?,
            comment: next()?,
            home: next()?,
            shell: next()?,
        })
    }

    /// As the database has it.
    pub(super) fn line(&self) -> String {
        format!(
            "{}:{}:{}:{}:{}:{}:{}",
            self.name, self.password, self.uid, self.gid, self.comment, self.home, self.shell
        )
    }

    /// The one of this name: databases find numbers, too.
    pub(super) fn find(text: &str, name: &str) -> Option<Self> {
        text.lines()
            .filter_map(Self::parse)
            .find(|account| account.name == name)
    }
}

impl Group {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(4, ':');
        let (name, _, gid) = (parts.next()?, parts.next()?, parts.next()?);
        let members = parts.next().unwrap_or_default().split(',');
        Some(Self {
            name: name.to_owned(),
            gid: gid.parse().ok()?,
            members: members
                .map(str::trim)
                .filter(|member| !member.is_empty())
                .map(str::to_owned)
                .collect(),
            line: line.to_owned(),
        })
    }

    pub(super) fn all(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse).collect()
    }
}

impl Shadow {
    pub(super) fn find(text: &str, name: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let parts: Vec<&str> = line.split(':').collect();
            let number = |at: usize| parts.get(at).and_then(|text| text.parse().ok());
            (parts.first() == Some(&name)).then(|| Self {
                password: parts.get(1).copied().unwrap_or_default().to_owned(),
                min: number(3),
                max: number(4),
                warn: number(5),
                inactive: number(6),
                expires: number(7),
            })
        })
    }
}

/// Words: `local` or nothing, then databases and keys; without a key a whole database. Of `shadow` never more than the
/// line that was asked for leaves the host.
const ASK: &str = r#"LC_ALL=C; export LC_ALL
local=$1; shift
command -v getent >/dev/null 2>&1 || local=local
while [ $# -gt 0 ]; do
d=$1 k=$2; shift 2
if [ -z "$local" ]; then getent "$d" ${k:+"$k"}
elif [ -z "$k" ]; then cat "/etc/$d"
elif [ -r "/etc/$d" ]; then while IFS= read -r l || [ -n "$l" ]; do case $l in "$k":*) printf '%s\n' "$l" ;; esac; done < "/etc/$d"
fi 2>/dev/null
printf '\0'
done; exit 0"#;

/// The answers to questions (a database, and a key or nothing), in order.
pub(super) async fn ask(
    platform: &Platform,
    local: bool,
    questions: &[(&str, &str)],
) -> Result<Vec<String>, ModuleError> {
    let mut words = vec![if local { "local" } else { "" }.to_owned()];
    for (database, key) in questions {
        words.extend([(*database).to_owned(), (*key).to_owned()]);
    }
    let output = host::script(platform, ASK, &words, None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<String> = text.split('\0').map(str::to_owned).collect();
    // One more than there are questions: what is behind the last NUL.
    if output.rc != 0 || answers.len() != questions.len() + 1 {
        return Err(ModuleError::failed(format!(
            "the users and groups of {} cannot be looked at: {}",
            platform.shell()?.place(),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(answers)
}

/// A user of the host.
pub(in crate::core) async fn user(
    platform: &Platform,
    name: &str,
) -> Result<Option<Account>, ModuleError> {
    let answers = ask(platform, false, &[("passwd", name)]).await?;
    Ok(answers.first().and_then(|text| Account::find(text, name)))
}

/// A name that would be read as something else by the tools, or break the databases' lines.
pub(in crate::core) fn check_name(argument: &str, name: &str) -> Result<(), ModuleError> {
    let is_odd =
        |c: char| matches!(c, ':' | ',' | '/' | '\0') || c.is_control() || c.is_whitespace();
    if name.is_empty() || name.starts_with('-') || name.contains(is_odd) {
        return Err(ModuleError::argument(
            argument,
            format!("`{argument}: {name}` is no name of a user or a group"),
        )
        .hint("it may not begin with `-`, nor have spaces, `:`, `,` or `/` in it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::host::testing::ways;
    use super::*;

    #[tokio::test]
    async fn users_are_found_by_name_alone() {
        for platform in ways() {
            let root = user(&platform, "root").await.unwrap().unwrap();
            assert_eq!((root.uid, root.home.as_str()), (0, "/root"));
            assert_eq!(user(&platform, "0").await.unwrap(), None);
            assert_eq!(user(&platform, "no-such-user").await.unwrap(), None);
            let asked = [("group", ""), ("shadow", "root"), ("passwd", ".oot")];
            let answers = ask(&platform, true, &asked).await.unwrap();
            assert!(
                Group::all(&answers[0])
                    .iter()
                    .any(|group| group.name == "root")
            );
            assert!(answers[1].is_empty() || answers[1].lines().count() == 1);
            assert_eq!(answers[2], "");
        }
    }

    #[test]
    fn lines_of_the_databases_are_read() {
        let text = "b:x:1:2:A, B:/home/b:/bin/sh\nbroken\n";
        assert_eq!(Account::find(text, "b").unwrap().comment, "A, B");
        let groups = Group::all("a:x:5:b,c\nd:x:6:\n");
        assert_eq!(groups[0].members, ["b", "c"]);
        assert!(groups[1].members.is_empty());
        let shadow = Shadow::find("b:$6$x:19000:0:99999:7:::\n", "b").unwrap();
        assert_eq!((shadow.max, shadow.expires), (Some(99_999), None));
        for name in ["", "-r", "a:b", "a b", "a\nb"] {
            assert!(check_name("name", name).is_err(), "{name:?}");
        }
    }
}
