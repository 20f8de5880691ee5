//! What templates of playbooks become, by ansible-core 2.19.

use std::sync::Arc;

use super::*;
use crate::source::SourceFile;

struct Variables(indexmap::IndexMap<Arc<str>, Lazy>);

impl Scope for Variables {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }
}

const VARIABLES: &str = r#"
n: 5
f: 1.5
s: text
e: ""
yes_text: "yes"
none_value: null
list: [1, 2, 3]
m: {a: 1, b: {c: deep}}
lazy: "{{ n }}"
lazier: {x: "{{ lazy }}", y: "{{ nowhere }}", keep: "{{ omit }}"}
lazy_list: ["{{ n }}", "{{ omit }}", 2]
loop_a: "{{ loop_b }}"
loop_b: "{{ loop_a }}"
broken: "{{ m.zz.q }}"
data: !unsafe "{{ n }}"
expr: "n > 3"
"#;

fn scope() -> Arc<dyn Scope> {
    let (node, diagnostics) = crate::yaml::parse(&SourceFile::from_text("vars.yml", VARIABLES));
    assert!(diagnostics.is_empty());
    let entries = node
        .unwrap()
        .as_mapping()
        .unwrap()
        .iter()
        .map(|(k, v)| (Arc::from(k.as_str().unwrap()), Lazy::from_node(v)))
        .collect();
    Arc::new(Variables(entries))
}

fn render(text: &str) -> Result<Value, TemplateError> {
    let lazy = Lazy::Template(Arc::new(TemplateText::from_text("t", text)));
    Templar::default().evaluate(&lazy, &scope())
}

