//! In: the text of a Containerfile. Out: its instructions with their lines, variables filled in, or an error with the line.

use indexmap::IndexMap;

use crate::error::ModuleError;

/// One instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The line it starts on, from 1.
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    From {
        image: String,
        name: Option<String>,
    },
    Arg,
    Label(Vec<(String, String)>),
    Env(Vec<(String, String)>),
    /// `COPY` and `ADD` of local files.
    Copy(Copy),
    /// Everything that a container engine is needed for, by its word (`RUN`, `USER`, ...).
    Engine(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub sources: Vec<String>,
    pub dest: String,
    /// Another stage or image.
    pub from: Option<String>,
    pub chmod: Option<u32>,
    /// `uid:gid`; names need a container engine.
    pub chown: Option<(u64, u64)>,
}

impl Copy {
    /// Only files of the context are copied.
    pub fn is_local(&self) -> bool {
        self.from.is_none()
            && !self
                .sources
                .iter()
                .any(|source| is_remote(source) || is_archive(source))
    }
}

/// A parsed Containerfile.
#[derive(Debug, Clone, PartialEq)]
pub struct Containerfile {
    pub instructions: Vec<Instruction>,
}

fn wrong(line: usize, message: impl std::fmt::Display) -> ModuleError {
    ModuleError::argument(
        "containerfile",
        format!("Containerfile, line {line}: {message}"),
    )
}

impl Containerfile {
    /// Parses; `args` are the build arguments (they beat the defaults of `ARG`).
    pub fn parse(text: &str, args: &IndexMap<String, String>) -> Result<Self, ModuleError> {
        let mut variables: IndexMap<String, String> = IndexMap::new();
        let mut instructions = Vec::new();
        for (line, text) in logical_lines(text) {
            let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
            let rest = rest.trim();
            let upper = word.to_uppercase();
            let has_from = instructions
                .iter()
                .any(|known: &Instruction| matches!(known.kind, Kind::From { .. }));
            if !has_from && !matches!(upper.as_str(), "FROM" | "ARG") {
                return Err(wrong(line, format!("`{upper}` before `FROM`"))
                    .hint("a Containerfile starts with `FROM` the node's base image"));
            }
            let kind = match upper.as_str() {
                "FROM" => from(line, &expand(rest, &variables))?,
                "ARG" => {
                    for word in words(line, rest)? {
                        let (name, default) = match word.split_once('=') {
                            Some((name, default)) => {
                                (name.to_owned(), Some(expand(default, &variables)))
                            }
                            None => (word, None),
                        };
                        if let Some(value) = args.get(&name).cloned().or(default) {
                            variables.insert(name, value);
                        }
                    }
                    Kind::Arg
                }
                "LABEL" => Kind::Label(pairs(line, rest, &variables)?),
                "ENV" => {
                    let entries = pairs(line, rest, &variables)?;
                    variables.extend(entries.iter().cloned());
                    Kind::Env(entries)
                }
                "COPY" | "ADD" => copy(line, &upper, rest, &variables)?,
                "MAINTAINER" | "RUN" | "CMD" | "ENTRYPOINT" | "EXPOSE" | "VOLUME" | "USER"
                | "WORKDIR" | "ONBUILD" | "STOPSIGNAL" | "HEALTHCHECK" | "SHELL" => {
                    Kind::Engine(upper)
                }
                other => return Err(wrong(line, format!("`{other}` is no instruction"))),
            };
            instructions.push(Instruction { line, kind });
        }
        let file = Self { instructions };
        if file.base().is_none() {
            return Err(
                ModuleError::argument("containerfile", "the Containerfile has no `FROM`")
                    .hint("start it with `FROM` the digest of the node's base image"),
            );
        }
        Ok(file)
    }

    /// The image of the last stage.
    pub fn base(&self) -> Option<&str> {
        self.instructions
            .iter()
            .rev()
            .find_map(|instruction| match &instruction.kind {
                Kind::From { image, .. } => Some(image.as_str()),
                _ => None,
            })
    }

    /// Why a container engine is needed: the first instruction that layerplay cannot carry out itself.
    pub fn needs_engine(&self) -> Option<(usize, String)> {
        let mut stages = 0;
        for instruction in &self.instructions {
            let word = match &instruction.kind {
                Kind::From { .. } => {
                    stages += 1;
                    (stages > 1).then(|| "a second FROM".to_owned())
                }
                Kind::Engine(word) => Some(word.clone()),
                Kind::Copy(copy) if copy.from.is_some() => Some("COPY --from".to_owned()),
                Kind::Copy(copy) if copy.sources.iter().any(|source| is_remote(source)) => {
                    Some("ADD of an address".to_owned())
                }
                Kind::Copy(copy) if copy.sources.iter().any(|source| is_archive(source)) => {
                    Some("ADD of an archive".to_owned())
                }
                _ => None,
            };
            if let Some(word) = word {
                return Some((instruction.line, word));
            }
        }
        None
    }

