//! `apt`: packages of Debian. In: names and a state; out: what `apt-get` did. It plays everything through first (`-s`), which
//! says what would change.

mod args;

pub use args::Args;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::super::host;
use super::{Said, missing_manager, run, shown};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use args::There;

/// Packages of Debian.
pub struct Apt;

/// Words: seconds that what is known of repositories may be old, then names. First when it was read, and whether that is
/// too old; then a letter for each name.
const LOOK: &str = r#"LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 || exit 90
eval "$(apt-config shell lists Dir::State::lists/d 2>/dev/null)"; lists=${lists:-/var/lib/apt/lists/}
read_at=0; [ -d "$lists" ] && read_at=$(stat -c %Y -- "$lists")
[ $(($(date +%s) - read_at)) -ge "$1" ] && old=old || old=new; shift
printf '%s %s\n' "$read_at" "$old"
for n; do
case $n in *=*) v=${n#*=} n=${n%%=*} ;; *) v= ;; esac
s=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$n" 2>/dev/null | sort | tail -n 1)
case $s in
"installed "*) if [ -z "$v" ]; then echo i; else case ${s#* } in $v) echo i ;; *) echo a ;; esac; fi ;;
"config-files "*) echo c ;;
*) echo a ;;
esac
done"#;

struct Seen {
    read_at: i64,
    is_old: bool,
    there: Vec<There>,
}

async fn look(args: &Args, names: &[String], platform: &Platform) -> Result<Seen, ModuleError> {
    let mut words = vec![args.cache_valid_time.to_string()];
    words.extend_from_slice(names);
    let output = host::script(platform, LOOK, &words, None).await?;
    if output.rc == 90 {
        return Err(missing_manager(&platform.shell()?.place(), "apt-get"));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (read_at, old) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .unwrap_or(("0", "old"));
    let there: Vec<There> = lines
        .map(|line| match line {
            "i" => There::Installed,
            "c" => There::Configured,
            _ => There::Absent,
        })
        .collect();
    if there.len() != names.len() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ModuleError::failed(format!(
            "`dpkg` cannot be asked: {}",
            said.trim()
        )));
    }
    Ok(Seen {
        read_at: read_at.parse().unwrap_or_default(),
        is_old: old == "old",
        there,
    })
}

/// What `apt-get -s` says it would do: a package, its version before, its version after.
fn transaction(text: &str) -> Vec<FieldChange> {
    let bare = |word: &&str| word.trim_matches(['[', ']', '(', ')']).to_owned();
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [verb @ ("Inst" | "Remv" | "Purg"), name, rest @ ..] = words.as_slice() else {
                return None;
            };
            let before = rest.first().filter(|word| word.starts_with('['));
            let after = rest
                .iter()
                .find(|word| *verb == "Inst" && word.starts_with('('));
            Some(FieldChange::new(name, before.map(bare), after.map(bare)))
        })
        .collect()
}

/// What `inspect` saw and chose.
#[derive(Default)]
pub struct Work {
    updates: bool,
    command: Vec<String>,
    /// `clean` and `autoclean`.
    cleans: Vec<String>,
    read_at: i64,
    /// What is to be done is known only when the repositories were read.
    replans: bool,
}

fn apt_get(args: &Args, words: &[String], simulated: bool) -> Vec<String> {
    let mut all = vec!["apt-get".to_owned()];
    all.extend(args.options());
    all.extend(simulated.then(|| "-s".to_owned()));
    all.extend_from_slice(words);
    all
}

fn failed(said: &Said) -> ModuleError {
    let missing = said.stderr.lines().find_map(|line| {
        let name = line.split_once("Unable to locate package ")?.1;
        Some(format!(
            "No package matching '{}' is available",
            name.trim()
        ))
    });
    match missing {
        Some(message) => ModuleError::new(ErrorKind::NotFound, message)
            .hint("is the name right? `update_cache: true` reads the repositories first")
            .with("rc", said.rc)
            .with("stderr", said.stderr.as_str()),
        None => said.error("apt-get", "the packages cannot be as they should"),
    }
}

/// What the command would change.
async fn rehearse(
    args: &Args,
    command: &[String],
    platform: &Platform,
) -> Result<(Vec<FieldChange>, Said), ModuleError> {
    let said = Said::from(run(platform, &apt_get(args, command, true)).await?);
    if said.rc != 0 {
        return Err(failed(&said));
    }
    let mut fields = transaction(&said.stdout);
    // Configuration that is left is purged without a line of its own.
    if command.first().is_some_and(|verb| verb == "purge") && fields.is_empty() {
        fields.push(FieldChange::new(
            "purged",
            Value::Null,
            shown(command.get(1..).unwrap_or_default()),
        ));
    }
    Ok((fields, said))
}

