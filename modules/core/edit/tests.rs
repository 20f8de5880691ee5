//! Each edit of `cases.json`, made in all ways: what ansible-core 2.19 left behind and said is there.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::Value;

use super::super::host::testing::ways;
use crate::contract::{Change, DynModule, Outcome};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

fn module(name: &str) -> Arc<dyn DynModule> {
    let all = super::super::modules();
    all.into_iter()
        .find(|module| module.info().name == name)
        .unwrap()
}

/// Looks, and writes when there is something to write.
async fn run(case: &Value, path: &str, platform: &Platform) -> Result<Outcome, ModuleError> {
    let module = module(case["module"].as_str().unwrap());
    let mut arguments = case["arguments"].as_object().unwrap().clone();
    arguments.insert("path".to_owned(), Value::from(path));
    let found = module.inspect(arguments, platform).await?;
    let preview = match &found.change {
        Change::Some { preview, .. } => Some(preview.result["msg"].clone()),
        _ => None,
    };
    let outcome = module.apply(found, platform).await?;
    if let Some(preview) = preview {
        assert_eq!(preview, outcome.result["msg"], "{case}");
    }
    Ok(outcome)
}

#[tokio::test]
async fn edits_are_those_of_ansible() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).unwrap();
    for platform in ways() {
        for case in &cases {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let shown = path.display().to_string();
            if let Some(text) = case["before"].as_str() {
                std::fs::write(&path, text).unwrap();
                let mode = std::fs::Permissions::from_mode(0o644);
                std::fs::set_permissions(&path, mode).unwrap();
            }
            let content = || std::fs::read_to_string(&path).ok();
            let done = run(case, &shown, &platform).await;
            let msg = match &done {
                Ok(outcome) => {
                    assert!(case["failed"].is_null(), "{case}");
                    assert_eq!(case["changed"], outcome.changed, "{case}");
                    for key in ["rc", "found"] {
                        assert_eq!(outcome.result.get(key), case.get(key), "{case}");
                    }
                    outcome.result["msg"].as_str().unwrap()
                }
                Err(problem) => {
                    assert_eq!(case["failed"], true, "{case}: {problem}");
                    assert_eq!(problem.result.get("rc"), case.get("rc"), "{case}");
                    problem.message.as_str()
                }
            };
            assert_eq!(case["msg"], msg.replace(&shown, "PATH"), "{case}");
            assert_eq!(content().as_deref(), case["after"].as_str(), "{case}");
            if let Some(mode) = case["mode"].as_str() {
                let meta = std::fs::metadata(&path).unwrap();
                let mode = u32::from_str_radix(mode, 8).unwrap();
                assert_eq!(meta.permissions().mode() & 0o7777, mode, "{case}");
            }
            if done.is_ok() {
                let again = run(case, &shown, &platform).await.unwrap();
                assert_eq!(again.changed, case.get("again").is_some(), "{case}");
                let wanted = case.get("again").unwrap_or(&case["after"]);
                assert_eq!(content().as_deref(), wanted.as_str(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_moved_since_it_was_read_is_left_as_it_is() {
    for platform in ways() {
        for (name, arguments) in [
            (
                "lineinfile",
                serde_json::json!({"line": "mine", "create": true}),
            ),
            (
                "blockinfile",
                serde_json::json!({"block": "mine", "create": true}),
            ),
            (
                "replace",
                serde_json::json!({"regexp": "theirs", "replace": "mine"}),
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let module = module(name);
            let mut arguments = arguments.as_object().unwrap().clone();
            arguments.insert("path".to_owned(), path.display().to_string().into());
            if name == "replace" {
                std::fs::write(&path, "theirs\n").unwrap();
            }
            let found = module.inspect(arguments.clone(), &platform).await.unwrap();
            std::fs::write(&path, "theirs, later\n").unwrap();
            let problem = module.apply(found, &platform).await.unwrap_err();
            assert_eq!(problem.kind, ErrorKind::Conflict, "{problem}");
            assert_eq!(std::fs::read(&path).unwrap(), b"theirs, later\n");
        }
    }
}
