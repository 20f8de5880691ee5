//! `hostname`: the name of the host. In: the name; out: the host with it, now and after a reboot, and the facts that say so.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host;
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, TextDiff, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// The name of the host.
pub struct Hostname;

/// How it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// By `hostnamectl`.
    Systemd,
    /// In `/etc/hostname`, and by `hostname`.
    Generic,
    /// The same as `generic`.
    Debian,
    /// The same as `generic`.
    Alpine,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The name.
    name: String,
    /// How it is set; without it by `hostnamectl` where systemd runs, else in `/etc/hostname`.
    #[serde(rename = "use")]
    way: Option<Use>,
}

impl Args {
    fn check(&self) -> Result<(), ModuleError> {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        // The kernel's own limit (`__NEW_UTS_LEN`).
        if self.name.len() > 64 {
            return Err(ModuleError::argument(
                "name",
                format!(
                    "`name: {}` is too long: the name of a host has 64 characters at most",
                    self.name
                ),
            ));
        }
        if !self.name.split('.').all(is_label) {
            return Err(ModuleError::argument(
                "name",
                format!("`name: {}` is no name of a host", self.name),
            )
            .hint("letters, digits and `-`, in parts of 63 characters at most, with dots between them"));
        }
        Ok(())
    }
}

const LIB: &str = r#"LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin; export PATH
way=$1
if [ -z "$way" ]; then if [ -d /run/systemd/system ] && command -v hostnamectl >/dev/null 2>&1; then way=systemd; else way=generic; fi; fi
if [ "$way" = systemd ]; then command -v hostnamectl >/dev/null 2>&1 || { echo hostnamectl; exit 90; }; fi
now() {
if [ "$way" = systemd ]; then hostnamectl --transient status && printf '\0' && hostnamectl --static status
else uname -n; printf '\0'; [ ! -e /etc/hostname ] || cat /etc/hostname; fi
}
"#;

/// The way, the name now, the name after a reboot, the full name.
const LOOK: &str =
    r#"printf '%s\0' "$way"; now || exit; printf '\0'; hostname -f 2>/dev/null; exit 0"#;

/// Words: way, name, both names as they were seen.
const SET: &str = r#"
[ "$(now | tr '\000' '\n')" = "$3" ] || exit 92
if [ "$way" = systemd ]; then
hostnamectl --transient set-hostname "$2" && hostnamectl --pretty set-hostname "$2" && hostnamectl --static set-hostname "$2" || exit
else
t=$(mktemp /etc/.hostnameXXXXXX) && chmod 644 "$t" && printf '%s\n' "$2" > "$t" || exit
mv -f -- "$t" /etc/hostname 2>/dev/null || { cat "$t" > /etc/hostname; r=$?; rm -f -- "$t"; [ $r = 0 ] || exit $r; }
hostname "$2" || exit
fi
printf '\0'; hostname -f 2>/dev/null; exit 0"#;

/// What the host is called.
#[derive(Debug, Default)]
struct Names {
    current: String,
    permanent: String,
    full: String,
    /// As the script that sets them compares it.
    seen: String,
}

/// What `inspect` saw.
pub struct Work {
    way: String,
    seen: String,
}

fn outcome(name: &str, full: &str, changed: bool) -> Outcome {
    let full = if full.is_empty() { name } else { full };
    let (first, _) = name.split_once('.').unwrap_or((name, ""));
    let (_, domain) = full.split_once('.').unwrap_or((full, ""));
    let facts = json!({
        "ansible_hostname": first, "ansible_nodename": name, "ansible_fqdn": full, "ansible_domain": domain,
    });
    Outcome {
        changed,
        facts: match facts {
            Value::Object(map) => map,
            _ => Map::new(),
        },
        ..Outcome::unchanged(json!({"name": name}))
    }
}

