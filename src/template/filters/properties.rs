//! In: data of all shapes. Out: nothing, unless what `to_yaml`, `to_nice_yaml`, `to_json` or `to_nice_json` writes is
//! read back as something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use proptest::prelude::*;

use crate::template::{Lazy, Scope, Templar, TemplateText};

struct One(Value);

impl Scope for One {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        (name == "x").then(|| Lazy::Data(self.0.clone()))
    }

    fn names(&self) -> Vec<Arc<str>> {
        vec![Arc::from("x")]
    }
}

fn evaluate(expression: &str, x: &Value) -> Result<Value, TestCaseError> {
    let text = TemplateText::from_text("t", expression);
    let scope: Arc<dyn Scope> = Arc::new(One(x.clone()));
    Templar::default()
        .expression(&text, &scope)
        .map_err(|problem| TestCaseError::fail(format!("{expression}: {}", problem.message)))
}

/// What looks like something else, and what ends or begins a YAML or JSON construct.
fn text() -> impl Strategy<Value = String> {
    let awkward = [
        "yes",
        "No",
        "on",
        "null",
        "~",
        "",
        "=",
        "<<",
        "0644",
        "0o7",
        "1_0",
        "12:30:45",
        "1e3",
        "1.0e+3",
        ".5",
        ".inf",
        "2024-01-02",
        "2024-01-02 03:04:05",
        "- a",
        "? b",
        "a: b",
        "a #b",
        "#c",
        "---",
        "...",
        "%x",
        "@y",
        "`z",
        "!t",
        "&a",
        "*a",
        "|",
        ">",
        "[",
        "{a}",
        "}",
        ",",
        "'",
        "\"",
        "\\",
        "a\nb",
        "\n",
        "a\n",
        " a",
        "a ",
        "a\n b",
        "\ta",
        "a\tb",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{a0}",
        "\u{feff}",
        "😀",
        "a:",
        "-",
        ":",
        "?",
        "{{ x }}",
        "\u{0}",
        "\r\n",
        "a\n\nb",
        "\n\na",
        "- ",
        "true",
        "0x1F",
        "-",
        "--- a",
        "... a",
    ];
    prop_oneof![
        2 => prop::sample::select(awkward.to_vec()).prop_map(str::to_owned),
        1 => "[a-z ':,#-]{0,100}",
        1 => "[ \\n\\ta-c'\"#:-]{0,12}",
        1 => any::<String>(),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::from(())),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        (-100_i32..100).prop_map(|n| Value::from(f64::from(n) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map: BTreeMap<String, Value>| Value::from(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_written_is_read_back(x in data(), indent in 2_usize..6, width in prop::sample::select(vec![20, 80, 1000])) {
        for expression in [
            format!("x | to_yaml(indent={indent}, width={width}) | from_yaml"),
            format!("x | to_nice_yaml(indent={indent}, width={width}) | from_yaml"),
            format!("x | to_yaml(default_flow_style=true, width={width}) | from_yaml"),
            "x | to_json | from_json".to_owned(),
            format!("x | to_nice_json(indent={indent}) | from_json"),
        ] {
            let found = evaluate(&expression, &x)?;
            let written = evaluate(expression.rsplit_once(" | ").unwrap().0, &x)?;
            prop_assert_eq!(&found, &x, "{}\n{}", expression, written);
            // Equal in value is not enough: 1 is not 1.0, and no text is a number.
            prop_assert_eq!(format!("{found:?}"), format!("{x:?}"), "{}\n{}", expression, written);
        }
    }
}
