//! Whole folders, for `copy`. In: a folder of the controller or of the host, and where it goes. Out: what differs there,
//! and the steps that make it the same. Nothing that is only at the destination is removed.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::copy::{Args, unreadable};
use super::host::{self, Algorithm, Expected, Kind, Look, Meta, Origin, Rights, Step, Write};
use super::place::{self, Work};
use crate::contract::{Change, FieldChange, Outcome};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// A file of a tree, by its path in it.
struct File {
    name: String,
    origin: Origin,
    checksum: String,
    mode: u32,
}

/// A folder with all that is in it.
#[derive(Default)]
struct Tree {
    /// Parents before their children.
    folders: Vec<(String, u32)>,
    files: Vec<File>,
    links: Vec<(String, String)>,
}

/// Follows links at most this deep, so that one which leads to its own folder ends.
const DEPTH: usize = 64;

impl Tree {
    fn read(path: &str, follow: bool) -> Result<Self, ModuleError> {
        let mut tree = Self::default();
        tree.walk(Path::new(path), "", follow, 0)?;
        Ok(tree)
    }

    fn walk(
        &mut self,
        dir: &Path,
        prefix: &str,
        follow: bool,
        depth: usize,
    ) -> Result<(), ModuleError> {
        let fail = |path: &Path, problem: &std::io::Error| {
            unreadable(&path.display().to_string(), problem)
        };
        if depth > DEPTH {
            return Err(ModuleError::failed(format!(
                "`{}` is more than {DEPTH} folders deep: a link in it leads back",
                dir.display()
            ))
            .hint("copy links as links with `local_follow: false`"));
        }
        let mut names = std::fs::read_dir(dir)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(|problem| fail(dir, &problem))?;
        names.sort();
        for file_name in names {
            let path = dir.join(&file_name);
            let name = format!("{prefix}{}", file_name.to_string_lossy());
            let own = std::fs::symlink_metadata(&path).map_err(|problem| fail(&path, &problem))?;
            if own.is_symlink() && !follow {
                let text = std::fs::read_link(&path).map_err(|problem| fail(&path, &problem))?;
                self.links.push((name, text.to_string_lossy().into_owned()));
                continue;
            }
            let meta = std::fs::metadata(&path).map_err(|problem| fail(&path, &problem))?;
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_dir() {
                self.folders.push((name.clone(), mode));
                self.walk(&path, &format!("{name}/"), follow, depth + 1)?;
            } else if meta.is_file() {
                let checksum = host::digest(&path, Algorithm::Sha1)
                    .map_err(|problem| fail(&path, &problem))?;
                self.files.push(File {
                    name,
                    origin: Origin::Controller(path.display().to_string()),
                    checksum,
                    mode,
                });
            }
        }
        Ok(())
    }

    /// Reads a folder of the host: its names first, then what they are.
    async fn read_on_host(
        platform: &Platform,
        path: &str,
        follow: bool,
    ) -> Result<Self, ModuleError> {
        let names = host::list(platform, path, follow).await?;
        let paths: Vec<String> = names.iter().map(|name| host::join(path, name)).collect();
        let looks = host::look(platform, &paths, Some(Algorithm::Sha1)).await?;
        let mut tree = Self::default();
        for (name, look) in names.into_iter().zip(&looks.all) {
            match (look.link(), look.behind(), look.checksum()) {
                (Some(link), _, _) if !follow => tree.links.push((name, link.text.clone())),
                (_, Some(meta), _) if meta.kind() == Kind::Folder => {
                    tree.folders.push((name, meta.mode()));
                }
                (_, Some(meta), Some(sum)) => tree.files.push(File {
                    name,
                    origin: Origin::Host(look.path.clone()),
                    checksum: sum.to_owned(),
                    mode: meta.mode(),
                }),
                (_, Some(meta), None) if meta.kind() == Kind::File => {
                    return Err(ModuleError::new(
                        ErrorKind::Forbidden,
                        format!("Source {} not readable", look.path),
                    ));
                }
                _ => {}
            }
        }
        Ok(tree)
    }
}

/// A folder of the controller.
pub(super) async fn inspect(
    args: &Args,
    src: &str,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let (path, follow) = (src.to_owned(), args.local_follow);
    let tree = tokio::task::spawn_blocking(move || Tree::read(&path, follow))
        .await
        .map_err(|problem| ModuleError::failed(format!("reading stopped: {problem}")))??;
    compare(args, src, tree, false, platform).await
}

