//! Each step, taken the three ways, must leave the same behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::look::{Looks, WORDS};
use super::testing::ways;
use super::*;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

fn bytes(path: &str, text: &[u8]) -> Write {
    Write {
        path: path.to_owned(),
        origin: Origin::Bytes(Arc::new(text.to_vec())),
        mode: None,
        keep: None,
        owner: None,
        group: None,
        keeps_times: false,
        validate: None,
    }
}

/// A folder of its own for each way, with a name that a careless script breaks.
async fn each_way<T>(test: impl AsyncFn(&Platform, &dyn Fn(&str) -> String) -> T) -> Vec<T> {
    let mut all = Vec::new();
    for platform in ways() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("-a b'$(x)%s\n*");
        std::fs::create_dir(&base).unwrap();
        let at = |name: &str| base.join(name).display().to_string();
        all.push(test(&platform, &at).await);
        let left = std::fs::read_dir(&base)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("layerplay") || name.contains(".X"))
            .collect::<Vec<_>>();
        assert!(left.is_empty(), "{left:?}");
    }
    all
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn done(platform: &Platform, steps: Vec<Step>, paths: &[String]) -> Looks {
    take(platform, steps, paths).await.unwrap()
}

async fn refused(platform: &Platform, steps: Vec<Step>) -> ModuleError {
    take(platform, steps, &[]).await.unwrap_err()
}

#[tokio::test]
async fn files_are_written_whole_with_their_rights() {
    each_way(async |platform, at| {
        let (a, b, c) = (at("a"), at("b"), at("c"));
        let content = b"\x00\xfftext\n\n".repeat(40_000);
        let steps = vec![
            Step::Write(bytes(&a, &content)),
            Step::Write(Write {
                mode: Some(0o4750),
                keep: Some((0, 0)),
                ..bytes(&b, b"")
            }),
            Step::Write(Write {
                mode: Some(0o600),
                keeps_times: true,
                origin: Origin::Host(a.clone()),
                ..bytes(&c, b"")
            }),
            Step::Write(bytes(&at("d"), b"last")),
        ];
        let looks = done(platform, steps, &[a.clone(), b.clone()]).await;
        assert_eq!(
            looks.at(&a).unwrap().checksum(),
            Some(sha1(&content).as_str())
        );
        assert_eq!(std::fs::read(&a).unwrap(), content);
        assert_eq!(std::fs::read(&c).unwrap(), content);
        assert_eq!(std::fs::read(at("d")).unwrap(), b"last");
        assert_eq!((mode(&a), mode(&b), mode(&c)), (0o644, 0o4750, 0o600));
        let time = |path: &str| std::fs::metadata(path).unwrap().mtime();
        assert_eq!(time(&a), time(&c));
        // One content alone takes another way through the script.
        done(platform, vec![Step::Write(bytes(&b, &content))], &[]).await;
        assert_eq!(std::fs::read(&b).unwrap(), content);
    })
    .await;
}

#[tokio::test]
async fn links_folders_times_and_removal() {
    let looks = each_way(async |platform, at| {
        let dir = at("dir");
        let steps = vec![
            Step::Folder { path: dir.clone() },
            Step::Folder { path: dir.clone() },
            Step::Create { path: at("file") },
            Step::Link {
                text: "dir".to_owned(),
                path: at("link"),
            },
            // Over a link to a folder: the link is replaced, nothing lands in the folder.
            Step::Link {
                text: "file".to_owned(),
                path: at("link"),
            },
            Step::Write(bytes(&at("other"), b"x")),
            Step::Hard {
                from: at("file"),
                path: at("other"),
            },
            Step::Mode {
                path: dir.clone(),
                mode: 0o2770,
            },
            Step::Times {
                path: at("file"),
                accessed: Some(When::At(1_000_000_000)),
                modified: Some(When::At(1_100_000_000)),
            },
            Step::Backup {
                path: at("file"),
                to: at("backup"),
            },
            Step::Folder { path: at("full") },
            Step::Create { path: at("full/x") },
            Step::Remove { path: at("full") },
            Step::Folder { path: at("empty") },
            Step::RemoveEmpty { path: at("empty") },
        ];
        let names = ["dir", "file", "link", "other", "full", "empty", "backup"];
        let looks = done(platform, steps, &names.map(at)).await;
        let link = looks.at(&at("link")).unwrap().link().unwrap();
        assert_eq!((link.text.as_str(), &link.real), ("file", &at("file")));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let states = names.map(|name| looks.at(&at(name)).unwrap().state());
        assert_eq!(
            states,
            [
                "directory",
                "hard",
                "link",
                "hard",
                "absent",
                "absent",
                "file"
            ]
        );
        let modified = |name: &str| std::fs::metadata(at(name)).unwrap().mtime();
        assert_eq!(modified("backup"), 1_100_000_000);
        assert_eq!(modified("file"), 1_100_000_000);
        looks.at(&at("file")).unwrap().own().unwrap().modified
    })
    .await;
    assert_eq!(format!("{looks:?}"), format!("{:?}", [1_100_000_000.0; 3]));
}

