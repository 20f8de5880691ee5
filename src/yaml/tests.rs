//! What texts become: nodes with their places, or problems with theirs.

use super::*;
use crate::diagnostic::{Code, Diagnostics};
use crate::source::SourceFile;

fn read(text: &str) -> (Option<Node>, Diagnostics) {
    parse(&SourceFile::from_text("t.yml", text))
}

fn good(text: &str) -> Node {
    let (node, diagnostics) = read(text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    node.unwrap()
}

fn first_problem(text: &str) -> (Code, String, Option<String>) {
    let (_, diagnostics) = read(text);
    let problem = &diagnostics.0[0];
    let place = problem.primary.as_ref().map(|(span, _)| span.to_string());
    (problem.code, problem.message.clone(), place)
}

#[test]
fn every_value_keeps_its_place() {
    let node = good("a:\n  - é: 'x y'\n  - \"q\"\n");
    let list = node.as_mapping().unwrap().get("a").unwrap();
    let items = list.as_sequence().unwrap();
    let (key, value) = &items[0].as_mapping().unwrap().entries[0];
    assert_eq!((key.span.text(), key.span.line_column()), ("é", (2, 5)));
    assert_eq!(
        (value.span.text(), value.span.line_column()),
        ("'x y'", (2, 8))
    );
    assert_eq!(items[1].span.text(), "\"q\"");
}

#[test]
fn only_plain_scalars_are_resolved() {
    let node = good(
        "[yes, 'yes', \"0644\", 0644, |\n  5\n]"
            .replace("|\n  5\n", "x")
            .as_str(),
    );
    let values: Vec<_> = node
        .as_sequence()
        .unwrap()
        .iter()
        .map(|node| node.as_scalar().unwrap().value.clone())
        .collect();
    assert_eq!(
        values,
        [
            ScalarValue::Bool(true),
            ScalarValue::Text,
            ScalarValue::Text,
            ScalarValue::Int(420),
            ScalarValue::Text
        ]
    );
    assert_eq!(
        good("a: |\n  5\n")
            .as_mapping()
            .unwrap()
            .get("a")
            .unwrap()
            .as_str(),
        Some("5\n")
    );
    assert_eq!(
        good("a: !!str 5")
            .as_mapping()
            .unwrap()
            .get("a")
            .unwrap()
            .as_scalar()
            .unwrap()
            .value,
        ScalarValue::Text
    );
}

#[test]
fn empty_values_and_files() {
    assert!(good("a:").as_mapping().unwrap().get("a").unwrap().is_null());
    for text in ["", "# only words\n", "---\n"] {
        assert_eq!(read(text), (None, Diagnostics::default()), "{text:?}");
    }
}

#[test]
fn tags_of_ansible() {
    let node = good(
        "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nb: !unsafe '{{ x }}'\nc: !unsafe [1]\n",
    );
    let mapping = node.as_mapping().unwrap();
    assert_eq!(mapping.get("a").unwrap().tag, Some(Tag::Vault));
    assert_eq!(mapping.get("b").unwrap().tag, Some(Tag::Unsafe));
    assert_eq!(mapping.get("c").unwrap().tag, Some(Tag::Unsafe));
}

#[test]
fn the_last_of_two_equal_keys_counts_with_a_warning() {
    let (node, diagnostics) = read("a: 1\nb: 2\na: 3\n");
    assert_eq!(
        node.unwrap()
            .as_mapping()
            .unwrap()
            .get("a")
            .unwrap()
            .as_str(),
        Some("3")
    );
    assert!(!diagnostics.has_errors());
    assert_eq!(diagnostics.0[0].code, Code::DUPLICATE_KEY);
    assert_eq!(
        diagnostics.0[0].primary.as_ref().unwrap().0.line_column(),
        (3, 1)
    );
}

#[test]
fn merge_keys_lose_to_own_and_earlier_ones() {
    let node = good("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  b: 9\n  <<: [*x, *y]\n");
    let mapping = node
        .as_mapping()
        .unwrap()
        .get("z")
        .unwrap()
        .as_mapping()
        .unwrap()
        .clone();
    let shown: Vec<_> = mapping
        .iter()
        .map(|(k, v)| format!("{}={}", k.as_str().unwrap(), v.as_str().unwrap()))
        .collect();
    assert_eq!(shown, ["a=1", "c=2", "b=9"]);
    assert_eq!(first_problem("a:\n  <<: 5\n").0, Code::WRONG_SHAPE);
    assert!(
        good("a:\n  '<<': 5\n").as_mapping().is_some(),
        "a quoted `<<` is a name like any other"
    );
}

#[test]
fn an_unquoted_template_is_told_to_be_quoted() {
    let text = "- debug:\n    msg: {{ name }}\n";
    let (code, message, place) = first_problem(text);
    assert_eq!(code, Code::UNQUOTED_TEMPLATE, "{message}");
    assert!(place.unwrap().ends_with(":2:10"));
    assert_eq!(read(text).1.0[0].help, ["write \"{{ name }}\""]);
    assert_eq!(
        first_problem("msg: {{ a }} and {{ b }}\n").0,
        Code::UNQUOTED_TEMPLATE
    );
}

#[test]
fn syntax_errors_and_second_documents_have_a_place() {
    let (code, _, place) = first_problem("a: [1, 2\nb: 3\n");
    assert_eq!(code, Code::YAML_SYNTAX);
    assert!(place.is_some());
    let (code, _, place) = first_problem("a: 1\n---\nb: 2\n");
    assert_eq!(
        (code, place.unwrap().ends_with(":3:1")),
        (Code::YAML_DOCUMENTS, true)
    );
}

#[test]
fn bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert_eq!(first_problem(&text).0, Code::YAML_BUDGET);
    let deep = format!("a: {}", "[".repeat(20_000));
    assert!(read(&deep).1.has_errors());
    #[allow(clippy::format_collect, reason = "a short text for a test")]
    let nested: String = (0..200)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert!(read(&nested).1.has_errors());
}

proptest::proptest! {
    #[test]
    fn no_text_brings_it_down(text in "[ \\n\\-:{}\\[\\]&*!|>'\"%@`,#a<é{}]{0,60}") {
        let (node, diagnostics) = read(&text);
        let complete = diagnostics.has_errors() || node.is_none() || node.is_some_and(|node| node.span.end <= text.len());
        proptest::prop_assert!(complete);
    }
}