/// What `src` on the host is.
pub(super) enum OnHost {
    /// A folder, compared already.
    Folder(Box<Change<Work>>),
    /// Anything else; the MD5 of a file that may be read.
    File { md5: Option<String> },
}

/// A folder of the host, if it is one.
pub(super) async fn inspect_on_host(
    args: &Args,
    src: &str,
    platform: &Platform,
) -> Result<OnHost, ModuleError> {
    let looks = host::look(platform, &[src.to_owned()], Some(Algorithm::Md5)).await?;
    let look = looks.at(src)?;
    if !look.is_folder() {
        let md5 = look.checksum().map(ToOwned::to_owned);
        return Ok(OnHost::File { md5 });
    }
    let tree = Tree::read_on_host(platform, src, args.local_follow).await?;
    compare(args, src, tree, true, platform)
        .await
        .map(|change| OnHost::Folder(Box::new(change)))
}

struct Plan<'a> {
    args: &'a Args,
    rights: Rights,
    umask: u32,
    looks: HashMap<&'a str, &'a Look>,
    steps: Vec<Step>,
    fields: Vec<FieldChange>,
    backups: Vec<Value>,
}

impl Plan<'_> {
    fn look(&self, path: &str) -> Result<&Look, ModuleError> {
        self.looks
            .get(path)
            .copied()
            .ok_or_else(|| ModuleError::failed(format!("`{path}` was not looked at")))
    }

    fn note(&mut self, path: &str, before: &str, after: &str) {
        self.fields.push(FieldChange {
            field: path.to_owned(),
            before: json!(before),
            after: json!(after),
        });
    }

    /// Rights of something that is there.
    fn set_rights(&mut self, path: &str, meta: &Meta, rights: &Rights) -> Result<(), ModuleError> {
        let (steps, fields) = rights.missing(path, meta, self.umask)?;
        self.steps.extend(steps);
        self.fields
            .extend(fields.into_iter().map(|field| FieldChange {
                field: format!("{path}: {}", field.field),
                ..field
            }));
        Ok(())
    }

    fn folder(&mut self, path: &str, mode: Option<&Value>, sets: bool) -> Result<(), ModuleError> {
        let look = self.look(path)?.clone();
        let rights = Rights {
            mode: mode.cloned(),
            ..self.rights.clone()
        };
        match look.behind() {
            None if look.found.is_some() => Err(ModuleError::failed(format!(
                "`{path}` is a link that leads nowhere, where a folder should be"
            ))),
            None => {
                self.note(path, "absent", "directory");
                let paths = [path.to_owned()];
                let steps = place::folders(&paths, &self.rights, mode, self.umask)?;
                self.steps.extend(steps);
                Ok(())
            }
            Some(meta) if meta.kind() == Kind::Folder => {
                if sets && look.link().is_none() {
                    self.set_rights(path, meta, &rights)?;
                }
                Ok(())
            }
            Some(_) => Err(ModuleError::failed(format!(
                "`{path}` is no folder, where one should be"
            ))),
        }
    }

    fn file(
        &mut self,
        path: &str,
        file: File,
        on_host: bool,
        platform: &Platform,
    ) -> Result<(), ModuleError> {
        let look = self.look(path)?.clone();
        if look.found.is_some() && !self.args.force {
            return Ok(());
        }
        if look.link().is_none() && look.is_folder() {
            return Err(ModuleError::failed(format!(
                "`{path}` is a folder, where a file should be"
            )));
        }
        let mut rights = self.rights.clone();
        if rights.mode == Some(json!("preserve")) {
            rights.mode = Some(json!(file.mode));
        }
        let own = look.own().filter(|meta| meta.kind() == Kind::File);
        if let Some(meta) = own.filter(|_| look.checksum() == Some(&file.checksum)) {
            return self.set_rights(path, meta, &rights);
        }
        let source_mode = on_host.then_some(file.mode);
        let known = source_mode.or(own.map(Meta::mode));
        let base = known.unwrap_or(0o666 & !self.umask);
        let mode = rights.mode(base, false, self.umask)?.or(known);
        self.note(path, look.state(), &file.checksum);
        self.steps.push(Step::Expect {
            path: path.to_owned(),
            state: Expected::from(&look),
        });
        if self.args.backup && look.behind().is_some() {
            let to = place::backup_name(path, platform);
            self.backups.push(json!(to));
            self.steps.push(Step::Backup {
                path: path.to_owned(),
                to,
            });
        }
        self.steps.push(Step::Write(Write {
            path: path.to_owned(),
            mode,
            keep: own.filter(|_| !on_host).map(|meta| (meta.uid, meta.gid)),
            owner: rights.owner,
            group: rights.group,
            keeps_times: false,
            validate: place::validate_words(self.args.validate.as_deref())?,
            origin: file.origin,
        }));
        Ok(())
    }

    fn link(&mut self, path: &str, text: String) -> Result<(), ModuleError> {
        let look = self.look(path)?.clone();
        if look.link().is_some_and(|link| link.text == text) {
            return Ok(());
        }
        if look.own().is_some_and(|meta| meta.kind() == Kind::Folder) {
            return Err(ModuleError::failed(format!(
                "`{path}` is a folder, where a link should be"
            )));
        }
        self.note(path, look.state(), "link");
        self.steps.push(Step::Expect {
            path: path.to_owned(),
            state: Expected::from(&look),
        });
        let path = path.to_owned();
        self.steps.push(Step::Link { text, path });
        Ok(())
    }
}

