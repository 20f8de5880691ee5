//! In: text; out: nodes, with every problem of the text. Composes the parser's events: resolves scalars, expands
//! aliases within a budget, merges `<<`, and keeps the place of everything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span as RawSpan};

use super::node::{Mapping, Node, NodeKind, Scalar, ScalarValue, Style, Tag};
use super::scalar;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Severity};
use crate::source::{DuplicateKeys, SourceFile, Span};

/// Nodes that aliases may add to a file: far beyond any honest use, far below what hurts.
const ALIAS_BUDGET: usize = 100_000;
/// Nesting that is still read. Every later stage walks the tree by recursion.
const DEPTH: usize = 128;

/// Parses a file of one document. `None` for an empty one. Warnings (duplicate keys) come along.
pub fn parse(file: &Arc<SourceFile>) -> (Option<Node>, Diagnostics) {
    let (mut documents, mut diagnostics) = parse_documents(file);
    if documents.len() > 1 {
        let second = documents[1].span.clone();
        diagnostics.push(
            Diagnostic::error(
                Code::YAML_DOCUMENTS,
                "the file holds more than one YAML document",
            )
            .at(&second, "the second one starts here")
            .help("put each document into a file of its own"),
        );
    }
    documents.truncate(1);
    (documents.pop(), diagnostics)
}

/// Parses a file of any number of documents. What comes before a syntax error is dropped: half a file means something else.
pub fn parse_documents(file: &Arc<SourceFile>) -> (Vec<Node>, Diagnostics) {
    let mut composer = Composer {
        file,
        parser: Parser::new_from_str(&file.text),
        anchors: HashMap::new(),
        expanded: 0,
        diagnostics: Diagnostics::default(),
    };
    match composer.documents() {
        Ok(documents) => (documents, composer.diagnostics),
        Err(problem) => {
            composer.diagnostics.push(*problem);
            (Vec::new(), composer.diagnostics)
        }
    }
}

type Composed<T> = Result<T, Box<Diagnostic>>;
type Input<'t> = granit_parser::StrInput<'t>;

struct Composer<'t> {
    file: &'t Arc<SourceFile>,
    parser: Parser<'t, Input<'t>>,
    /// Finished anchored nodes, with the number of nodes in each.
    anchors: HashMap<usize, (Node, usize)>,
    expanded: usize,
    diagnostics: Diagnostics,
}

