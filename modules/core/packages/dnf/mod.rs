//! `dnf`, also as `yum` and `dnf5`: packages of RPM. In: names and a state; out: what was installed and removed, as the RPM
//! database has it before and after. What is there already is asked of `rpm`; for all else the manager plays the
//! transaction through (`--assumeno`).

mod args;

pub use args::Args;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::super::host;
use super::{Said, image_based, missing_manager, run, shown};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use args::Backend;

/// Packages of RPM.
pub struct Dnf;

/// Words: another root or nothing, the wanted program or nothing, then names. Says which program there is, whether the host
/// is an image, and of each name whether it is installed.
const LOOK: &str = r#"LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
root=$1; m=; for p in $2; do if command -v "$p" >/dev/null 2>&1; then m=$p; break; fi; done
if [ -e /run/ostree-booted ]; then o=image; else o=; fi
shift 2
printf '%s\n%s\n' "$m" "$o"
command -v rpm >/dev/null 2>&1 || exit 90
for n; do
case $n in
*[*?[]*) [ -n "$(rpm ${root:+--root "$root"} -qa -- "$n")" ] ;;
@*|*://*) false ;;
*) rpm ${root:+--root "$root"} -q -- "$n" >/dev/null 2>&1 || rpm ${root:+--root "$root"} -q --whatprovides -- "$n" >/dev/null 2>&1 ;;
esac && echo y || echo n
done"#;

/// Words: another root or nothing, then the command. The RPM database before it and after it is what it did.
const APPLY: &str = r#"LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
root=$1; shift
all() { rpm ${root:+--root "$root"} -qa --qf '%{NEVRA}\n' | sort; }
all; printf '\001\n'; "$@" 2>&1; rc=$?; printf '\001\n'; all; exit "$rc""#;

/// What `inspect` saw and chose.
pub struct Work {
    manager: String,
    commands: Vec<Vec<String>>,
}

struct Seen {
    manager: String,
    is_image: bool,
    there: Vec<bool>,
}

async fn look(args: &Args, names: &[String], platform: &Platform) -> Result<Seen, ModuleError> {
    let programs = match args.use_backend {
        Backend::Auto => "dnf dnf5 yum microdnf",
        Backend::Yum | Backend::Yum4 => "yum dnf",
        Backend::Dnf | Backend::Dnf4 => "dnf",
        Backend::Dnf5 => "dnf5",
        Backend::Microdnf => "microdnf",
    };
    let mut words = vec![args.root().unwrap_or_default(), programs.to_owned()];
    words.extend_from_slice(names);
    let output = host::script(platform, LOOK, &words, None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let manager = lines.next().unwrap_or_default().to_owned();
    let is_image = lines.next() == Some("image");
    if output.rc == 90 || (manager.is_empty() && !is_image) {
        return Err(missing_manager(&platform.shell()?.place(), programs));
    }
    let there: Vec<bool> = lines.map(|line| line == "y").collect();
    if there.len() != names.len() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ModuleError::failed(format!(
            "`rpm` cannot be asked: {}",
            said.trim()
        )));
    }
    Ok(Seen {
        manager,
        is_image,
        there,
    })
}

/// What the manager cannot do, as Ansible tells it.
fn failed(manager: &str, said: &Said) -> ModuleError {
    let lines = said.stdout.lines().chain(said.stderr.lines());
    let mut unknown: Vec<String> = lines
        .filter_map(|line| {
            let (_, name) = line.split_once("No match for argument: ")?;
            Some(format!("No package {} available.", name.trim()))
        })
        .collect();
    unknown.dedup();
    if unknown.is_empty() {
        return said
            .error(manager, "the packages cannot be as they should")
            .with("results", json!([]));
    }
    ModuleError::new(
        ErrorKind::NotFound,
        format!("Failed to install some of the specified packages: {}", unknown.join(" ")),
    )
    .hint("is the name right, and its repository on (`enablerepo`)? `update_cache: true` reads repositories anew")
    .with("failures", json!(unknown))
    .with("results", json!([]))
    .with("rc", 1)
}

/// Plays a command through; whether it would change anything.
async fn rehearse(
    args: &Args,
    manager: &str,
    command: &[String],
    platform: &Platform,
) -> Result<bool, ModuleError> {
    let mut words = vec![manager.to_owned(), "--assumeno".to_owned()];
    words.extend(args.options());
    words.extend_from_slice(command);
    let said = Said::from(run(platform, &words).await?);
    // dnf 4, dnf 5 and yum 3 say it in their own words.
    let stopped = ["peration aborted", "Exiting on user command"];
    let would = stopped.iter().any(|text| said.has(text));
    if !would && said.rc != 0 {
        return Err(failed(manager, &said));
    }
    if would
        && !args.allow_downgrade
        && said.stdout.lines().any(|line| line.starts_with("Downgrad"))
    {
        return Err(ModuleError::new(
            ErrorKind::Preflight,
            format!(
                "{} would replace a newer version by an older one",
                command.join(" ")
            ),
        )
        .hint("`allow_downgrade: true` lets it")
        .with("stdout", said.stdout));
    }
    Ok(would)
}

