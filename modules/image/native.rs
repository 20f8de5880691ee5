//! In: a Containerfile that only copies files and sets labels, its context, a base image. Out: a layer (the same bytes
//! for the same files, always), a configuration and a manifest, pushed. No container engine.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::containerfile::{Containerfile, Copy, Kind};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::{Digest, ImageRef, Registries};

/// A file of the layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    File(Vec<u8>),
    Folder,
    Link(PathBuf),
}

/// Everything that the copies put into the image, by path without a leading `/`, sorted.
pub(super) type Files = BTreeMap<String, Entry>;

/// Reads what the copies name. The context is never left, not even through a symbolic link's name.
pub(super) fn collect(file: &Containerfile, context: &Path) -> Result<Files, ModuleError> {
    let ignored = ignored(context);
    let mut files = Files::new();
    for (line, copy) in file.copies() {
        one(copy, context, &ignored, &mut files).map_err(|message| {
            ModuleError::argument(
                "containerfile",
                format!("Containerfile, line {line}: {message}"),
            )
        })?;
    }
    Ok(files)
}

/// Like [`collect`], leaving out what only a container engine can copy (from another stage, an address, an archive).
pub(super) fn collect_local(file: &Containerfile, context: &Path) -> Result<Files, ModuleError> {
    let mut local = file.clone();
    local
        .instructions
        .retain(|instruction| match &instruction.kind {
            Kind::Copy(copy) => copy.is_local(),
            _ => true,
        });
    collect(&local, context)
}

/// The patterns of `.containerignore`, else `.dockerignore`.
fn ignored(context: &Path) -> Vec<(bool, globset::GlobMatcher)> {
    let text = [".containerignore", ".dockerignore"]
        .iter()
        .find_map(|name| std::fs::read_to_string(context.join(name)).ok())
        .unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (keeps, pattern) = line
                .strip_prefix('!')
                .map_or((false, line), |rest| (true, rest));
            let pattern = pattern.trim_start_matches('/').trim_end_matches('/');
            let glob = globset::GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .ok()?;
            Some((keeps, glob.compile_matcher()))
        })
        .collect()
}

fn is_ignored(patterns: &[(bool, globset::GlobMatcher)], path: &Path) -> bool {
    let mut ignored = false;
    for (keeps, pattern) in patterns {
        if path
            .ancestors()
            .any(|part| !part.as_os_str().is_empty() && pattern.is_match(part))
        {
            ignored = !keeps;
        }
    }
    ignored
}

fn one(
    copy: &Copy,
    context: &Path,
    ignored: &[(bool, globset::GlobMatcher)],
    files: &mut Files,
) -> Result<(), String> {
    let mut sources = Vec::new();
    for source in &copy.sources {
        let clean = clean(source).ok_or_else(|| format!("`{source}` is outside of the context"))?;
        if source.contains(['*', '?', '[']) {
            let glob = globset::GlobBuilder::new(&clean)
                .literal_separator(true)
                .build()
                .map_err(|problem| format!("`{source}`: {problem}"))?
                .compile_matcher();
            let found: Vec<PathBuf> = walk(context)
                .into_iter()
                .filter(|path| glob.is_match(path))
                .collect();
            if found.is_empty() {
                return Err(format!(
                    "`{source}` matches nothing in `{}`",
                    context.display()
                ));
            }
            sources.extend(found);
        } else {
            sources.push(PathBuf::from(clean));
        }
    }
    let is_folder = copy.dest.ends_with('/') || copy.dest == "." || sources.len() > 1;
    let dest =
        clean(&copy.dest).ok_or_else(|| format!("`{}` is no path in the image", copy.dest))?;
    for source in sources {
        let path = context.join(&source);
        let meta = std::fs::symlink_metadata(&path).map_err(|problem| {
            format!(
                "`{}`: {problem} (in `{}`)",
                source.display(),
                context.display()
            )
        })?;
        if meta.is_dir() {
            for inner in walk(&path) {
                let from = source.join(&inner);
                if !is_ignored(ignored, &from) {
                    add(
                        copy,
                        &context.join(&from),
                        &join(&dest, &inner.to_string_lossy()),
                        files,
                    )?;
                }
            }
            continue;
        }
        if is_ignored(ignored, &source) {
            return Err(format!(
                "`{}` is left out by `.containerignore`",
                source.display()
            ));
        }
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let target = if is_folder {
            join(&dest, &name)
        } else {
            dest.clone()
        };
        add(copy, &path, &target, files)?;
    }
    Ok(())
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

/// A path without `/` at its start, `.` and `..`; `None` when it would leave the root.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

/// Everything below a folder, relative to it, parents before children.
fn walk(dir: &Path) -> Vec<PathBuf> {
    fn inner(dir: &Path, prefix: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = prefix.join(entry.file_name());
            found.push(path.clone());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                inner(&entry.path(), &path, found);
            }
        }
    }
    let mut found = Vec::new();
    inner(dir, Path::new(""), &mut found);
    found
}

