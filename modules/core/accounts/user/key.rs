//! The SSH key of a user. In: the user and where the key goes; out: the key, made by `ssh-keygen`, and what it is.

use serde_json::{Map, Value, json};

use super::super::super::host;
use super::super::database::Account;
use super::Args;
use crate::error::ModuleError;
use crate::platform::Platform;

/// Words: file, uid, gid, type, bits or nothing, comment or nothing, `new` to write over what is there. Standard input has
/// the passphrase. `ssh-keygen` asks a program for it, since its words can be read by every user of the host.
const MAKE: &str = r#"LC_ALL=C; export LC_ALL
f=$1 uid=$2 gid=$3 type=$4 bits=$5 comment=$6 new=$7
command -v ssh-keygen >/dev/null 2>&1 || exit 90
umask 077
t=$(mktemp -d) || exit 1
trap 'rm -rf -- "$t"' EXIT
trap 'exit 1' HUP INT TERM
cat > "$t/phrase" || exit 1
printf '#!/bin/sh\nexec cat "${0%%/*}/phrase"\n' > "$t/ask" && chmod 700 "$t/ask" || exit 1
d=${f%/*}
if [ ! -d "$d" ]; then mkdir -- "$d" && chown -- "$uid:$gid" "$d" || exit 1; fi
if [ -n "$new" ]; then rm -f -- "$f" "$f.pub" || exit 1; fi
[ ! -e "$f" ] && [ ! -e "$f.pub" ] || exit 92
if [ -s "$t/phrase" ]; then set --; else set -- -N ''; fi
SSH_ASKPASS=$t/ask SSH_ASKPASS_REQUIRE=force DISPLAY=none ssh-keygen -q -t "$type" ${bits:+-b "$bits"} -C "${comment:-ansible-generated on $(uname -n)}" -f "$f" "$@" </dev/null || exit 1
[ -s "$f" ] && chown -- "$uid:$gid" "$f" "$f.pub""#;

/// The file of the key.
pub(super) fn file(args: &Args, home: &str) -> String {
    let named = args.ssh_key_file.clone();
    host::join(
        home,
        &named.unwrap_or_else(|| format!(".ssh/id_{}", args.ssh_key_type)),
    )
}

/// Makes it.
pub(super) async fn make(
    args: &Args,
    account: &Account,
    platform: &Platform,
) -> Result<(), ModuleError> {
    let file = file(args, &account.home);
    let bits = Some(args.ssh_key_bits).filter(|bits| *bits > 0);
    let words = [
        file.clone(),
        account.uid.to_string(),
        account.gid.to_string(),
        args.ssh_key_type.clone(),
        bits.map(|bits| bits.to_string()).unwrap_or_default(),
        args.ssh_key_comment.clone().unwrap_or_default(),
        if args.force { "new" } else { "" }.to_owned(),
    ];
    let phrase = args.ssh_key_passphrase.clone().unwrap_or_default();
    let output = host::script(platform, MAKE, &words, Some(phrase.into_bytes())).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.rc {
        0 => Ok(()),
        90 => Err(ModuleError::lacks(&platform.shell()?.place(), "ssh-keygen")
            .hint("install the SSH client there")),
        92 => Err(host::moved(&file)),
        rc => Err(
            ModuleError::failed(format!("the key `{file}` could not be made: {said}"))
                .with("name", args.name.as_str())
                .with("rc", rc)
                .with("stderr", said),
        ),
    }
}

/// What results say of the key.
pub(super) async fn facts(
    file: &str,
    platform: &Platform,
) -> Result<Map<String, Value>, ModuleError> {
    const LOOK: &str = r#"LC_ALL=C; export LC_ALL
if [ -e "$1" ]; then ssh-keygen -l -f "$1" 2>&1; fi; printf '\0'; cat -- "$1.pub" 2>/dev/null; exit 0"#;
    let output = host::script(platform, LOOK, &[file.to_owned()], None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (fingerprint, public) = text.split_once('\0').unwrap_or((&text, ""));
    let public = Some(public.trim()).filter(|public| !public.is_empty());
    Ok(Map::from_iter([
        ("ssh_fingerprint".to_owned(), json!(fingerprint.trim())),
        ("ssh_key_file".to_owned(), json!(file)),
        ("ssh_public_key".to_owned(), json!(public)),
    ]))
}