impl<'t> Composer<'t> {
    fn documents(&mut self) -> Composed<Vec<Node>> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(..)
                | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, &span, 0)?;
                    // A file of comments is one empty plain scalar: no document.
                    if !(node.is_null() && node.span.text().is_empty()) {
                        documents.push(node);
                    }
                }
            }
        }
        Ok(documents)
    }

    fn next(&mut self) -> Composed<Option<(Event<'t>, RawSpan)>> {
        loop {
            match self.parser.next_event() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, span))),
                Some(Err(problem)) => return Err(Box::new(self.syntax(&problem))),
            }
        }
    }

    /// The parser's own words, or better ones for the mistake that everybody makes: an unquoted template.
    fn syntax(&self, problem: &granit_parser::ScanError) -> Diagnostic {
        let at = problem.marker().byte_offset().unwrap_or_else(|| {
            self.file
                .text
                .char_indices()
                .nth(problem.marker().index())
                .map_or(self.file.text.len(), |(byte, _)| byte)
        });
        self.unquoted_template_near(at).unwrap_or_else(|| {
            let place = Span::new(self.file, at, at);
            Diagnostic::error(Code::YAML_SYNTAX, format!("not YAML: {}", problem.info()))
                .at(&place, "")
        })
    }

    /// `key: {{ value }}` on the line of a problem, or on the line before it.
    fn unquoted_template_near(&self, at: usize) -> Option<Diagnostic> {
        let text = &self.file.text;
        let at = (0..=at.min(text.len()))
            .rev()
            .find(|byte| text.is_char_boundary(*byte))?;
        let this = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = text[..this.saturating_sub(1)]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        [this, before].into_iter().find_map(|start| {
            let line = text[start..].lines().next()?;
            let value = line.find("{{")?;
            let lead = line[..value].trim_end();
            if !(lead.ends_with(':') || lead.ends_with('-') || lead.is_empty()) {
                return None;
            }
            let end = line.rfind("}}").map_or(line.len(), |close| close + 2);
            Some(Self::quote_it(&Span::new(
                self.file,
                start + value,
                start + end,
            )))
        })
    }

    fn quote_it(span: &Span) -> Diagnostic {
        Diagnostic::error(
            Code::UNQUOTED_TEMPLATE,
            "a value that starts with a template must be quoted",
        )
        .at(span, "YAML reads `{` as the start of a mapping")
        .help(format!("write \"{}\"", span.text()))
    }

    fn span(&self, raw: &RawSpan) -> Span {
        let range = raw.byte_range().unwrap_or(0..0);
        Span::new(self.file, range.start, range.end)
    }

    fn node(&mut self, event: Event<'t>, raw: &RawSpan, depth: usize) -> Composed<Node> {
        let span = self.span(raw);
        if depth > DEPTH {
            return Err(Box::new(
                Diagnostic::error(
                    Code::YAML_BUDGET,
                    format!("nested deeper than {DEPTH} levels"),
                )
                .at(&span, ""),
            ));
        }
        let before = self.expanded;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_node(&text, style, tag.as_deref(), span))
            }
            Event::SequenceStart(_, anchor, tag) => {
                (anchor, self.sequence(span, tag.as_deref(), depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                (anchor, self.mapping(span, tag.as_deref(), depth)?)
            }
            Event::Alias(id) => return self.alias(id, &span),
            other => {
                return Err(Box::new(
                    Diagnostic::error(Code::YAML_SYNTAX, format!("not YAML: unexpected {other:?}"))
                        .at(&span, ""),
                ));
            }
        };
        if anchor != 0 {
            let size = count(&node).max(self.expanded - before);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Composed<Node> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return Err(Box::new(
                Diagnostic::error(
                    Code::YAML_SYNTAX,
                    "not YAML: an alias inside the node that it names",
                )
                .at(span, ""),
            ));
        };
        self.expanded += size;
        if self.expanded > ALIAS_BUDGET {
            return Err(Box::new(
                Diagnostic::error(
                    Code::YAML_BUDGET,
                    format!("aliases expand to more than {ALIAS_BUDGET} nodes"),
                )
                .at(span, "this one passes the limit"),
            ));
        }
        Ok(node.clone())
    }

    fn sequence(
        &mut self,
        mut span: Span,
        tag: Option<&granit_parser::Tag>,
        depth: usize,
    ) -> Composed<Node> {
        let mut items = Vec::new();
        while let Some((event, raw)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, &raw, depth + 1)?);
        }
        if let Some(last) = items.last() {
            span.end = span.end.max(last.span.end);
        }
        Ok(Node {
            span,
            tag: known(tag),
            kind: NodeKind::Sequence(items),
        })
    }

    fn mapping(
        &mut self,
        mut span: Span,
        tag: Option<&granit_parser::Tag>,
        depth: usize,
    ) -> Composed<Node> {
        let mut mapping = Mapping::default();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut merges = Vec::new();
        while let Some((event, raw)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, &raw, depth + 1)?;
            let Some((event, raw)) = self.next()? else {
                break;
            };
            let value = self.node(event, &raw, depth + 1)?;
            span.end = span.end.max(value.span.end).max(key.span.end);
            let Some(scalar) = key.as_scalar() else {
                return Err(Box::new(self.odd_key(&key)));
            };
            if scalar.style == Style::Plain && &*scalar.text == "<<" {
                merges.push(value);
                continue;
            }
            let name = Arc::clone(&scalar.text);
            if let Some(at) = places.get(&name).copied() {
                let earlier = mapping.entries[at].0.span.clone();
                let problem = Diagnostic::warning(
                    Code::DUPLICATE_KEY,
                    format!("`{name}` stands twice in one mapping; the last one counts"),
                )
                .at(&key.span, "this one counts")
                .also(&earlier, "this one is lost");
                match key.span.file.duplicate_keys {
                    DuplicateKeys::Warn => self.diagnostics.push(problem),
                    DuplicateKeys::Error => self.diagnostics.push(Diagnostic {
                        severity: Severity::Error,
                        ..problem
                    }),
                    DuplicateKeys::Ignore => {}
                }
                mapping.entries[at] = (key, value);
            } else {
                places.insert(name, mapping.entries.len());
                mapping.entries.push((key, value));
            }
        }
        merge(&mut mapping, merges)?;
        Ok(Node {
            span,
            tag: known(tag),
            kind: NodeKind::Mapping(mapping),
        })
    }

    fn odd_key(&self, key: &Node) -> Diagnostic {
        // `{{ name }}` without quotes is a mapping whose key is a mapping.
        let text = &self.file.text;
        let opened = text[..key.span.start]
            .ends_with('{')
            .then(|| key.span.start - 1);
        if let Some(start) = opened.filter(|_| text[key.span.start..].starts_with('{')) {
            let end = text[start..]
                .find("}}")
                .map_or(key.span.end, |close| start + close + 2);
            return Self::quote_it(&Span::new(self.file, start, end));
        }
        Diagnostic::error(
            Code::WRONG_SHAPE,
            format!("{} cannot be the key of a mapping", key.describe()),
        )
        .at(&key.span, "")
    }
}

