//! Who may import whom. The flow is the order of the modules in `src/lib.rs`; a `use` against it is refused here,
//! because nothing else would notice until the parts have grown together.

use std::path::{Path, PathBuf};

/// A module of `src/`, and what it may use of ours.
const MAY_USE: &[(&str, &[&str])] = &[
    ("vault", &[]),
    ("foreign", &[]),
    ("source", &["vault"]),
    ("diagnostic", &["source"]),
    ("yaml", &["source", "diagnostic"]),
    (
        "template",
        &["vault", "source", "diagnostic", "yaml", "foreign"],
    ),
    ("inventory", &["source", "diagnostic", "yaml", "template"]),
    (
        "vars",
        &["source", "diagnostic", "yaml", "template", "inventory"],
    ),
    // Files of variables of a role are read as all others are.
    (
        "playbook",
        &[
            "source",
            "diagnostic",
            "yaml",
            "template",
            "vars",
            "foreign",
        ],
    ),
    (
        "plan",
        &[
            "source",
            "diagnostic",
            "template",
            "inventory",
            "vars",
            "playbook",
            "foreign",
        ],
    ),
    ("event", &[]),
    ("promote", &["event"]),
    (
        "run",
        &[
            "source",
            "diagnostic",
            "yaml",
            "template",
            "inventory",
            "vars",
            "playbook",
            "plan",
            "promote",
            "event",
        ],
    ),
    ("report", &["event"]),
    ("platform", &["run"]),
    ("lab", &["diagnostic"]),
];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `crate::NAME` in a line of code, not in a comment.
fn used(line: &str) -> Option<&str> {
    let code = line.split("//").next()?;
    let name = code.split_once("crate::")?.1;
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    Some(&name[..end])
}

#[test]
fn no_import_against_the_flow() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut wrong = Vec::new();
    for file in &all {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let Some((_, may)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            assert!(
                ["lib", "main", "cli"].contains(&module.as_str()),
                "`{module}` has no place in the flow"
            );
            continue;
        };
        for (number, line) in std::fs::read_to_string(file).unwrap().lines().enumerate() {
            if let Some(name) = used(line)
                && name != module
                && !may.contains(&name)
            {
                wrong.push(format!(
                    "src/{}:{}: {}",
                    inside.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the flow:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_says_what_goes_in_and_what_comes_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for folder in ["src", "modules", "tests/it"] {
        files(&root.join(folder), &mut all);
    }
    let silent: Vec<_> = all
        .iter()
        .filter(|file| !std::fs::read_to_string(file).unwrap().starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "without a word on top: {silent:?}");
}
