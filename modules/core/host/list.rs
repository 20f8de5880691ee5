//! In: a folder of a host. Out: the paths of all that is in it, relative to it, parents before their children.

use super::script;
use crate::error::ModuleError;
use crate::platform::Platform;

/// Names may have any character but NUL in them, so a shell prints them (`-print0` is not everywhere).
const SCRIPT: &str = r#"LC_ALL=C; export LC_ALL; cd -- "$1" && find $2 . ! -name . -exec sh -c 'for f; do printf "%s\0" "$f"; done' sh {} +"#;

/// Lists a folder; with `follow` also what links in it lead to.
pub(in crate::core) async fn list(
    platform: &Platform,
    path: &str,
    follow: bool,
) -> Result<Vec<String>, ModuleError> {
    let words = [path.to_owned(), if follow { "-L" } else { "" }.to_owned()];
    let output = script::run(platform, SCRIPT, &words, None).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // A link to its own folder is told and left out: all else is listed.
    if output.rc != 0 && !said.lines().all(|line| line.contains("loop")) {
        return Err(ModuleError::new(
            script::kind(&said),
            format!(
                "`{path}` cannot be listed on {}: {said}",
                platform.shell()?.place()
            ),
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<String> = text
        .split('\0')
        .filter_map(|name| name.strip_prefix("./"))
        .map(ToOwned::to_owned)
        .collect();
    names.sort_unstable();
    Ok(names)
}
