//! In: one request. Out: its answer, without following redirects.

use super::answer::{self, Answer};
use super::{Body, Place, Request, Sink, Wanted, config};
use crate::core::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Words: how the name of the file begins, when the body is wanted here, the statuses for which the file is kept, and
/// `body` when one is sent. Standard input has the configurations of curl, GNU wget and other wgets and the address, each
/// ended by an empty line, then the body. They are read line by line, which takes no more than that (POSIX says so of
/// `read`). `curl` gets its own by standard input as well; `wget` reads its own from regular files only, so that it is in
/// the script's private folder for that time.
const SCRIPT: &str = r#"
LC_ALL=C; export LC_ALL; umask 077
d=; o=
trap 'if [ -n "$d" ]; then rm -rf -- "$d"; fi; if [ -n "$o" ]; then rm -f -- "$o"; fi' EXIT
trap 'exit 1' HUP INT TERM
part() { p=; while IFS= read -r l && [ -n "$l" ]; do p="$p$l
"; done; p=${p%?}; }
part; c=$p; part; w=$p; part; b=$p; part; u=$p
if command -v curl >/dev/null 2>&1; then t=curl
elif command -v wget >/dev/null 2>&1; then t=wget
else exit 90; fi
d=$(mktemp -d) || exit 91
case $1 in
"") o=$d/content ;;
temporary) o=$(mktemp) || exit 91 ;;
*) o=$(mktemp "$1.XXXXXX") || exit 91 ;;
esac
cat > "$d/body" || exit 91
: > "$d/head"
if [ "$t" = curl ]; then
if [ "$4" = body ]; then c="$c
data-binary = \"@$d/body\""; fi
curl -q -K - -o "$o" -D "$d/head" <<END
$c
END
r=$?
else
case $(wget --version 2>/dev/null) in
"GNU Wget 1"*)
case $w in !*) printf %s "${w#!}" >&2; exit 93 ;; esac
cat > "$d/url" <<END
$u
END
cat > "$d/rc" <<END
$w
END
wget --config="$d/rc" -i "$d/url" -O "$o" -S -nv < /dev/null 2> "$d/said"
r=$? ;;
*)
case $b in !*) printf %s "${b#!}" >&2; exit 93 ;; esac
wget -S $b -O "$o" "$u" < /dev/null 2> "$d/said"
r=$? ;;
esac
sed -n 's/^  *//p' "$d/said" > "$d/head"
sed -n '/^[^ ]/p' "$d/said" >&2
fi
s=$(sed -n 's/^HTTP\/[0-9.]* *\([0-9][0-9]*\).*/\1/p' "$d/head" | tail -n 1)
[ -e "$o" ] || : > "$o"
kept=; expected=
case " $3 " in *" ${s:-200} "*) expected=y ;; esac
if [ -n "$1" ] && [ "$r" = 0 ] && [ -n "$expected" ]; then kept=$o; fi
case $2 in
always) here=y ;;
json) here=; if [ -z "$expected" ] || grep -qi -e '^content-type:.*json' -e '^content-type:.*javascript' "$d/head"; then here=y; fi ;;
*) here= ;;
esac
printf '%s\0%s\0%s\0%s\0' "$t" "$r" "$kept" "$(wc -c < "$d/head")"
cat "$d/head"
if [ -n "$here" ]; then printf c; cat "$o"; fi
if [ -n "$kept" ]; then o=; fi
exit 0
"#;

/// The words and the input of the script.
fn input(request: &Request, sink: &Sink) -> (Vec<String>, Vec<u8>) {
    let place = match &sink.file {
        None => String::new(),
        Some(Place::Temporary) => "temporary".to_owned(),
        // A path that begins with `-`, or is that word, is a path all the same.
        Some(Place::Beside(path)) if path.starts_with('/') => path.clone(),
        Some(Place::Beside(path)) => format!("./{path}"),
    };
    let wanted = match sink.content {
        Wanted::Always => "always",
        Wanted::Json => "json",
        Wanted::Never => "never",
    };
    let statuses: Vec<String> = sink.statuses.iter().map(ToString::to_string).collect();
    let mut text = Vec::new();
    for part in [
        config::curl(request),
        config::wget(request),
        config::plain(request),
        request.url.to_string(),
    ] {
        text.extend_from_slice(part.as_bytes());
        text.extend_from_slice(b"\n\n");
    }
    let mut body = "";
    if let Some(Body::Bytes(bytes)) = &request.body {
        text.extend_from_slice(bytes);
        body = "body";
    }
    let words = vec![
        place,
        wanted.to_owned(),
        statuses.join(" "),
        body.to_owned(),
    ];
    (words, text)
}

/// Asks once.
pub(super) async fn ask(
    platform: &Platform,
    request: &Request,
    sink: &Sink,
) -> Result<Answer, ModuleError> {
    let (words, text) = input(request, sink);
    let output = host::script(platform, SCRIPT, &words, Some(text)).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let place = platform.shell()?.place();
    let missing = |message: String, hint: &str| {
        ModuleError::new(ErrorKind::MissingProgram, message).hint(hint)
    };
    match output.rc {
        0 => answer::parse(&output.stdout, &said, &place),
        90 if request.may_use_wget => Err(missing(
            format!("{place} has neither `curl` nor `wget`"),
            "install `curl` there, or make the request from this machine with `delegate_to: localhost`",
        )),
        90 => Err(missing(
            format!("{place} has no `curl`"),
            "install it there, or make the request from this machine with `delegate_to: localhost`",
        )),
        93 => Err(missing(
            format!("{place} has `wget` and no `curl`, and {said}"),
            "install `curl` there",
        )),
        91 => Err(ModuleError::failed(format!(
            "no file can be made on {place} for what is downloaded: {said}"
        ))),
        _ => Err(ModuleError::failed(format!(
            "the request could not be made on {place}: {said}"
        ))),
    }
}
