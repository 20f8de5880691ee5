//! Symbolic links, and second names of files. In: a path and where it should lead; out: the steps.

use serde_json::json;

use super::super::host::{self, Kind, Look, Rights, Step};
use super::plan::Plan;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

impl Plan<'_> {
    pub(super) async fn link(
        &mut self,
        look: &Look,
        platform: &Platform,
    ) -> Result<(), ModuleError> {
        let args = self.args;
        let state = look.state();
        let src = match (&args.src, look.link()) {
            (Some(src), _) => Some(host::expand(platform, src).await?),
            (None, Some(link)) if args.follow && link.meta.is_some() => Some(link.text.clone()),
            (None, _) => None,
        };
        self.result.insert("dest".to_owned(), json!(look.path));
        self.result.insert("src".to_owned(), json!(src));
        let Some(src) = src else {
            if look.link().is_none() {
                return Err(ModuleError::argument(
                    "src",
                    "src is required for creating new symlinks",
                ));
            }
            return match look.own() {
                Some(meta) if !args.follow => self.rights(&look.path, &meta.clone()),
                _ => Ok(()),
            };
        };
        let target = self.looks.at(&link_target(look, &src))?.follow();
        if !args.force && target.behind().is_none() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!(
                    "src file does not exist, use 'force=yes' if you really want to create the link: {}",
                    link_target(look, &src)
                ),
            )
            .with("path", look.path.clone())
            .with("src", src));
        }
        let refuse = || {
            self.fail(format!(
                "refusing to convert from {state} to symlink for {}",
                look.path
            ))
            .hint("`force: true` replaces a file, or a folder that is empty")
        };
        match state {
            "link" | "absent" => {}
            _ if !args.force => return Err(refuse()),
            "directory" => {
                let inside = host::list(platform, &look.path, false).await?;
                if !inside.is_empty() {
                    return Err(self.fail(format!(
                        "the directory {} is not empty, refusing to convert it",
                        look.path
                    )));
                }
            }
            _ => {}
        }
        if look.link().is_none_or(|link| link.text != src) {
            self.changes(
                &look
                    .link()
                    .map_or_else(|| state.to_owned(), |link| format!("link to {}", link.text)),
                &format!("link to {src}"),
            );
            self.expect(look);
            if state == "directory" {
                self.steps.push(Step::RemoveEmpty {
                    path: look.path.clone(),
                });
            }
            self.steps.push(Step::Link {
                text: src,
                path: look.path.clone(),
            });
            if !args.follow {
                let Rights { owner, group, .. } = self.rights.clone();
                self.rights.mode = None;
                self.rights = Rights {
                    owner,
                    group,
                    mode: None,
                };
                return self.rights_of_new(&look.path, 0, false);
            }
        }
        let has_rights = self.rights != Rights::default();
        match (args.follow, target.own()) {
            (true, Some(meta)) => {
                let meta = meta.clone();
                self.rights(&target.path, &meta)?;
                self.times(&target.path, Some(&meta), false)
            }
            (true, None) => {
                if has_rights {
                    self.warnings.push("Cannot set fs attributes on a non-existent symlink target. follow should be set to False to avoid this.".to_owned());
                }
                Ok(())
            }
            (false, _) => match look.own() {
                Some(meta) => self.rights(&look.path, meta),
                None => Ok(()),
            },
        }
    }

    pub(super) async fn hard(
        &mut self,
        look: &Look,
        platform: &Platform,
    ) -> Result<(), ModuleError> {
        let args = self.args;
        let state = look.state();
        let src = match &args.src {
            Some(src) => Some(host::expand(platform, src).await?),
            None => None,
        };
        self.result.insert("dest".to_owned(), json!(look.path));
        self.result.insert("src".to_owned(), json!(src));
        let Some(src) = src else {
            return match look.own() {
                Some(meta) if state == "hard" => {
                    self.rights(&look.path, meta)?;
                    self.times(&look.path, Some(meta), false)
                }
                _ => Err(ModuleError::argument(
                    "src",
                    "src is required for creating new hardlinks",
                )),
            };
        };
        let source = self.looks.at(&src)?.follow();
        let Some(meta) = source.own() else {
            return Err(ModuleError::new(ErrorKind::NotFound, "src does not exist")
                .with("dest", look.path.clone())
                .with("src", src));
        };
        let is_same = look
            .own()
            .is_some_and(|own| own.inode == meta.inode && own.device == meta.device);
        let refuse = |what: &str| {
            Err(
                ModuleError::failed(format!("Cannot link, {what} exists at destination"))
                    .hint("`force: true` replaces it")
                    .with("dest", look.path.clone())
                    .with("src", src.clone()),
            )
        };
        if !is_same {
            match state {
                "hard" if !args.force => return refuse("different hard link"),
                "file" if !args.force => return refuse("file"),
                "directory" => return refuse("a directory"),
                _ => {}
            }
            self.changes(state, "hard");
            self.expect(look);
            self.steps.push(Step::Hard {
                from: source.path.clone(),
                path: look.path.clone(),
            });
        }
        // Both names have the same rights.
        self.rights(&look.path, meta)?;
        self.times(&look.path, Some(meta), false)
    }
}

/// Where a link at `look` that says `src` leads.
fn link_target(look: &Look, src: &str) -> String {
    let is_folder = look.own().is_some_and(|meta| meta.kind() == Kind::Folder);
    let base = if is_folder {
        look.path.clone()
    } else {
        host::parent(&look.path)
    };
    host::join(&base, src)
}