#[test]
fn values_keep_their_types() {
    let cases = [
        ("{{ n }}", "5"),
        ("{{ n }}{{ n }}", "\"55\""),
        ("{{ n }} ", "\"5 \""),
        ("{{ m }}", r#"{"a":1,"b":{"c":"deep"}}"#),
        ("{{ m.b.c }}", "\"deep\""),
        ("{{ m['b']['c'] }}", "\"deep\""),
        ("{{ list[1:] }}", "[2,3]"),
        ("{{ list[-1] }}", "3"),
        ("{{ '[1,2]' }}", "\"[1,2]\""),
        ("{{ n > 3 }}", "true"),
        ("x{{ n > 3 }}", "\"xTrue\""),
        ("a{{ none_value }}b", "\"ab\""),
        ("{{ none_value }}", "null"),
        ("{{ lazy }}", "5"),
        ("{{ lazier.x }}", "5"),
        ("{{ lazy_list }}", "[5,2]"),
        ("{{ data }}", "\"{{ n }}\""),
        ("{{ 'zz' | int }}", "0"),
        ("{{ '0x1f' | int(base=16) }}", "31"),
        ("{{ '2.9' | int }}", "2"),
        ("{{ yes_text | bool }}", "true"),
        ("{{ n is defined | ternary('a', 'b') }}", "\"a\""),
        ("{% if n == 5 %}five{% endif %}", "\"five\""),
        ("{% for i in list %}{{ i }},{% endfor %}", "\"1,2,3,\""),
        ("{% set q = m.b.c %}{{ q }}", "\"deep\""),
        ("{% set x = [n] %}{{ x }}", "[5]"),
        ("{% set x = 3 %}{{ x }}\n", "3"),
        ("{% if true %}{{ n }}{% endif %}", "5"),
        ("{{ list }}\n\n", r#""[1, 2, 3]\n\n""#),
        ("{{ n }}\n", "5"),
        ("{{ s }}\n", r#""text\n""#),
        ("{{ none_value }}{{ none_value }}", "null"),
        (r"{{ '\d' }}", r#""\\d""#),
        (r"{{ 'a1' | regex_replace('^a(\d)$', 'b\1') }}", "\"b1\""),
        (
            "{{ list }} and {{ m.b }}",
            "\"[1, 2, 3] and {'c': 'deep'}\"",
        ),
        ("{{ s.upper() }}", "\"TEXT\""),
        ("{{ m.keys() | list }}", r#"["a","b"]"#),
    ];
    for (text, expected) in cases {
        let value = render(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        assert_eq!(
            serde_json::to_string(&minijinja::value::Serde(&value).0).unwrap(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn undefined_names_walk_on_and_fail_where_they_are_used() {
    let fine = [
        ("{{ missing.a.b | default('d') }}", "d"),
        ("{{ missing.a.b is defined }}", "False"),
        ("{{ m.zz.q | default(1) }}", "1"),
        ("{{ none_value.x | default(2) }}", "2"),
        ("{{ missing['a'][0] | default(3) }}", "3"),
        ("{{ e | default('full', true) }}", "full"),
        ("{{ m.a is undefined }}", "False"),
    ];
    for (text, expected) in fine {
        assert_eq!(
            render(text)
                .unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
                .to_string(),
            expected,
            "{text}"
        );
    }
    for text in [
        "{{ missing }}",
        "{{ missing.a }}",
        "{{ missing ~ 'x' }}",
        "{{ missing == 1 }}",
        "{{ missing < 3 }}",
        "{{ missing | length }}",
        "{{ not missing }}",
        "{{ missing and true }}",
        "x {{ missing }}",
        "{{ broken }}",
        "{{ lazier }}",
    ] {
        assert_eq!(
            render(text).unwrap_err().kind,
            TemplateErrorKind::Undefined,
            "{text}"
        );
    }
}

#[test]
fn errors_name_the_thing_and_its_place() {
    let problem = render("{{ s }} {{ lits }}").unwrap_err();
    assert_eq!(problem.message, "'lits' is undefined");
    assert_eq!(problem.span.unwrap().text(), "lits");
    assert_eq!(problem.help.as_deref(), Some("did you mean `list`?"));

    let problem = render("{{ broken }}").unwrap_err();
    assert_eq!(
        problem.message,
        "object of type 'dict' has no attribute 'zz'"
    );
    assert_eq!(
        problem.span.unwrap().text(),
        "m.zz.q",
        "the place is where the variable was written"
    );
    assert_eq!(problem.chain[0].0, "broken");

    assert_eq!(
        render("{{ n | no_such }}").unwrap_err().kind,
        TemplateErrorKind::UnknownFilter
    );
    assert_eq!(
        render("{{ n + }}").unwrap_err().kind,
        TemplateErrorKind::Syntax
    );
    assert_eq!(
        render("{{ n ").unwrap_err().message,
        "a template is opened and never closed by `}}`"
    );
}

#[test]
fn a_loop_of_variables_is_told_not_run() {
    let problem = render("{{ loop_a }}").unwrap_err();
    assert_eq!(problem.kind, TemplateErrorKind::Recursion);
}

#[test]
fn omit_is_dropped_at_any_depth_and_known_at_the_top() {
    assert!(Templar::is_omit(&render("{{ omit }}").unwrap()));
    assert!(Templar::is_omit(
        &render("{{ missing | default(omit) }}").unwrap()
    ));
    assert_eq!(
        render("{{ {'a': 1, 'b': omit} }}").unwrap().to_string(),
        "{'a': 1}"
    );
}

#[test]
fn conditions_are_booleans() {
    let judge = |text: &str| {
        let (node, _) = crate::yaml::parse(&SourceFile::from_text("when.yml", text));
        Templar::default().condition(&Condition::from_node(&node.unwrap()), &scope())
    };
    for (text, expected) in [
        ("n == 5", true),
        ("true", true),
        ("[n == 5, n == 6]", false),
        ("'{{ n > 3 }}'", true),
        ("[n == 6, nowhere]", false),
    ] {
        assert_eq!(judge(text).unwrap(), expected, "{text}");
    }
    for text in ["n", "s", "list", "none_value", "m", "''", "5"] {
        assert_eq!(
            judge(text).unwrap_err().kind,
            TemplateErrorKind::NotBoolean,
            "{text}"
        );
    }
    assert_eq!(
        judge("nowhere").unwrap_err().message,
        "'nowhere' is undefined"
    );
}

#[test]
fn files_keep_their_newlines() {
    let file = |text: &str| {
        Templar::default()
            .render_file(
                &TemplateText::from_text("f.j2", text),
                &scope(),
                &Form::default(),
            )
            .unwrap()
    };
    assert_eq!(file("a={{ n }}\n"), "a=5\n");
    assert_eq!(
        file("{% for i in list %}\n{{ i }}\n{% endfor %}\nend\n\n"),
        "1\n2\n3\nend\n\n"
    );
    // The block at the end has taken one; the file has as many as its source.
    assert_eq!(file("{% if true %}q{% endif %}\n"), "q\n");
}

#[test]
fn filters_of_ansible() {
    let cases = [
        (
            r"{{ 'app-1.2.3' | regex_replace('-(\\d+)\\.', '_\\1_') }}",
            "app_1_2.3",
        ),
        (
            r"{{ 'aXbxc' | regex_replace('x', '$', ignorecase=true) }}",
            "a$b$c",
        ),
        (
            r"{{ 'k=v' | regex_search('(\\w)=(?P<v>\\w)', '\\g<v>', '\\1') }}",
            "['v', 'k']",
        ),
        (r"{{ 'none' | regex_search('z') is none }}", "True"),
        (r"{{ 'a1b22' | regex_findall('[0-9]+') }}", "['1', '22']"),
        (
            r"{{ 'ab cd' | regex_findall('(\\w)(\\w)') }}",
            "[['a', 'b'], ['c', 'd']]",
        ),
        (
            "{{ 'abc' is match('b') }}{{ 'abc' is search('b') }}",
            "FalseTrue",
        ),
        ("{{ m | to_json }}", r#"{"a": 1, "b": {"c": "deep"}}"#),
        (
            "{{ {'b': 1, 'a': ['é']} | to_nice_json }}",
            "{\n    \"a\": [\n        \"\\u00e9\"\n    ],\n    \"b\": 1\n}",
        ),
        ("{{ ('[1, {\"k\": null}]' | from_json)[1] }}", "{'k': None}"),
        ("{{ 'x' | b64encode | b64decode }}", "x"),
        (
            "{{ 'test' | hash('sha256') }}",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        ("{{ 'test' | md5 }}", "098f6bcd4621d373cade4e832627b4f6"),
        ("{{ \"it's\" | quote }}", "'it'\"'\"'s'"),
        (
            "{{ m | dict2items | map(attribute='key') | list }}",
            "['a', 'b']",
        ),
        ("{{ [{'key': 'x', 'value': 1}] | items2dict }}", "{'x': 1}"),
        (
            "{{ {'a': {'x': 1}, 'l': [1]} | combine({'a': {'y': 2}, 'l': [2]}, recursive=true, list_merge='append') }}",
            "{'a': {'x': 1, 'y': 2}, 'l': [1, 2]}",
        ),
        (
            "{{ {'a': 1} | combine([{'a': 2}, {'b': 3}]) }}",
            "{'a': 2, 'b': 3}",
        ),
        (
            "{{ [1, [2, [3, none]]] | flatten }}{{ [1, [2, [3]]] | flatten(levels=1) }}",
            "[1, 2, 3][1, 2, [3]]",
        ),
        (
            "{{ [1, 2, 2] | union([3, 1]) }}{{ [1, 2] | difference([2]) }}{{ [1, 2] | intersect([2]) }}",
            "[1, 2, 3][1][2]",
        ),
        (
            "{{ '/a/b.tar.gz' | basename }} {{ '/a/b' | dirname }} {{ '/a/b.tar.gz' | splitext }}",
            "b.tar.gz /a ['/a/b.tar', '.gz']",
        ),
        ("{{ ['/a', 'b', '/c', 'd'] | path_join }}", "/c/d"),
        // Of one result: failed, succeeded, skipped, changed by itself and by an item, unreachable.
        (
            "{{ [{'failed': true} is failed, {'failed': true} is succeeded, {'skipped': true} is success, {'skipped': true} is skipped] }}",
            "[True, False, True, True]",
        ),
        (
            "{{ [{'changed': false} is changed, {'results': [{'changed': true}, {}]} is changed, {} is unreachable, {} is reachable] }}",
            "[False, True, False, True]",
        ),
        (
            "{{ ['1.10' is version('1.9', '>'), '4.16.10' is version('4.16.9', 'ge'), '1.0' is version('1.0.0'), '1.0-rc1' is version('1.0', '>'), '1.2' is version('1.2a', '<')] }}",
            "[True, True, False, True, True]",
        ),
        (
            "{{ ['1.0' is version('1.0.0', strict=true), '1.0.0-rc.1' is version('1.0.0', '<', version_type='semver'), '1.0.0.dev1' is version('1.0.0', '<', version_type='pep440')] }}",
            "[True, True, True]",
        ),
        (
            "{{ ['yes' is truthy, 'no' is truthy(convert_bool=true), '' is falsy, [1, 2] is contains(2), 'abc' is contains('bc'), {'a': 1} is contains('a')] }}",
            "[True, False, True, True, True, True]",
        ),
        (
            "{{ [[1] is subset([1, 2]), [1, 2] is superset([1]), [0, 1] is any, [0, 1] is all] }}",
            "[True, True, True, False]",
        ),
    ];
    for (text, expected) in cases {
        // A template file: Jinja's own escapes apply there.
        let rendered = Templar::default().render_file(
            &TemplateText::from_text("f.j2", text),
            &scope(),
            &Form::default(),
        );
        assert_eq!(
            rendered.unwrap_or_else(|problem| panic!("{text}: {problem:?}")),
            expected,
            "{text}"
        );
    }
    for text in [
        "{{ 5 | combine({}) }}",
        "{{ 'x' | hash('crc') }}",
        "{{ 'x' | regex_replace('(', '') }}",
        "{{ 'x' | regex_replace('x', '\\1') }}",
        "{{ '{' | from_json }}",
        "{{ {} | combine({}, list_merge='x') }}",
        "{{ '1.x' is version('1.2', '<') }}",
        "{{ '1' is version('2', '~') }}",
        "{{ 'x' is failed }}",
    ] {
        assert_eq!(
            render(text).unwrap_err().kind,
            TemplateErrorKind::Failed,
            "{text}"
        );
    }
}
