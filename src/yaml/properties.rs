//! In: scalars and documents of all shapes. Out: nothing, unless a plain scalar has another type than PyYAML's own
//! regular expressions give it, a quoted one is anything but its text, or a place does not cut out what stands there.

use std::sync::LazyLock;

use fancy_regex::Regex;
use proptest::prelude::*;

use super::scalar::resolve;
use super::{Node, NodeKind, ScalarValue, parse};
use crate::source::SourceFile;

/// `yaml/resolver.py` of PyYAML 6.0.3: what counts for each first character is left out, as the expressions say it, too.
struct Rules {
    bool: Regex,
    float: Regex,
    int: Regex,
    null: Regex,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let regex = |text: &str| Regex::new(&format!("^(?x:{text})\\z")).unwrap();
    Rules {
        bool: regex("yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"),
        float: regex(
            r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?
             |\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
             |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
             |[-+]?\.(?:inf|Inf|INF)
             |\.(?:nan|NaN|NAN)",
        ),
        int: regex(
            r"[-+]?0b[0-1_]+
             |[-+]?0[0-7_]+
             |[-+]?(?:0|[1-9][0-9_]*)
             |[-+]?0x[0-9a-fA-F_]+
             |[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
        ),
        null: regex("~|null|Null|NULL|"),
    }
});

/// `construct_yaml_int`: none where PyYAML itself fails.
fn integer(text: &str) -> Option<i128> {
    let text = text.replace('_', "");
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let value = if text == "0" {
        0
    } else if let Some(digits) = text.strip_prefix("0b") {
        i128::from_str_radix(digits, 2).ok()?
    } else if let Some(digits) = text.strip_prefix("0x") {
        i128::from_str_radix(digits, 16).ok()?
    } else if text.starts_with('0') {
        i128::from_str_radix(text, 8).ok()?
    } else {
        text.split(':').try_fold(0_i128, |sum, part| {
            Some(sum * 60 + part.parse::<i128>().ok()?)
        })?
    };
    Some(sign * value)
}

/// `construct_yaml_float`
fn float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_lowercase();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    match text {
        ".inf" => Some(sign * f64::INFINITY),
        ".nan" => Some(f64::NAN),
        _ => {
            let sum = text.split(':').try_fold(0.0, |sum, part| {
                Some(sum * 60.0 + part.parse::<f64>().ok()?)
            })?;
            Some(sign * sum)
        }
    }
}

fn same(found: f64, wanted: f64) -> bool {
    found.to_bits() == wanted.to_bits()
        || (found.is_nan() && wanted.is_nan())
        // Sums of base 60 are added up in another order.
        || (found - wanted).abs() <= wanted.abs() * 1e-14
}

fn agrees(text: &str) -> Result<(), TestCaseError> {
    let found = resolve(text);
    let is = |regex: &Regex| regex.is_match(text).unwrap();
    if is(&RULES.null) {
        prop_assert_eq!(found, ScalarValue::Null);
    } else if is(&RULES.bool) {
        let truth = matches!(text.to_lowercase().as_str(), "yes" | "true" | "on");
        prop_assert_eq!(found, ScalarValue::Bool(truth));
    } else if is(&RULES.float) {
        let wanted = float(text).unwrap();
        prop_assert!(
            matches!(found, ScalarValue::Float(found) if same(found, wanted)),
            "{} is {:?}, not {}",
            text,
            found,
            wanted
        );
    } else if is(&RULES.int) {
        match integer(text).map(|value| (value, i64::try_from(value))) {
            Some((_, Ok(value))) => prop_assert_eq!(found, ScalarValue::Int(value)),
            Some((value, Err(_))) => prop_assert_eq!(found, ScalarValue::BigInt(value.to_string())),
            // `0x_`: an error of PyYAML.
            None => prop_assert_eq!(found, ScalarValue::Text),
        }
    } else {
        prop_assert_eq!(found, ScalarValue::Text);
    }
    Ok(())
}

/// Shapes near to those that mean something.
const NEAR: &str =
    "[-+]?(0[box]?)?[0-9_]{0,9}(:[0-9]{1,2}){0,2}(\\.[0-9_]{0,4})?([eE][-+]?[0-9]{0,2})?";
const WORDS: &str = "[-+]?\\.?([yY]es|YES|[nN]o|NO|[tT]rue|TRUE|[oO]n|off|Off|OFF|~|[nN]ull|NULL|inf|Inf|nan|NaN|NAN|y|n)[_a]?";

/// A scalar as a file has it, and its text.
#[derive(Debug, Clone)]
struct Written {
    raw: String,
    text: String,
}

fn plain() -> impl Strategy<Value = Written> {
    prop_oneof![
        "[a-zA-Z0-9_./é€][a-zA-Z0-9_./é€ '\"-]{0,12}[a-zA-Z0-9]",
        NEAR,
        WORDS
    ]
    .prop_filter("a scalar of its own", |text| {
        !text.is_empty() && text != "-" && !text.ends_with(':') && !text.starts_with("---")
    })
    .prop_map(|text| Written {
        raw: text.clone(),
        text,
    })
}