#[tokio::test]
async fn a_world_that_moved_is_left_as_it_is() {
    each_way(async |platform, at| {
        let path = at("file");
        let expect = |state: Expected| {
            vec![
                Step::Expect {
                    path: path.clone(),
                    state,
                },
                Step::Write(bytes(&path, b"mine")),
            ]
        };
        std::fs::write(&path, "theirs").unwrap();
        for state in [
            Expected::Absent,
            Expected::Content(sha1(b"before")),
            Expected::Link("x".to_owned()),
            Expected::Folder,
        ] {
            let problem = refused(platform, expect(state)).await;
            assert_eq!(problem.kind, ErrorKind::Conflict, "{problem}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        done(platform, expect(Expected::Content(sha1(b"theirs"))), &[]).await;
        done(platform, expect(Expected::File), &[]).await;
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let link = at("link");
        std::os::unix::fs::symlink("no where", &link).unwrap();
        let is = Step::Expect {
            path: link,
            state: Expected::Link("no where".to_owned()),
        };
        done(platform, vec![is], &[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_step_is_named_and_ends_it() {
    each_way(async |platform, at| {
        let steps = vec![
            Step::Create { path: at("first") },
            Step::Write(bytes(&at("no/such/folder"), b"secret-content")),
            Step::Create { path: at("never") },
        ];
        let problem = refused(platform, steps).await;
        assert!(problem.message.contains("cannot write `"), "{problem}");
        assert!(!problem.message.contains("secret-content"), "{problem}");
        assert!(Path::new(&at("first")).exists() && !Path::new(&at("never")).exists());
        let owner = "no-such-user".to_owned();
        let path = at("first");
        let problem = refused(platform, vec![Step::Owner { path, owner }]).await;
        assert!(problem.message.contains("no-such-user"), "{problem}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_does_not_validate_is_not_put_in_place() {
    each_way(async |platform, at| {
        let path = at("file");
        let write = |text: &[u8]| {
            let words = ["grep", "-q", "good; $(x) %", "%s"].map(str::to_owned);
            Step::Write(Write {
                validate: Some(words.to_vec()),
                ..bytes(&path, text)
            })
        };
        let follow = Step::Create { path: at("after") };
        done(platform, vec![write(b"good; $(x) %"), follow], &[]).await;
        assert!(Path::new(&at("after")).exists());
        let problem = refused(platform, vec![write(b"bad")]).await;
        assert!(problem.message.contains("failed to validate"), "{problem}");
        assert_eq!(problem.result["exit_status"], 1);
        assert_eq!(std::fs::read(&path).unwrap(), b"good; $(x) %");
        let names = std::fs::read_dir(at("")).unwrap().count();
        assert_eq!(names, 2, "the refused file is gone");
    })
    .await;
}

#[tokio::test]
async fn more_than_one_command_line_holds() {
    each_way(async |platform, at| {
        let deep = at(&vec!["x".repeat(200); 4].join("/"));
        std::fs::create_dir_all(&deep).unwrap();
        let names: Vec<String> = (0..9).map(|n| format!("{deep}/{n}")).collect();
        let many = names.iter().cycle().take(2 * WORDS / deep.len());
        let many: Vec<String> = many.cloned().collect();
        let steps: Vec<Step> = many
            .iter()
            .map(|path| Step::Write(bytes(path, path.as_bytes())))
            .collect();
        let looks = done(platform, steps, &names[..2]).await;
        assert_eq!(looks.all.len(), 2);
        for name in &names {
            assert_eq!(std::fs::read(name).unwrap(), name.as_bytes());
        }
        let looks = look(platform, &many, None).await.unwrap();
        assert_eq!(looks.all.len(), many.len());
        assert!(looks.all.iter().all(|look| look.found.is_some()));
    })
    .await;
}

#[tokio::test]
async fn folders_are_listed_whatever_their_names() {
    let all = each_way(async |platform, at| {
        std::fs::create_dir(at("d")).unwrap();
        std::fs::write(at("d/a\nb"), "").unwrap();
        std::os::unix::fs::symlink("d", at("l")).unwrap();
        let root = at("");
        (
            list(platform, &root, false).await.unwrap(),
            list(platform, &root, true).await.unwrap(),
        )
    })
    .await;
    for (plain, followed) in all {
        assert_eq!(plain, ["d", "d/a\nb", "l"]);
        assert_eq!(followed, ["d", "d/a\nb", "l", "l/a\nb"]);
    }
}
