//! In: a file that was downloaded on the host, and where it belongs. Out: the file in its place, with its rights.

use crate::core::host::{self, Algorithm, Expected, Kind, Look, Origin, Rights, Step, Write};
use crate::error::ModuleError;
use crate::platform::Platform;

/// A downloaded file and its place.
pub(in crate::core) struct Landing<'a> {
    pub(in crate::core) file: &'a str,
    /// Its SHA-1.
    pub(in crate::core) sum: &'a str,
    /// What is at its place now.
    pub(in crate::core) look: &'a Look,
    pub(in crate::core) rights: &'a Rights,
    pub(in crate::core) umask: u32,
    /// Where a copy of what is replaced goes.
    pub(in crate::core) backup: Option<&'a str>,
    /// The file is in the folder of its place, and is renamed.
    pub(in crate::core) is_beside: bool,
}

/// Puts it there unless the same is there already, and gives it its rights. True when anything changed.
pub(in crate::core) async fn land(
    platform: &Platform,
    landing: Landing<'_>,
) -> Result<(bool, Look), ModuleError> {
    let Landing { look, rights, .. } = landing;
    let path = look.path.clone();
    let existing = look.own().filter(|meta| meta.kind() == Kind::File);
    let is_same = look.checksum() == Some(landing.sum);
    let mut steps = Vec::new();
    if is_same {
        if let Some(meta) = look.own() {
            steps = rights.missing(&path, meta, landing.umask)?.0;
        }
    } else {
        steps.push(Step::Expect {
            path: path.clone(),
            state: Expected::from(look),
        });
        if let Some(to) = landing.backup.filter(|_| look.behind().is_some()) {
            steps.push(Step::Backup {
                path: path.clone(),
                to: to.to_owned(),
            });
        }
        let base = existing.map_or(0o666 & !landing.umask, host::Meta::mode);
        let mode = rights
            .mode(base, false, landing.umask)?
            .or(existing.map(host::Meta::mode));
        let file = landing.file.to_owned();
        steps.push(Step::Write(Write {
            path: path.clone(),
            origin: if landing.is_beside {
                Origin::Taken(file)
            } else {
                Origin::Host(file)
            },
            mode,
            keep: existing.map(|meta| (meta.uid, meta.gid)),
            owner: rights.owner.clone(),
            group: rights.group.clone(),
            keeps_times: false,
            validate: None,
        }));
    }
    let is_changed = !steps.is_empty();
    if is_same || !landing.is_beside {
        steps.push(Step::Remove {
            path: landing.file.to_owned(),
        });
    }
    let looks = host::take(platform, steps, std::slice::from_ref(&path)).await?;
    Ok((is_changed, looks.at(&path)?.clone()))
}

/// Removes a downloaded file that is not wanted any more.
pub(in crate::core) async fn remove(platform: &Platform, file: &str) -> Result<(), ModuleError> {
    let steps = vec![Step::Remove {
        path: file.to_owned(),
    }];
    host::take(platform, steps, &[]).await.map(|_| ())
}

/// The SHA-1 and MD5 of a file of the host, and its digest by one more algorithm.
pub(in crate::core) async fn sums(
    platform: &Platform,
    path: &str,
    algorithm: Option<Algorithm>,
) -> Result<[String; 3], ModuleError> {
    const SCRIPT: &str = r#"p=$1; shift; for sum; do $sum < "$p" || exit 1; done"#;
    let mut words = vec![path.to_owned()];
    let all = [Some(Algorithm::Sha1), Some(Algorithm::Md5), algorithm];
    words.extend(
        all.into_iter()
            .flatten()
            .map(|one| one.program().to_owned()),
    );
    let output = host::script(platform, SCRIPT, &words, None).await?;
    if output.rc != 0 {
        return Err(ModuleError::failed(format!(
            "the digest of `{path}` cannot be computed on {}: {}",
            platform.shell()?.place(),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().map(|line| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    Ok(std::array::from_fn(|_| lines.next().unwrap_or_default()))
}