fn quoted() -> impl Strategy<Value = Written> {
    let single = "\\PC{0,12}".prop_map(|text: String| Written {
        raw: format!("'{}'", text.replace('\'', "''")),
        text,
    });
    let double = any::<String>().prop_map(|text: String| {
        let escaped = text.chars().map(|c| match c {
            'a'..='z' | ' ' | 'é' => c.to_string(),
            _ => format!("\\U{:08X}", u32::from(c)),
        });
        Written {
            raw: format!("\"{}\"", escaped.collect::<String>()),
            text,
        }
    });
    prop_oneof![single, double]
}

#[derive(Debug, Clone)]
enum Tree {
    Leaf(Written),
    List(Vec<Tree>),
    Map(Vec<(Written, Tree)>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![plain(), quoted()].prop_map(Tree::Leaf);
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Tree::List),
            proptest::collection::vec((prop_oneof![plain(), quoted()], inner), 1..4).prop_map(
                |entries| {
                    let mut seen = std::collections::BTreeSet::new();
                    let entries = entries.into_iter();
                    Tree::Map(
                        entries
                            .filter(|(key, _)| key.text != "<<" && seen.insert(key.text.clone()))
                            .collect(),
                    )
                }
            ),
        ]
    })
}

/// Writes a tree in block style, and remembers its scalars in their order.
fn write(tree: &Tree, indent: usize, out: &mut String, scalars: &mut Vec<Written>) {
    match tree {
        Tree::Leaf(leaf) => {
            out.push(' ');
            out.push_str(&leaf.raw);
            scalars.push(leaf.clone());
        }
        Tree::List(items) => {
            for item in items {
                out.push_str(&format!("\n{}-", " ".repeat(indent)));
                write(item, indent + 2, out, scalars);
            }
        }
        Tree::Map(entries) => {
            for (key, value) in entries {
                out.push_str(&format!("\n{}{}:", " ".repeat(indent), key.raw));
                scalars.push(key.clone());
                write(value, indent + 2, out, scalars);
            }
        }
    }
}

fn scalars<'n>(node: &'n Node, found: &mut Vec<&'n Node>) {
    match &node.kind {
        NodeKind::Scalar(_) => found.push(node),
        NodeKind::Sequence(items) => items.iter().for_each(|item| scalars(item, found)),
        NodeKind::Mapping(mapping) => {
            for (key, value) in mapping.iter() {
                scalars(key, found);
                scalars(value, found);
            }
        }
    }
}

/// No node, at any depth, lies outside of the file or of the node around it.
fn lies_within(node: &Node, start: usize, end: usize) -> bool {
    let own = (node.span.start, node.span.end);
    let inside = start <= own.0 && own.0 <= own.1 && own.1 <= end;
    inside
        && match &node.kind {
            NodeKind::Scalar(_) => true,
            NodeKind::Sequence(items) => items.iter().all(|item| lies_within(item, own.0, own.1)),
            NodeKind::Mapping(mapping) => mapping.iter().all(|(key, value)| {
                lies_within(key, own.0, own.1) && lies_within(value, own.0, own.1)
            }),
        }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn plain_scalars_have_pyyamls_types(
        text in prop_oneof![NEAR, WORDS, "[-+0-9a-fxob_:.eE~]{0,12}", "\\PC{0,6}"],
    ) {
        agrees(&text)?;
    }

    #[test]
    fn quoted_scalars_are_their_text(written in quoted()) {
        let file = SourceFile::from_text("t.yml", format!("é: {}\n", written.raw));
        let (node, problems) = parse(&file);
        prop_assert!(!problems.has_errors(), "{:?}", problems);
        let node = node.unwrap();
        let value = &node.as_mapping().unwrap().entries[0].1;
        let scalar = value.as_scalar().unwrap();
        prop_assert_eq!(&scalar.value, &ScalarValue::Text);
        prop_assert_eq!(&*scalar.text, written.text.as_str());
        prop_assert_eq!(value.span.text(), written.raw.as_str());
    }

    #[test]
    fn places_cut_out_what_stands_there(tree in tree()) {
        let (mut text, mut wanted) = (String::new(), Vec::new());
        write(&tree, 0, &mut text, &mut wanted);
        text.push('\n');
        let file = SourceFile::from_text("t.yml", &text);
        let (node, problems) = parse(&file);
        prop_assert!(!problems.has_errors(), "{:?}", problems);
        let node = node.unwrap();
        prop_assert!(lies_within(&node, 0, text.len()));
        let mut found = Vec::new();
        scalars(&node, &mut found);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|node| (node.span.text(), &*node.as_scalar().unwrap().text))
            .collect();
        let wanted: Vec<(&str, &str)> = wanted
            .iter()
            .map(|written| (written.raw.as_str(), written.text.as_str()))
            .collect();
        prop_assert_eq!(found, wanted, "{}", text);
    }

    #[test]
    fn no_place_is_outside_of_a_broken_file(text in "([ \\n]|- |: |é|[a-c]|'|\"|\\{|\\}|\\[|\\]|\\||>|&a|\\*a|#|<<: |,){0,40}") {
        let file = SourceFile::from_text("t.yml", &text);
        let (node, problems) = parse(&file);
        if let Some(node) = node {
            let mut found = Vec::new();
            scalars(&node, &mut found);
            for node in found {
                prop_assert!(text.get(node.span.start..node.span.end).is_some());
            }
        }
        for problem in &problems.0 {
            let places = problem.primary.iter().map(|(span, _)| span);
            for span in places {
                prop_assert!(text.get(span.start..span.end).is_some(), "{:?}", span);
            }
        }
    }
}
