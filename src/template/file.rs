//! In: what a template file, or the module that renders it, says of its markers and white space. Out: the engine set
//! up for it, with the files that it includes.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind};

use super::dialect::environment;
use super::lazy::TemplateText;
use super::split::{Markers, split_by};
use super::templar::Whole;

/// How a template file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    pub block: (String, String),
    pub variable: (String, String),
    pub comment: (String, String),
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    pub keep_trailing_newline: bool,
    /// Where files are that it includes, nearest first.
    pub search: Vec<PathBuf>,
}

impl Default for Form {
    fn default() -> Self {
        let pair = |open: &str, close: &str| (open.to_owned(), close.to_owned());
        Self {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
            trim_blocks: true,
            lstrip_blocks: false,
            keep_trailing_newline: false,
            search: Vec::new(),
        }
    }
}

/// The first line of a file that says how the rest is written.
const HEADER: &str = "#jinja2:";

impl Form {
    /// Sets one option by the name that it has in Ansible.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        let flag = || match value.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(format!("`{name}` is true or false, not `{value}`")),
        };
        match name {
            "block_start_string" => self.block.0 = text(),
            "block_end_string" => self.block.1 = text(),
            "variable_start_string" => self.variable.0 = text(),
            "variable_end_string" => self.variable.1 = text(),
            "comment_start_string" => self.comment.0 = text(),
            "comment_end_string" => self.comment.1 = text(),
            "trim_blocks" => self.trim_blocks = flag()?,
            "lstrip_blocks" => self.lstrip_blocks = flag()?,
            "keep_trailing_newline" => self.keep_trailing_newline = flag()?,
            "newline_sequence" => {}
            _ => return Err(format!("`{name}` is no option of a template")),
        }
        Ok(())
    }

    /// Takes the header off a text, and what it says in.
    pub(super) fn header<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let Some(rest) = text.strip_prefix(HEADER) else {
            return Ok(text);
        };
        let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
        for part in line.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part
                .split_once(':')
                .ok_or_else(|| format!("`{}` of the header has no colon", part.trim()))?;
            let value = value.trim();
            let bare = value
                .strip_prefix(['\'', '"'])
                .and_then(|value| value.strip_suffix(['\'', '"']))
                .unwrap_or(value);
            self.set(name.trim(), bare)?;
        }
        Ok(body)
    }

    pub(super) fn markers(&self) -> Markers<'_> {
        Markers {
            block: (&self.block.0, &self.block.1),
            variable: (&self.variable.0, &self.variable.1),
            comment: (&self.comment.0, &self.comment.1),
        }
    }

    /// The engine for this form.
    pub(super) fn environment(&self) -> Result<Environment<'static>, Error> {
        let mut env = environment().clone();
        let mut syntax = SyntaxConfig::builder();
        syntax
            .block_delimiters(self.block.0.clone(), self.block.1.clone())
            .variable_delimiters(self.variable.0.clone(), self.variable.1.clone())
            .comment_delimiters(self.comment.0.clone(), self.comment.1.clone())
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .keep_trailing_newline(self.keep_trailing_newline);
        env.set_syntax(syntax.build()?);
        let form = self.clone();
        env.set_loader(move |name| form.load(name));
        Ok(env)
    }

    /// A file that a template includes.
    fn load(&self, name: &str) -> Result<Option<String>, Error> {
        let fail = |message: String| Error::new(ErrorKind::InvalidOperation, message);
        let Some(path) = self.find(name) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|problem| fail(format!("`{}`: {problem}", path.display())))?;
        let text = TemplateText::from_text(name, &text);
        let pieces = split_by(&text.text, &self.markers()).map_err(|problem| {
            fail(format!(
                "`{}`: a template is opened and never closed by `{}`",
                path.display(),
                problem.wanted
            ))
        })?;
        Ok(Some(Whole::new(&text, &pieces, false).source))
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        if name.split('/').any(|part| part == "..") {
            return None;
        }
        let mut all = self.search.iter().map(|dir| dir.join(name));
        all.find(|path: &PathBuf| Path::is_file(path))
    }
}