fn add(copy: &Copy, path: &Path, target: &str, files: &mut Files) -> Result<(), String> {
    let told = |problem: std::io::Error| format!("`{}`: {problem}", path.display());
    let meta = std::fs::symlink_metadata(path).map_err(told)?;
    let content = if meta.is_dir() {
        Content::Folder
    } else if meta.is_symlink() {
        Content::Link(std::fs::read_link(path).map_err(told)?)
    } else if meta.is_file() {
        Content::File(std::fs::read(path).map_err(told)?)
    } else {
        return Err(format!(
            "`{}` is neither a file nor a folder nor a link",
            path.display()
        ));
    };
    // Whether others may write depends on the checkout's umask, not on what is meant: only the right to execute counts.
    let is_executable = meta.permissions().mode() & 0o100 != 0;
    let own = if is_executable || meta.is_dir() {
        0o755
    } else {
        0o644
    };
    let mode = copy.chmod.filter(|_| !meta.is_dir()).unwrap_or(own);
    files.insert(
        target.to_owned(),
        Entry {
            content,
            mode,
            owner: copy.chown.unwrap_or((0, 0)),
        },
    );
    Ok(())
}

/// A layer: its gzip bytes and the digest of the tar inside (`diff_id`). No times, no names, sorted: the same files give
/// the same bytes on every machine.
pub(super) fn layer(files: &Files) -> std::io::Result<(Vec<u8>, Digest)> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut folders = std::collections::BTreeSet::new();
    for (path, entry) in files {
        // Folders that no copy named still need an entry, or some readers refuse the layer.
        for parent in Path::new(path)
            .ancestors()
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let name = parent.to_string_lossy().into_owned();
            if !name.is_empty() && !files.contains_key(&name) && folders.insert(name.clone()) {
                append(
                    &mut builder,
                    &name,
                    &Entry {
                        content: Content::Folder,
                        mode: 0o755,
                        owner: (0, 0),
                    },
                )?;
            }
        }
        append(&mut builder, path, entry)?;
    }
    let tar = builder.into_inner()?;
    let diff_id = Digest::of(&tar);
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::default());
    encoder.write_all(&tar)?;
    Ok((encoder.finish()?, diff_id))
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.0);
    header.set_gid(entry.owner.1);
    header.set_mtime(0);
    match &entry.content {
        Content::File(bytes) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes.as_slice())
        }
        Content::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            builder.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Content::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, path, target)
        }
    }
}

/// What is built.
pub(super) struct Plan<'p> {
    pub(super) file: &'p Containerfile,
    pub(super) files: &'p Files,
    pub(super) base: &'p ImageRef,
    pub(super) target: &'p ImageRef,
    pub(super) labels: &'p IndexMap<String, String>,
}

/// A finished image that is not pushed yet: its bytes, and so its digest, are known before anything is written.
pub(super) struct Composed {
    layer: Option<Vec<u8>>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    media_type: String,
    base_layers: Vec<Digest>,
}