/// `<<: *a` and `<<: [*a, *b]`: keys that are there already win, then earlier mappings. Merged keys come first,
/// as PyYAML orders them.
fn merge(mapping: &mut Mapping, merges: Vec<Node>) -> Composed<()> {
    if merges.is_empty() {
        return Ok(());
    }
    let mut own: HashSet<Arc<str>> = mapping
        .entries
        .iter()
        .filter_map(|(key, _)| key.as_scalar().map(|scalar| Arc::clone(&scalar.text)))
        .collect();
    let mut merged = Vec::new();
    for source in merges {
        let sources = match source.kind {
            NodeKind::Sequence(items) => items,
            _ => vec![source],
        };
        for source in sources {
            let NodeKind::Mapping(entries) = source.kind else {
                return Err(Box::new(
                    Diagnostic::error(
                        Code::WRONG_SHAPE,
                        "`<<` takes a mapping or a list of mappings",
                    )
                    .at(&source.span, ""),
                ));
            };
            for (key, value) in entries.entries {
                let new = key
                    .as_scalar()
                    .is_some_and(|scalar| own.insert(Arc::clone(&scalar.text)));
                if new {
                    merged.push((key, value));
                }
            }
        }
    }
    merged.append(&mut mapping.entries);
    mapping.entries = merged;
    Ok(())
}

fn scalar_node(
    text: &str,
    style: ScalarStyle,
    tag: Option<&granit_parser::Tag>,
    span: Span,
) -> Node {
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    };
    // The parser's empty value is a plain `~` with an empty range.
    let text: Arc<str> = if style == Style::Plain && span.start == span.end {
        Arc::from("")
    } else {
        Arc::from(text)
    };
    let is_string = known(tag).is_some() || tag.is_some_and(|tag| tag.suffix() == "str");
    let value = if style == Style::Plain && !is_string {
        scalar::resolve(&text)
    } else {
        ScalarValue::Text
    };
    Node {
        span,
        tag: known(tag),
        kind: NodeKind::Scalar(Scalar { value, text, style }),
    }
}

/// The tags that mean something here; others are passed over, as their values read well without them.
fn known(tag: Option<&granit_parser::Tag>) -> Option<Tag> {
    match tag?.suffix() {
        "vault" | "vault-encrypted" => Some(Tag::Vault),
        "unsafe" => Some(Tag::Unsafe),
        _ => None,
    }
}

/// Nodes in a tree.
fn count(node: &Node) -> usize {
    1 + match &node.kind {
        NodeKind::Scalar(_) => 0,
        NodeKind::Sequence(items) => items.iter().map(count).sum(),
        NodeKind::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| count(key) + count(value))
            .sum(),
    }
}
