//! `script`: a script of this machine, run on the host. In: the script and its arguments; out: as of `command`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::arguments::first_word;
use super::command::{self, Work};
use super::host;
use crate::contract::{Change, FileArgument, Module, Outcome, Part, Render, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::{CommandSpec, Platform};

/// Runs a script of this machine.
pub struct Script;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The script, found beside the task, then beside the playbook, in `files/` first; then its arguments, as a shell
    /// of the host reads them.
    #[schemars(extend("x-aliases" = ["_raw_params"]))]
    cmd: Option<String>,
    /// Run in this folder of the host, a whole path.
    chdir: Option<String>,
    /// Skip when this file (or glob) exists on the host.
    creates: Option<String>,
    /// Skip when this file (or glob) does not exist on the host.
    removes: Option<String>,
    /// The program that runs it, with its options; without one, the one that the script's first line names.
    executable: Option<String>,
    /// Open a script that is encrypted with a vault.
    #[serde(default = "yes")]
    decrypt: bool,
    /// The text of a script that is a vault; the engine fills it in.
    #[schemars(extend("x-filled-in" = true))]
    #[serde(default)]
    opened: Option<String>,
}

fn yes() -> bool {
    true
}

/// Words: the script's name, what runs it, its arguments as they are written, the folder. Standard input is the script. It goes to
/// a folder that nobody else may look into, where programs may be run (`/tmp` is often mounted without that), and is
/// gone when it has ended. The arguments are the playbook's own shell text, as in Ansible.
const RUN: &str = r#"
name=$1 executable=$2 arguments=$3 folder=$4
mask=$(umask); umask 077; d=
trap 'if [ -n "$d" ]; then rm -rf -- "$d"; fi' EXIT
trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
d=$(mktemp -d) || exit 127
cat > "$d/script" && chmod 700 "$d/script" || exit 127
if [ -z "$executable" ] && [ ! -x "$d/script" ] && [ -n "$HOME" ]; then
e=$(mktemp -d "$HOME/.layerplay.XXXXXX") || exit 127
mv -- "$d/script" "$e/script" && rm -rf -- "$d"; d=$e
fi
mv -f -- "$d/script" "$d/$name" 2>/dev/null
umask "$mask"
if [ -n "$folder" ]; then cd -- "$folder" || exit 127; fi
set -- "$d/$name"
eval "$executable \"\$1\" $arguments" < /dev/null
"#;

fn missing() -> ModuleError {
    ModuleError::argument("cmd", "no script given").hint("write `script: FILE ARGUMENTS`")
}

impl Args {
    fn work(&self, platform: &Platform) -> Result<Work, ModuleError> {
        let text = self.cmd.as_deref().unwrap_or_default();
        let (path, arguments) = first_word(text).ok_or_else(missing)?;
        if let Some(chdir) = self.chdir.as_ref().filter(|dir| !dir.starts_with('/')) {
            return Err(ModuleError::argument(
                "chdir",
                format!("chdir {chdir} must be an absolute path for a Unix-aware remote node"),
            ));
        }
        let bytes = match &self.opened {
            Some(text) => text.clone().into_bytes(),
            None => {
                std::fs::read(&path).map_err(|problem| super::copy::unreadable(&path, &problem))?
            }
        };
        if self.decrypt && self.opened.is_none() && bytes.starts_with(b"$ANSIBLE_VAULT;") {
            return Err(ModuleError::argument(
                "cmd",
                format!("`{path}` is encrypted with a vault and was not opened"),
            ));
        }
        platform.shell()?;
        let name = host::name(&path).to_owned();
        let executable = self.executable.clone().unwrap_or_default();
        let chdir = self.chdir.clone().unwrap_or_default();
        let argv = [
            "/bin/sh",
            "-c",
            RUN,
            "sh",
            &name,
            &executable,
            arguments,
            &chdir,
        ]
        .map(str::to_owned)
        .to_vec();
        Ok(Work {
            spec: CommandSpec {
                argv,
                stdin: Some(bytes),
                ..CommandSpec::default()
            },
            shown: json!(text),
        })
    }
}

#[async_trait]
impl Module for Script {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "script";
    const SUMMARY: &'static str = "Runs a script of this machine on the host";
    const EXAMPLES: &'static str = "- script: prepare.sh --disk /dev/sdb\n  args: {creates: /srv/data}\n- script: {cmd: report.py, executable: python3}\n  register: report\n  changed_when: false\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const FILES: &'static [FileArgument] = &[FileArgument {
        argument: "cmd",
        folder: "files",
        render: Render::Never,
        content: Some("opened"),
        part: Part::FirstWord,
    }];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let work = args.work(platform)?;
        let skipped = |message: String| {
            Change::None(Outcome {
                skipped: true,
                ..Outcome::unchanged(json!({"msg": message}))
            })
        };
        for (file, decides, why) in [
            (&args.creates, true, "exists, matching creates option"),
            (
                &args.removes,
                false,
                "does not exist, matching removes option",
            ),
        ] {
            if let Some(file) = file
                && command::exists(platform, file, None).await? == decides
            {
                return Ok(skipped(format!("{file} {why}")));
            }
        }
        if args.creates.is_some() || args.removes.is_some() {
            // What decides is known, so check mode can tell.
            return Ok(Change::Some {
                fields: Vec::new(),
                diff: Vec::new(),
                preview: Outcome::changed(json!({})),
                work,
            });
        }
        if platform.check {
            return Ok(skipped(
                "Check mode is not supported for this task.".to_owned(),
            ));
        }
        Ok(Change::Unknown {
            message: "the script would be run".to_owned(),
            work,
        })
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        // Ansible keeps newlines at the end of what a script prints.
        command::finish(work, false, platform).await
    }
}