pub(super) async fn inspect(args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
    let names = args.check()?;
    let seen = look(args, &names, platform).await?;
    let planned = args.plan(&names, &seen.there);
    if seen.is_image && (!planned.is_empty() || args.update_cache) {
        return Err(image_based("dnf"));
    }
    let nothing = json!({"msg": "Nothing to do", "rc": 0, "results": []});
    if planned.is_empty() && !(names.is_empty() && args.update_cache) {
        return Ok(Change::None(Outcome::unchanged(nothing)));
    }
    if planned.is_empty() {
        return Ok(Change::Some {
            fields: Vec::new(),
            diff: Vec::new(),
            // What is known of repositories is no change of the host, as in Ansible.
            preview: Outcome::unchanged(json!({"msg": "Cache updated", "rc": 0, "results": []})),
            work: Work {
                manager: seen.manager,
                commands: Vec::new(),
            },
        });
    }
    let mut commands = Vec::new();
    for command in planned {
        if seen.manager == "microdnf" {
            // It plays nothing through.
            let is_sure = matches!(
                command.first().map(String::as_str),
                Some("install" | "remove")
            );
            if !is_sure {
                return Ok(Change::Unknown {
                    message: "only microdnf itself can tell whether there is something newer"
                        .to_owned(),
                    work: Work {
                        manager: seen.manager,
                        commands: vec![command],
                    },
                });
            }
            commands.push(command);
        } else if rehearse(args, &seen.manager, &command, platform).await? {
            commands.push(command);
        }
    }
    if commands.is_empty() {
        return Ok(Change::None(Outcome::unchanged(nothing)));
    }
    let word = if args.state().is_absent() {
        "Removed"
    } else {
        "Installed"
    };
    let asked: Vec<String> = commands
        .iter()
        .flat_map(|command| command.iter().skip(1))
        .cloned()
        .collect();
    let results: Vec<String> = asked.iter().map(|name| format!("{word}: {name}")).collect();
    Ok(Change::Some {
        fields: commands
            .iter()
            .map(|command| {
                FieldChange::new(
                    command.first().map_or("", String::as_str),
                    Value::Null,
                    shown(command.get(1..).unwrap_or_default()),
                )
            })
            .collect(),
        diff: Vec::new(),
        preview: Outcome::changed(json!({
            "msg": "Check mode: No changes made, but would have if not in check mode",
            "rc": 0,
            "results": results,
        })),
        work: Work {
            manager: seen.manager,
            commands,
        },
    })
}

pub(super) async fn apply(
    args: &Args,
    work: Work,
    platform: &Platform,
) -> Result<Outcome, ModuleError> {
    if work.commands.is_empty() {
        let mut words = vec![work.manager.clone(), "-y".to_owned()];
        words.extend(args.options());
        words.push("makecache".to_owned());
        let said = Said::from(run(platform, &words).await?);
        if said.rc != 0 {
            return Err(said.error(&work.manager, "the repositories cannot be read"));
        }
        return Ok(Outcome::unchanged(
            json!({"msg": "Cache updated", "rc": 0, "results": []}),
        ));
    }
    let mut results: Vec<String> = Vec::new();
    for command in work.commands {
        platform.status(format!("{} {}", work.manager, command.join(" ")));
        let mut words = vec![
            args.root().unwrap_or_default(),
            work.manager.clone(),
            "-y".to_owned(),
        ];
        words.extend(args.options());
        words.extend(command);
        let output = host::script(platform, APPLY, &words, None).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let parts: Vec<&str> = text.split("\u{1}\n").collect();
        let [before, said, after] = parts.as_slice() else {
            return Err(ModuleError::failed(format!(
                "`{}` was cut off: {}",
                work.manager,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        };
        if output.rc != 0 {
            let said = Said {
                rc: output.rc,
                stdout: said.trim().to_owned(),
                stderr: String::new(),
            };
            return Err(failed(&work.manager, &said).with("results", json!(results)));
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (lines(before), lines(after));
        let new = after.iter().filter(|package| !before.contains(package));
        results.extend(new.map(|package| format!("Installed: {package}")));
        let gone = before.iter().filter(|package| !after.contains(package));
        results.extend(gone.map(|package| format!("Removed: {package}")));
    }
    let result = json!({"msg": "", "rc": 0, "results": results});
    Ok(if results.is_empty() && !args.download_only {
        Outcome::unchanged(result)
    } else {
        Outcome::changed(result)
    })
}

#[async_trait]
impl Module for Dnf {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "dnf";
    const SUMMARY: &'static str =
        "Installs, updates and removes packages with dnf, yum or microdnf";
    const EXAMPLES: &'static str = "- dnf: {name: [chrony, tcpdump], state: present}\n- dnf: {name: \"*\", state: latest, security: true}\n- dnf: {name: httpd-2.4.57, enablerepo: [extras], update_cache: true}\n- dnf: {name: telnet, state: absent, autoremove: true}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ALIASES: &'static [&'static str] = &[
        "yum",
        "ansible.builtin.yum",
        "ansible.legacy.yum",
        "dnf5",
        "ansible.builtin.dnf5",
        "ansible.legacy.dnf5",
    ];
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