async fn compare(
    args: &Args,
    src: &str,
    tree: Tree,
    on_host: bool,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let dest = host::expand(platform, &args.dest).await?;
    let mut dest = if dest.ends_with('/') {
        dest
    } else {
        format!("{dest}/")
    };
    let shown_dest = dest.clone();
    if !src.ends_with('/') {
        dest = format!("{dest}{}/", host::name(src));
    }
    let root = dest.trim_end_matches('/').to_owned();
    let at = |name: &str| format!("{dest}{name}");
    let above: Vec<String> = place::ancestors(&at("x"));
    let mut paths = above.clone();
    if !paths.contains(&root) && !root.is_empty() {
        paths.push(root.clone());
    }
    paths.extend(tree.folders.iter().map(|(name, _)| at(name)));
    paths.extend(tree.files.iter().map(|file| at(&file.name)));
    paths.extend(tree.links.iter().map(|(name, _)| at(name)));
    let looks = host::look(platform, &paths, Some(Algorithm::Sha1)).await?;
    args.unsupported().check(looks.selinux)?;

    let mut plan = Plan {
        args,
        rights: args.rights(),
        umask: looks.umask,
        looks: looks
            .all
            .iter()
            .map(|look| (look.path.as_str(), look))
            .collect(),
        steps: Vec::new(),
        fields: Vec::new(),
        backups: Vec::new(),
    };
    let mode = args.directory_mode.as_ref();
    for path in &above {
        plan.folder(path, mode, false)?;
    }
    for (name, source_mode) in &tree.folders {
        // On the host folders are copied with their modes.
        let own = json!(source_mode);
        let mode = if on_host { mode.or(Some(&own)) } else { mode };
        plan.folder(&at(name), mode, !on_host)?;
    }
    for file in tree.files {
        plan.file(&at(&file.name), file, on_host, platform)?;
    }
    for (name, text) in tree.links {
        plan.link(&at(&name), text)?;
    }
    let mut result = Map::from_iter([
        ("dest".to_owned(), json!(shown_dest)),
        ("src".to_owned(), json!(src)),
    ]);
    // From the host, the result describes the folder as well.
    let described = looks
        .all
        .iter()
        .find(|look| on_host && look.path == root)
        .filter(|look| look.found.is_some())
        .map(host::facts)
        .unwrap_or_default();
    if plan.steps.is_empty() {
        result.extend(described);
        return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
    }
    let mut preview = result.clone();
    preview.extend(described);
    if !plan.backups.is_empty() {
        result.insert("backup_files".to_owned(), Value::Array(plan.backups));
    }
    Ok(Change::Some {
        fields: plan.fields,
        diff: Vec::new(),
        preview: Outcome::changed(Value::Object(preview)),
        work: Work {
            steps: plan.steps,
            path: on_host.then_some(root),
            result,
        },
    })
}
