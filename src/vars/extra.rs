//! In: the `-e` options. Out: one layer that beats everything.

use std::path::Path;
use std::sync::Arc;

use minijinja::Value;

use super::{Vars, files};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{Reader, SourceFile};
use crate::template::{Lazy, TemplateText, is_template};
use crate::yaml;

/// `key=value ...` (always text), a JSON or YAML mapping (typed), or `@FILE`; later ones win.
pub fn parse(options: &[String], reader: &Reader) -> Result<Vars, Diagnostics> {
    let mut vars = Vars::new();
    for option in options {
        vars.extend(one(option.trim(), reader)?);
    }
    Ok(vars)
}

fn one(option: &str, reader: &Reader) -> Result<Vars, Diagnostics> {
    if let Some(path) = option.strip_prefix('@') {
        return files::load_file(Path::new(path), reader);
    }
    if option.starts_with(['{', '[']) {
        let file = SourceFile::from_text("--extra-vars", option);
        let (node, problems) = yaml::parse(&file);
        if problems.has_errors() {
            return Err(problems);
        }
        let mapping = node.as_ref().and_then(|node| node.as_mapping());
        let Some(mapping) = mapping else {
            return Err(Diagnostic::error(
                Code::COMMAND_LINE,
                format!("`-e {option}` is no mapping"),
            )
            .help("write `-e key=value`, `-e '{\"key\": 1}'` or `-e @file.yml`")
            .into());
        };
        return Ok(mapping
            .iter()
            .filter_map(|(name, value)| Some((Arc::from(name.as_str()?), Lazy::from_node(value))))
            .collect());
    }
    let words = shlex::split(option).ok_or_else(|| {
        Diagnostic::error(
            Code::COMMAND_LINE,
            format!("`-e {option}`: a quote is opened and never closed"),
        )
    })?;
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or_else(|| {
                Diagnostic::error(Code::COMMAND_LINE, format!("`-e {word}` sets nothing"))
                    .help("write `-e key=value`, `-e '{\"key\": 1}'` or `-e @file.yml`")
            })?;
            Ok((Arc::from(name), text(value)))
        })
        .collect()
}

fn text(value: &str) -> Lazy {
    if is_template(value) {
        Lazy::Template(Arc::new(TemplateText::from_text("--extra-vars", value)))
    } else {
        Lazy::Data(Value::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_text_and_mappings_are_typed() {
        let options = ["a=1 b='x y'", "{\"c\": 1, \"a\": false}"].map(str::to_owned);
        let vars = parse(&options, &Reader::default()).unwrap();
        let shown = |name: &str| match &vars[name] {
            Lazy::Data(value) => serde_json::to_string(value).unwrap(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            [shown("a"), shown("b"), shown("c")],
            ["false", "\"x y\"", "1"]
        );
        for wrong in ["nothing", "@/no/such/file"] {
            assert!(parse(&[wrong.to_owned()], &Reader::default()).is_err());
        }
    }
}
