//! In: names of a host's files and a format. Out: an archive beside its place, and whether the one that is there has the
//! same in it. Packed twice the same files must give the same: names are sorted, and packing times left out.

use super::{Format, Found};
use crate::core::host;
use crate::error::ModuleError;
use crate::platform::Platform;

/// A new archive.
pub(super) struct Packed {
    pub(super) file: String,
    pub(super) is_same: bool,
}

/// Words: format, `single` or nothing, the folder, where the archive belongs, whether it may be written there. Standard
/// input has the names, each ended by NUL. What is compared is what is in them: another version of a program may pack it
/// in another way. GNU's `tar` alone reads names from a file; `zip` reads them by lines.
const SCRIPT: &str = r#"
LC_ALL=C; export LC_ALL; umask 077
format=$1 single=$2 root=$3 dest=$4 check=$5
d=; t=
trap 'if [ -n "$d" ]; then rm -rf -- "$d"; fi; if [ -n "$t" ]; then rm -f -- "$t"; fi' EXIT
trap 'exit 1' HUP INT TERM
need() { command -v "$1" >/dev/null 2>&1 || { printf %s "$1"; exit 90; }; }
case $format in gz) z=gzip ;; bz2) z=bzip2 ;; xz) z=xz ;; *) z= ;; esac
if [ -n "$z" ]; then need $z; fi
d=$(mktemp -d) || exit 1
cat > "$d/names"
if [ -n "$check" ]; then t=$(mktemp); else t=$(mktemp "$dest.XXXXXX"); fi || exit 1
pack() { case $z in "") cat ;; gzip) gzip -n -c ;; *) $z -c ;; esac; }
open() { case $z in "") cat ;; *) $z -d -c ;; esac; }
cd -- "$root" || exit 1
if [ -n "$single" ]; then
f=$(tr -d '\0' < "$d/names")
{ cat < "$f" && : > "$d/done"; } | pack > "$t" || exit 1
elif [ "$format" = zip ]; then
need zip
if [ "$(tr -cd '\n' < "$d/names" | wc -c)" -gt 0 ]; then exit 92; fi
rm -f -- "$t"
tr '\0' '\n' < "$d/names" | zip -q -X -y "$t.zip" -@ || { rm -f -- "$t.zip"; exit 1; }
mv -f -- "$t.zip" "$t" && : > "$d/done"
else
case $(tar --version 2>/dev/null) in *"GNU tar"*) ;; *) printf 'GNU tar'; exit 90 ;; esac
{ tar -c -f - --no-recursion --format=gnu --null -T "$d/names" && : > "$d/done"; } | pack > "$t" || exit 1
fi
[ -e "$d/done" ] || exit 1
same=
if [ -f "$dest" ]; then
if cmp -s "$t" "$dest"; then same=y
elif [ -n "$z" ]; then
a=$(open < "$t" | sha1sum); b=$(open < "$dest" 2>/dev/null | sha1sum)
if [ "$a" = "$b" ]; then same=y; fi
fi
fi
printf '%s\0%s' "$same" "$t"
t=
"#;

pub(super) async fn pack(
    format: Format,
    found: &Found,
    platform: &Platform,
) -> Result<Packed, ModuleError> {
    let words = [
        format.name(),
        if found.is_single { "single" } else { "" },
        &found.root,
        &found.dest,
        if platform.check { "check" } else { "" },
    ]
    .map(ToOwned::to_owned);
    let mut names = Vec::new();
    for name in &found.names {
        // A name that begins with `-` or `@` is no option and no list.
        if name.starts_with(['-', '@']) {
            names.extend_from_slice(b"./");
        }
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    let output = host::script(platform, SCRIPT, &words, Some(names)).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = platform.shell()?.place();
    match output.rc {
        0 => {}
        90 => {
            return Err(ModuleError::lacks(&place, &text).hint(format!(
                "install `{text}` there, or choose another `format`"
            )));
        }
        92 => {
            return Err(
                ModuleError::failed("a name has a newline in it, which `zip` cannot pack")
                    .hint("use another `format`, or leave it out with `exclude_path`"),
            );
        }
        _ => {
            return Err(ModuleError::failed(format!(
                "`{}` cannot be made on {place}: {said}",
                found.dest
            )));
        }
    }
    let (same, file) = text.split_once('\0').ok_or_else(|| {
        ModuleError::failed(format!("what {place} says of the archive cannot be read"))
    })?;
    Ok(Packed {
        file: file.to_owned(),
        is_same: !same.is_empty(),
    })
}