    /// Every copy, in order.
    pub fn copies(&self) -> impl Iterator<Item = (usize, &Copy)> {
        self.instructions
            .iter()
            .filter_map(|instruction| match &instruction.kind {
                Kind::Copy(copy) => Some((instruction.line, copy)),
                _ => None,
            })
    }
}

fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git@", "git://"]
        .iter()
        .any(|start| source.starts_with(start))
}

/// `ADD` unpacks archives; marked by `copy`, since `COPY` does not.
fn is_archive(source: &str) -> bool {
    source.starts_with("\0archive:")
}

/// Lines joined at `\`, without comments and empty lines, with the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut heredoc: Option<String> = None;
    for (index, raw) in text.lines().enumerate() {
        if let Some(end) = &heredoc {
            if raw.trim_start_matches('\t').trim_end() == end {
                heredoc = None;
            }
            continue;
        }
        let trimmed = raw.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_none()) {
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        let (body, goes_on) = match trimmed.strip_suffix('\\') {
            Some(body) => (body.trim_end(), true),
            None => (trimmed, false),
        };
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(body);
        if goes_on {
            open = Some((start, joined));
            continue;
        }
        heredoc = heredoc_end(&joined);
        lines.push((start, joined));
    }
    lines.extend(open);
    lines
}

/// The word that ends a here-document which a line starts.
fn heredoc_end(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("<<")?;
    let word: String = rest
        .trim_start_matches('-')
        .trim_start_matches(['"', '\''])
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

fn words(line: usize, text: &str) -> Result<Vec<String>, ModuleError> {
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|problem| wrong(line, format!("not a JSON list: {problem}")));
    }
    shlex::split(text).ok_or_else(|| wrong(line, "a quote is opened and never closed"))
}

fn from(line: usize, rest: &str) -> Result<Kind, ModuleError> {
    let mut parts = rest
        .split_whitespace()
        .filter(|word| !word.starts_with("--"));
    let image = parts
        .next()
        .ok_or_else(|| wrong(line, "`FROM` names no image"))?;
    let name = match (parts.next(), parts.next()) {
        (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => Some(name.to_owned()),
        (None, None) => None,
        _ => return Err(wrong(line, "write `FROM image` or `FROM image AS name`")),
    };
    Ok(Kind::From {
        image: image.to_owned(),
        name,
    })
}

/// `k=v k2="a b"`, or the old form `k the rest`.
fn pairs(
    line: usize,
    rest: &str,
    variables: &IndexMap<String, String>,
) -> Result<Vec<(String, String)>, ModuleError> {
    let words = words(line, rest)?;
    if let (Some(first), true) = (words.first(), words.len() > 1)
        && !first.contains('=')
    {
        return Ok(vec![(
            first.clone(),
            expand(&words[1..].join(" "), variables),
        )]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| wrong(line, format!("`{word}` is no `name=value`")))?;
            Ok((expand(name, variables), expand(value, variables)))
        })
        .collect()
}

fn copy(
    line: usize,
    word: &str,
    rest: &str,
    variables: &IndexMap<String, String>,
) -> Result<Kind, ModuleError> {
    if rest.contains("<<") {
        return Ok(Kind::Engine(format!("{word} of a here-document")));
    }
    let (mut from, mut chmod, mut chown) = (None, None, None);
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        match flag.split_once('=') {
            Some(("from", name)) => from = Some(expand(name, variables)),
            Some(("chmod", mode)) => {
                let mode = expand(mode, variables);
                match u32::from_str_radix(&mode, 8) {
                    Ok(mode) => chmod = Some(mode & 0o7777),
                    Err(_) => return Ok(Kind::Engine(format!("{word} --chmod={mode}"))),
                }
            }
            Some(("chown", owner)) => {
                let owner = expand(owner, variables);
                let (uid, gid) = owner.split_once(':').unwrap_or((&owner, &owner));
                match (uid.parse(), gid.parse()) {
                    (Ok(uid), Ok(gid)) => chown = Some((uid, gid)),
                    _ => return Ok(Kind::Engine(format!("{word} --chown={owner}"))),
                }
            }
            _ => return Ok(Kind::Engine(format!("{word} --{flag}"))),
        }
    }
    let mut words: Vec<String> = words(line, rest)?
        .iter()
        .map(|word| expand(word, variables))
        .collect();
    let dest = words
        .pop()
        .filter(|_| !words.is_empty())
        .ok_or_else(|| wrong(line, format!("`{word}` needs a source and a destination")))?;
    if word == "ADD" {
        for source in &mut words {
            let lower = source.to_lowercase();
            if [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"]
                .iter()
                .any(|ending| lower.ends_with(ending))
            {
                *source = format!("\0archive:{source}");
            }
        }
    }
    Ok(Kind::Copy(Copy {
        sources: words,
        dest,
        from,
        chmod,
        chown,
    }))
}