fn result(said: Option<&Said>, updated: bool, read_at: i64) -> Value {
    let mut result = Map::from_iter([
        ("cache_updated".to_owned(), json!(updated)),
        ("cache_update_time".to_owned(), json!(read_at)),
    ]);
    if let Some(said) = said {
        result.insert("stdout".to_owned(), json!(said.stdout));
        result.insert("stderr".to_owned(), json!(said.stderr));
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        result.insert("stdout_lines".to_owned(), json!(lines(&said.stdout)));
        result.insert("stderr_lines".to_owned(), json!(lines(&said.stderr)));
    }
    Value::Object(result)
}

pub(super) async fn inspect(args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
    let names = args.check()?;
    let seen = look(args, &names, platform).await?;
    let updates = (args.update_cache || args.cache_valid_time > 0) && seen.is_old;
    let cleans = [("clean", args.clean), ("autoclean", args.autoclean)];
    let cleans = cleans
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(verb, _)| (*verb).to_owned())
        .collect();
    let mut work = Work {
        updates,
        command: args.plan(&names, &seen.there).unwrap_or_default(),
        cleans,
        read_at: seen.read_at,
        replans: updates,
    };
    let mut fields = Vec::new();
    let mut told = None;
    if !work.command.is_empty() {
        match rehearse(args, &work.command, platform).await {
            Ok((would, said)) => {
                if would.is_empty() {
                    work.command.clear();
                }
                fields = would;
                told = Some(said);
            }
            Err(_) if updates => {
                return Ok(Change::Unknown {
                    message:
                        "what would be installed is known when the repositories have been read"
                            .to_owned(),
                    work,
                });
            }
            Err(problem) => return Err(problem),
        }
    }
    // To have read repositories is a change only where nothing else was asked for, as in Ansible.
    if updates && args.only_updates() {
        fields.push(FieldChange::new("cache_update_time", seen.read_at, "now"));
    }
    let said = told.as_ref();
    if work.command.is_empty() && !updates && work.cleans.is_empty() {
        return Ok(Change::None(Outcome::unchanged(result(
            said,
            false,
            seen.read_at,
        ))));
    }
    let preview = result(said, false, seen.read_at);
    Ok(Change::Some {
        preview: if fields.is_empty() {
            Outcome::unchanged(preview)
        } else {
            Outcome::changed(preview)
        },
        fields,
        diff: Vec::new(),
        work,
    })
}

pub(super) async fn apply(
    args: &Args,
    mut work: Work,
    platform: &Platform,
) -> Result<Outcome, ModuleError> {
    let mut read_at = work.read_at;
    let mut is_changed = false;
    if work.updates {
        platform.status("apt-get update");
        let said = Said::from(run(platform, &apt_get(args, &["update".to_owned()], false)).await?);
        // A repository that cannot be reached is only a warning of `apt-get`, with status 0.
        if said.rc != 0 {
            return Err(said.error("apt-get", "Failed to update apt cache"));
        }
        is_changed = args.only_updates();
    }
    let mut told = None;
    if work.replans {
        let names = args.check()?;
        let seen = look(args, &names, platform).await?;
        read_at = seen.read_at;
        work.command = args.plan(&names, &seen.there).unwrap_or_default();
        if !work.command.is_empty() && rehearse(args, &work.command, platform).await?.0.is_empty() {
            work.command.clear();
        }
    }
    let commands = [work.command]
        .into_iter()
        .chain(work.cleans.into_iter().map(|verb| vec![verb]));
    for command in commands.filter(|command| !command.is_empty()) {
        platform.status(format!("apt-get {}", command.join(" ")));
        let said = Said::from(run(platform, &apt_get(args, &command, false)).await?);
        if said.rc != 0 {
            return Err(failed(&said));
        }
        let is_clean = matches!(
            command.first().map(String::as_str),
            Some("clean" | "autoclean")
        );
        is_changed |= !is_clean;
        if told.is_none() || !is_clean {
            told = Some(said);
        }
    }
    let result = result(told.as_ref(), work.updates, read_at);
    Ok(if is_changed {
        Outcome::changed(result)
    } else {
        Outcome::unchanged(result)
    })
}

#[async_trait]
impl Module for Apt {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "apt";
    const SUMMARY: &'static str = "Installs, updates and removes packages with apt-get";
    const EXAMPLES: &'static str = "- apt: {name: [chrony, tcpdump], update_cache: true, cache_valid_time: 3600}\n- apt: {name: nginx=1.22*, state: present}\n- apt: {upgrade: dist}\n- apt: {name: telnet, state: absent, purge: true}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        inspect(args, platform).await
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        apply(args, work, platform).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_read() {
        let text = "NOTE: This is only a simulation!\nInst a [1.0] (2.0 Debian:12 [amd64])\nInst b (3 Debian:12 [amd64])\nConf b (3 Debian:12 [amd64])\nRemv c [4]\n";
        let fields = transaction(text);
        let shown: Vec<(&str, &Value, &Value)> = fields
            .iter()
            .map(|field| (field.field.as_str(), &field.before, &field.after))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", &json!("1.0"), &json!("2.0")),
                ("b", &Value::Null, &json!("3")),
                ("c", &json!("4"), &Value::Null)
            ]
        );
    }
}