impl Composed {
    /// What the registry will report, unless it changes what it is given.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// Puts the image together; only reads.
pub(super) async fn compose(
    plan: &Plan<'_>,
    registries: &Registries,
    platform: &Platform,
) -> Result<Composed, ModuleError> {
    platform.status("reading the base image");
    let base = registries.image_manifest(plan.base, None).await?;
    let mut config = registries.config(plan.base, &base).await?;
    let mut manifest = base.json.clone();
    let is_docker = base.media_type.contains("docker");
    let broken =
        |what: &str| ModuleError::failed(format!("the base image `{}` has no {what}", plan.base));
    let mut history = Vec::new();
    let mut own_layer = None;
    if !plan.files.is_empty() {
        let (bytes, diff_id) = layer(plan.files).map_err(|problem| {
            ModuleError::failed(format!("the layer cannot be written: {problem}"))
        })?;
        let media_type = if is_docker {
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        } else {
            "application/vnd.oci.image.layer.v1.tar+gzip"
        };
        let layers = manifest["layers"]
            .as_array_mut()
            .ok_or_else(|| broken("list of layers"))?;
        layers.push(json!({"mediaType": media_type, "digest": Digest::of(&bytes).as_str(), "size": bytes.len()}));
        let diff_ids = config["rootfs"]["diff_ids"]
            .as_array_mut()
            .ok_or_else(|| broken("list of `diff_ids`"))?;
        diff_ids.push(json!(diff_id.as_str()));
        history.push(json!({"created": "1970-01-01T00:00:00Z", "created_by": "COPY (layerplay)"}));
        own_layer = Some(bytes);
    }
    settings(plan, &mut config);
    history.push(json!({"created": "1970-01-01T00:00:00Z", "created_by": "LABEL (layerplay)", "empty_layer": true}));
    match config["history"].as_array_mut() {
        Some(known) => known.extend(history),
        None => config["history"] = Value::Array(history),
    }
    let text = |value: &Value| {
        serde_json::to_vec(value).map_err(|problem| ModuleError::failed(problem.to_string()))
    };
    let config = text(&config)?;
    manifest["config"]["digest"] = json!(Digest::of(&config).as_str());
    manifest["config"]["size"] = json!(config.len());
    // Annotations of the base describe the base.
    if let Some(map) = manifest.as_object_mut() {
        map.shift_remove("annotations");
        map.shift_remove("subject");
    }
    Ok(Composed {
        layer: own_layer,
        config,
        manifest: text(&manifest)?,
        media_type: base.media_type.clone(),
        base_layers: base
            .layers()
            .into_iter()
            .map(|layer| layer.digest)
            .collect(),
    })
}

/// Pushes: layers first, the tag last. Returns the digest that the registry reports.
pub(super) async fn push(
    composed: Composed,
    plan: &Plan<'_>,
    registries: &Registries,
    platform: &Platform,
) -> Result<Digest, ModuleError> {
    for layer in &composed.base_layers {
        if platform.cancel.is_cancelled() {
            return Err(ModuleError::new(
                ErrorKind::Cancelled,
                "the build was interrupted; no tag was written",
            ));
        }
        platform.status(format!(
            "base layer {} of {}",
            short(layer),
            plan.base.name()
        ));
        registries.copy_blob(plan.base, plan.target, layer).await?;
    }
    if let Some(bytes) = composed.layer {
        platform.status(format!("pushing a layer of {} bytes", bytes.len()));
        registries.push_blob(plan.target, bytes).await?;
    }
    registries.push_blob(plan.target, composed.config).await?;
    platform.status("pushing the manifest");
    registries
        .push_manifest(plan.target, composed.manifest, &composed.media_type)
        .await
}

/// Labels and environment of the new image.
fn settings(plan: &Plan<'_>, config: &mut Value) {
    if !config["config"].is_object() {
        config["config"] = json!({});
    }
    let own = &mut config["config"];
    let mut labels = own["Labels"].as_object().cloned().unwrap_or_default();
    let mut environment: Vec<String> = own["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(ToOwned::to_owned))
        .collect();
    for instruction in &plan.file.instructions {
        match &instruction.kind {
            Kind::Label(entries) => labels.extend(
                entries
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value))),
            ),
            Kind::Env(entries) => {
                for (name, value) in entries {
                    environment.retain(|known| !known.starts_with(&format!("{name}=")));
                    environment.push(format!("{name}={value}"));
                }
            }
            _ => {}
        }
    }
    labels.extend(
        plan.labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value))),
    );
    own["Labels"] = Value::Object(labels);
    if !environment.is_empty() {
        own["Env"] = json!(environment);
    }
}

fn short(digest: &Digest) -> &str {
    digest.as_str().get(7..19).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(context: &Path, text: &str) -> Result<Vec<String>, String> {
        let file = Containerfile::parse(text, &IndexMap::new()).unwrap();
        collect(&file, context)
            .map(|files| files.keys().cloned().collect())
            .map_err(|problem| problem.message)
    }

    #[test]
    fn copies_land_where_a_container_engine_puts_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/sub")).unwrap();
        for name in ["a", "b.conf", "etc/x", "etc/sub/y"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::fs::write(dir.path().join(".containerignore"), "etc/sub\n").unwrap();
        let list = |text: &str| collected(dir.path(), &format!("FROM x\n{text}\n"));
        assert_eq!(list("COPY a /etc/name").unwrap(), ["etc/name"]);
        assert_eq!(list("COPY a /etc/dir/").unwrap(), ["etc/dir/a"]);
        assert_eq!(list("COPY a b.conf /d").unwrap(), ["d/a", "d/b.conf"]);
        assert_eq!(list("COPY *.conf /d/").unwrap(), ["d/b.conf"]);
        assert_eq!(list("COPY etc /etc").unwrap(), ["etc/x"]);
        assert!(
            list("COPY ../a /x")
                .unwrap_err()
                .contains("outside of the context")
        );
        assert!(list("COPY none /x").unwrap_err().contains("line 2"));
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "text").unwrap();
        let file = Containerfile::parse(
            "FROM x\nCOPY --chmod=600 a /usr/lib/deep/a\n",
            &IndexMap::new(),
        )
        .unwrap();
        let first = layer(&collect(&file, dir.path()).unwrap()).unwrap();
        std::fs::write(dir.path().join("a"), "text").unwrap();
        let second = layer(&collect(&file, dir.path()).unwrap()).unwrap();
        assert_eq!(first, second);
        let names: Vec<String> =
            tar::Archive::new(flate2::read::GzDecoder::new(first.0.as_slice()))
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().path().unwrap().display().to_string())
                .collect();
        assert_eq!(
            names,
            ["usr/", "usr/lib/", "usr/lib/deep/", "usr/lib/deep/a"]
        );
    }
}