/// `$name`, `${name}`, `${name:-default}`, `${name:+other}`.
fn expand(text: &str, variables: &IndexMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if rest.as_bytes().get(at) == Some(&b'\\') {
            let escaped = after.strip_prefix('$');
            out.push(if escaped.is_some() { '$' } else { '\\' });
            rest = escaped.unwrap_or(after);
            continue;
        }
        if let Some(inner) = after.strip_prefix('{')
            && let Some(end) = inner.find('}')
        {
            let (name, operation) = inner[..end].split_once(':').unwrap_or((&inner[..end], ""));
            let value = variables
                .get(name)
                .filter(|value| !value.is_empty() || operation.is_empty());
            match (value, operation.get(..1), operation.get(1..)) {
                (None, Some("-"), Some(other)) | (Some(_), Some("+"), Some(other)) => {
                    out.push_str(other);
                }
                (Some(value), _, _) => out.push_str(value),
                _ => {}
            }
            rest = &inner[end + 1..];
            continue;
        }
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(after.len());
        if end == 0 {
            out.push('$');
        } else if let Some(value) = variables.get(&after[..end]) {
            out.push_str(value);
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Containerfile, ModuleError> {
        Containerfile::parse(
            text,
            &IndexMap::from([("given".to_owned(), "g".to_owned())]),
        )
    }

    #[test]
    fn instructions_are_read_with_variables_and_lines() {
        let file = parse(
            "# comment\nARG base=reg/x@sha256:1\nFROM ${base}\nARG given=default\nLABEL a=\"x y\" \\\n   # inside\n   b=$given\n\nCOPY --chmod=755 --chown=0:5 a b* /etc/${none:-dir}/\n",
        )
        .unwrap();
        assert_eq!(file.base(), Some("reg/x@sha256:1"));
        assert_eq!(file.needs_engine(), None);
        let label = &file.instructions[3];
        assert_eq!(
            (label.line, &label.kind),
            (
                5,
                &Kind::Label(vec![
                    ("a".to_owned(), "x y".to_owned()),
                    ("b".to_owned(), "g".to_owned())
                ])
            )
        );
        let (line, copy) = file.copies().next().unwrap();
        assert_eq!(
            (line, copy.dest.as_str(), copy.chmod, copy.chown),
            (9, "/etc/dir/", Some(0o755), Some((0, 5)))
        );
        assert_eq!(copy.sources, ["a", "b*"]);
    }

    #[test]
    fn what_needs_an_engine_is_named_with_its_line() {
        for (text, word) in [
            ("FROM x\nRUN a \\\n && b\n", "RUN"),
            ("FROM x\nRUN <<EOF\nCOPY nothing\nEOF\n", "RUN"),
            ("FROM x AS a\nFROM y\n", "a second FROM"),
            ("FROM x\nCOPY --from=a b /c\n", "COPY --from"),
            ("FROM x\nADD a.tar.gz /c\n", "ADD of an archive"),
            ("FROM x\nADD https://e/x /c\n", "ADD of an address"),
            ("FROM x\nCOPY --chown=root a /c\n", "COPY --chown=root"),
        ] {
            assert_eq!(
                parse(text).unwrap().needs_engine(),
                Some((2, word.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, said) in [
            ("", "the Containerfile has no `FROM`"),
            ("COPY a b\n", "Containerfile, line 1: `COPY` before `FROM`"),
            (
                "FROM x\nCPOY a b\n",
                "Containerfile, line 2: `CPOY` is no instruction",
            ),
            (
                "FROM x\nCOPY a\n",
                "Containerfile, line 2: `COPY` needs a source and a destination",
            ),
            (
                "FROM x\nLABEL \"open\n",
                "Containerfile, line 2: a quote is opened and never closed",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().message, said);
        }
    }
}