fn failed(
    rc: i32,
    stdout: &str,
    stderr: &str,
    platform: &Platform,
) -> Result<ModuleError, ModuleError> {
    let place = platform.shell()?.place();
    Ok(match rc {
        90 => {
            ModuleError::lacks(&place, stdout.trim()).hint("`use: generic` writes `/etc/hostname`")
        }
        92 => ModuleError::new(
            ErrorKind::Conflict,
            "the host's name has changed since it was looked at; it was left as it is",
        )
        .hint("something else sets it: run the task again"),
        _ => {
            let is_denied = [
                "ermission denied",
                "not permitted",
                "must be root",
                "authentication required",
            ]
            .iter()
            .any(|text| stderr.contains(text));
            let kind = if is_denied {
                ErrorKind::Forbidden
            } else {
                ErrorKind::Failed
            };
            let error = ModuleError::new(
                kind,
                format!("the host's name cannot be set: {}", stderr.trim()),
            )
            .with("rc", rc)
            .with("stderr", stderr.trim());
            if is_denied {
                error.hint("`become: true` sets it as root")
            } else {
                error.hint("is systemd the init system that runs there? `use: generic` writes `/etc/hostname`")
            }
        }
    })
}

async fn look(args: &Args, platform: &Platform) -> Result<(String, Names), ModuleError> {
    let way = match args.way {
        None => "",
        Some(Use::Systemd) => "systemd",
        Some(_) => "generic",
    };
    let script = format!("{LIB}{LOOK}");
    let output = host::script(platform, &script, &[way.to_owned()], None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.rc != 0 {
        return Err(failed(output.rc, &text, &stderr, platform)?);
    }
    let parts: Vec<&str> = text.split('\0').collect();
    let [way, current, permanent, full, ..] = parts.as_slice() else {
        return Err(ModuleError::failed("the host does not say its name"));
    };
    Ok((
        (*way).to_owned(),
        Names {
            current: current.trim().to_owned(),
            permanent: permanent.trim().to_owned(),
            full: full.trim().to_owned(),
            seen: format!("{current}\n{permanent}")
                .trim_end_matches('\n')
                .to_owned(),
        },
    ))
}

#[async_trait]
impl Module for Hostname {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "hostname";
    const SUMMARY: &'static str = "Sets the name of the host";
    const EXAMPLES: &'static str = "- hostname: {name: web-1.example.com}\n- hostname: {name: \"{{ inventory_hostname }}\", use: systemd}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        let (way, names) = look(args, platform).await?;
        let name = &args.name;
        if names.current == *name && names.permanent == *name {
            return Ok(Change::None(outcome(name, &names.full, false)));
        }
        let before = if names.current == *name {
            &names.permanent
        } else {
            &names.current
        };
        let header = "hostname".to_owned();
        Ok(Change::Some {
            fields: vec![FieldChange {
                field: "name".to_owned(),
                before: json!(before),
                after: json!(name),
            }],
            diff: vec![TextDiff {
                before_header: header.clone(),
                after_header: header,
                before: format!("hostname = {before}\n"),
                after: format!("hostname = {name}\n"),
            }],
            preview: outcome(name, "", true),
            work: Work {
                way,
                seen: names.seen,
            },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let words = [work.way, args.name.clone(), work.seen];
        let script = format!("{LIB}{SET}");
        let output = host::script(platform, &script, &words, None).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.rc != 0 {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(failed(output.rc, &text, &stderr, platform)?);
        }
        let full = text.rsplit('\0').next().unwrap_or_default().trim();
        Ok(outcome(&args.name, full, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_host_is_asked() {
        for (name, is_good) in [
            ("web-1.example.com", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a..b", false),
            ("a b", false),
            ("a;reboot", false),
        ] {
            let args = Args {
                name: name.to_owned(),
                way: None,
            };
            assert_eq!(args.check().is_ok(), is_good, "{name}");
        }
        let long = Args {
            name: format!("{}.{}", "a".repeat(40), "b".repeat(40)),
            way: None,
        };
        assert!(long.check().unwrap_err().message.contains("too long"));
    }

    #[test]
    fn facts_follow_the_name() {
        let outcome = outcome("web.example.com", "", true);
        assert_eq!(outcome.facts["ansible_hostname"], "web");
        assert_eq!(outcome.facts["ansible_fqdn"], "web.example.com");
        assert_eq!(outcome.facts["ansible_domain"], "example.com");
    }
}
