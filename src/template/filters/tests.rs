//! What filters give, each expectation by ansible-core 2.19.

use std::sync::Arc;

use crate::template::{Lazy, Scope, Templar, TemplateError, TemplateErrorKind, TemplateText};

struct Nothing;

impl Scope for Nothing {
    fn lookup(&self, _: &str) -> Option<Lazy> {
        None
    }

    fn names(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// The expression's value as text inside other text prints it.
fn print(expression: &str) -> Result<String, TemplateError> {
    let scope: Arc<dyn Scope> = Arc::new(Nothing);
    let text = TemplateText::from_text("t", &format!(">{{{{ {expression} }}}}<"));
    Templar::default().render_file(&text, &scope, &super::super::Form::default())
}

fn gives(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        let printed =
            print(expression).unwrap_or_else(|problem| panic!("{expression}: {problem:?}"));
        assert_eq!(printed, format!(">{expected}<"), "{expression}");
    }
}

fn fails(expressions: &[&str]) {
    for expression in expressions {
        let kind = print(expression).map_err(|problem| problem.kind);
        assert_eq!(kind, Err(TemplateErrorKind::Failed), "{expression}");
    }
}

#[test]
fn lists_made_of_lists() {
    gives(&[
        ("[1, 2, 3] | zip(['a', 'b']) | list", "[[1, 'a'], [2, 'b']]"),
        (
            "[1, 2] | zip_longest(['a'], fillvalue='x') | list",
            "[[1, 'a'], [2, 'x']]",
        ),
        (
            "[1, 2] | zip_longest(['a']) | list",
            "[[1, 'a'], [2, None]]",
        ),
        (
            "[1, 2] | product(['a', 'b']) | list",
            "[[1, 'a'], [1, 'b'], [2, 'a'], [2, 'b']]",
        ),
        (
            "[0, 1] | product(repeat=2) | list",
            "[[0, 0], [0, 1], [1, 0], [1, 1]]",
        ),
        (
            "[1, 2, 3] | permutations(2) | list",
            "[[1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2]]",
        ),
        ("[1, 2] | permutations | list", "[[1, 2], [2, 1]]"),
        (
            "[1, 2, 3] | combinations(2) | list",
            "[[1, 2], [1, 3], [2, 3]]",
        ),
        ("[1] | combinations(2) | list", "[]"),
        (
            "[0, 2] | map('extract', ['x', 'y', 'z']) | list",
            "['x', 'z']",
        ),
        ("'a' | extract({'a': {'b': 3}}, 'b')", "3"),
        (
            "'a' | extract({'a': {'b': {'c': 4}}}, morekeys=['b', 'c'])",
            "4",
        ),
        (
            "[{'n': 'x', 'g': [1, 2]}, {'n': 'y', 'g': [3]}] | subelements('g')",
            "[[{'n': 'x', 'g': [1, 2]}, 1], [{'n': 'x', 'g': [1, 2]}, 2], [{'n': 'y', 'g': [3]}, 3]]",
        ),
        (
            "[{'n': 'x', 'a': {'g': [1]}}, {'n': 'y'}] | subelements('a.g', skip_missing=true)",
            "[[{'n': 'x', 'a': {'g': [1]}}, 1]]",
        ),
        (
            "{'k': {'n': 'x', 'g': [1]}} | subelements('g', true)",
            "[[{'n': 'x', 'g': [1]}, 1]]",
        ),
        (
            "[{'n': 'x'}, {'n': 'y'}] | rekey_on_member('n')",
            "{'x': {'n': 'x'}, 'y': {'n': 'y'}}",
        ),
        (
            "[{'n': 'x', 'v': 1}, {'n': 'x', 'v': 2}] | rekey_on_member('n', duplicates='overwrite')",
            "{'x': {'n': 'x', 'v': 2}}",
        ),
    ]);
}

#[test]
fn numbers_and_sizes() {
    gives(&[
        ("[8 | log(2), 100 | log(10), 1 | log]", "[3.0, 2.0, 0.0]"),
        ("[2 | pow(3), 9 | root, 27 | root(3)]", "[8.0, 3.0, 3.0]"),
        (
            "[1 | human_readable, 1048576 | human_readable, 1048576 | human_readable(true), 1048576 | human_readable(unit='G'), 7 | human_readable(isbits=true)]",
            "['1.00 Bytes', '1.00 MB', '1.00 Mb', '0.00 GB', '7.00 bits']",
        ),
    ]);
}

#[test]
fn paths_by_their_text() {
    gives(&[
        (
            "['/a/./b/../c//' | normpath, '//x' | normpath, '' | normpath, '../..' | normpath, '/..' | normpath]",
            "['/a/c', '//x', '.', '../..', '/']",
        ),
        (
            "[['/a/b/c', '/a/b/d'] | commonpath, ['a/b', 'a'] | commonpath, ['/x', '/y'] | commonpath]",
            "['/a/b', 'a', '/']",
        ),
        ("['/a' is abs, 'a' is abs]", "[True, False]"),
    ]);
}

#[test]
fn wrong_values_fail() {
    fails(&[
        "[{'n': 'x'}, {'n': 'x'}] | rekey_on_member('n')",
        "[{'n': 'y'}] | subelements('g')",
        "[{'g': 5}] | subelements('g')",
        "'ten' | human_to_bytes",
        "'1Kb' | human_to_bytes",
        "'3 bytes' | human_to_bytes",
        "'2kb' | human_to_bytes",
        "0 | log",
        "['/a', 'b'] | commonpath",
    ]);
}

#[test]
fn text_laid_out_and_named() {
    gives(&[
        (
            "['x' | center(5), 'abc' | center(6), 'abcd' | center(2)]",
            "['  x  ', ' abc  ', 'abcd']",
        ),
        ("['a b  c' | wordcount, '' | wordcount]", "[3, 0]"),
        (
            r#"['hello wORLD-x (y)' | title, "it's fine" | title]"#,
            r#"['Hello World-X (Y)', "It's Fine"]"#,
        ),
        (
            "['a' | type_debug, 1 | type_debug, 1.5 | type_debug, true | type_debug, none | type_debug, [1] | type_debug, {'a': 1} | type_debug]",
            "['str', 'int', 'float', 'bool', 'NoneType', 'list', 'dict']",
        ),
        (
            "['example.com' | to_uuid, 'x' | to_uuid(namespace='6ba7b810-9dad-11d1-80b4-00c04fd430c8')]",
            "['ae780c3a-a3ab-53c2-bfb4-098da300b3fe', '05b16a01-46c6-56dd-bd6e-c6dfb4a1427a']",
        ),
        (
            "['a%20b%2Fc+d' | urldecode, '%C3%A9' | urldecode]",
            "['a b/c d', 'é']",
        ),
        (
            "['%Y-%m-%d' | strftime(0, utc=true), '%H:%M:%S %j' | strftime(86399, utc=true)]",
            "['1970-01-01', '23:59:59 001']",
        ),
        ("'x' | comment", "#\n# x\n#"),
        ("'x' | comment('c')", "//\n// x\n//"),
        ("'x' | comment('xml')", "<!--\n -\n - x\n -\n-->"),
        ("'x' | comment('cblock')", "/*\n *\n * x\n *\n */"),
        ("'x' | comment('erlang')", "%\n% x\n%"),
    ]);
}

#[test]
fn units_in_words() {
    gives(&[(
        "['1kilobyte' | human_to_bytes, '1 byte' | human_to_bytes, '5b' | human_to_bytes, '1KB' | human_to_bytes]",
        "[1024, 1, 5, 1024]",
    )]);
}

#[test]
fn yaml_is_read() {
    gives(&[
        ("'a: [yes, 2.5, ~]' | from_yaml", "{'a': [True, 2.5, None]}"),
        ("'- 1' | from_yaml", "[1]"),
        ("['', 5] | map('from_yaml') | list", "[None, 5]"),
        ("'1: x' | from_yaml", "{1: 'x'}"),
        (
            "['a: 1'] | map('from_yaml_all') | map('list') | list",
            "[[{'a': 1}]]",
        ),
    ]);
    fails(&["'{' | from_yaml"]);
}

#[test]
fn regular_expressions_are_escaped() {
    gives(&[(
        "['a.b*c' | regex_escape, 'x-y z_1' | regex_escape] | join(' and ')",
        r"a\.b\*c and x\-y\ z_1",
    )]);
}

#[test]
fn numbers_are_rounded_as_python_does() {
    gives(&[
        (
            "[2.5 | round, 3.5 | round, 1.25 | round(1), 2.1 | round(method='ceil'), 2.9 | round(0, 'floor'), 7 | round]",
            "[2.0, 4.0, 1.2, 3.0, 2.0, 7]",
        ),
        ("[1.0 is nan, ('nan' | float) is nan]", "[False, True]"),
        (
            "['abc' is sequence, [1] is sequence, {'a': 1} is sequence, 1 is sequence]",
            "[True, True, True, False]",
        ),
        ("[1250 | round(-2), 2.675 | round(2)]", "[1200, 2.67]"),
    ]);
    fails(&["2 | round(0, 'up')"]);
}

#[test]
fn urls_and_asynchronous_results() {
    gives(&[
        (
            "['http://a.b/c' is url, 'a' is url, 'urn:isbn:1' is urn, 'urn:isbn:1' is uri, 'http://a' is uri(['https'])]",
            "[True, False, True, True, False]",
        ),
        (
            "[{'finished': 0} is finished, {'finished': 1} is finished, {} is finished, {'started': true} is started]",
            "[False, True, True, True]",
        ),
    ]);
    fails(&["'x' is finished"]);
}

#[test]
fn yaml_is_written_as_by_pyyaml() {
    gives(&[
        (
            "{'b': [1, {'x': none}], 'a': 'yes', 'c': []} | to_yaml",
            "a: 'yes'\nb:\n- 1\n- {x: null}\nc: []\n",
        ),
        (
            "{'b': [1, {'x': none, 'z': [1, 2]}], 'a': 'm\\nline', 'c': {}, 'd': '5', 'e': 1.5, 'f': true, 'g': 'a: b', 'h': ''} | to_nice_yaml",
            "a: 'm\n\n    line'\nb:\n- 1\n-   x: null\n    z:\n    - 1\n    - 2\nc: {}\nd: '5'\ne: 1.5\nf: true\ng: 'a: b'\nh: ''\n",
        ),
        ("'x' | to_yaml", "x\n"),
        ("[1, 2] | to_yaml", "[1, 2]\n"),
        (
            "[[1, [2, 3]], [{'a': 1}]] | to_nice_yaml",
            "-   - 1\n    -   - 2\n        - 3\n-   -   a: 1\n",
        ),
        (
            "{'b': 1, 'a': 2} | to_nice_yaml(indent=2, sort_keys=false)",
            "b: 1\na: 2\n",
        ),
        (
            "['on', '012', '~', '2024-01-02', '-a', '- a', 'a\\tb', 'x '] | to_nice_yaml",
            "- 'on'\n- '012'\n- '~'\n- '2024-01-02'\n- -a\n- '- a'\n- \"a\\tb\"\n- 'x '\n",
        ),
    ]);
}

#[test]
fn python_operators_methods_and_dates() {
    gives(&[
        ("'%s/%d' % ('a', 3)", "a/3"),
        ("'%s' % [1]", "[1]"),
        ("'%03d' | format(5)", "005"),
        ("'%(a)s' | format(a=1)", "1"),
        ("10 - 3 + 2 * 2 - 1", "10"),
        ("-7 % 3", "2"),
        ("1 < 2 < 3", "True"),
        ("'abc'.center(6, '*')", "*abc**"),
        ("'a b c'.rsplit(none, 1)", "['a b', 'c']"),
        ("'-5'.zfill(4)", "-005"),
        ("[1, 2].index(2)", "1"),
        ("'a,b,c'.rsplit(',', 1)", "['a,b', 'c']"),
        (
            "('2024-01-02 03:04:05' | to_datetime) - ('2024-01-01 00:00:00' | to_datetime)",
            "1 day, 3:04:05",
        ),
        (
            "(('2024-01-02 03:04:05' | to_datetime) - ('2024-01-01 00:00:00' | to_datetime)).total_seconds()",
            "97445.0",
        ),
        (
            "('2024-01-02' | to_datetime('%Y-%m-%d')).strftime('%d.%m.%y')",
            "02.01.24",
        ),
        ("now() | type_debug", "datetime"),
        ("now(fmt='%Y') | length", "4"),
        (
            "[{'a': {'b': 1}}, {}] | selectattr('a.b', 'defined') | list",
            "[{'a': {'b': 1}}]",
        ),
        (
            "[{'a': {'b': 1}}, {}] | rejectattr('a.b', 'defined') | list",
            "[{}]",
        ),
    ]);
    fails(&[
        "1 < 'a'",
        "none < 1",
        "{} > {}",
        "'%d' % 'x'",
        "[1].append(2)",
        "'x' | to_datetime",
    ]);
}

#[test]
fn text_cut_to_a_width_and_urls_taken_apart() {
    gives(&[
        ("'foo bar baz qux' | truncate(9)", "foo..."),
        ("'foo bar baz qux' | truncate(9, true)", "foo ba..."),
        ("'foo bar baz qux' | truncate(11)", "foo bar baz qux"),
        (
            "'foo bar baz qux' | truncate(11, false, '...', 0)",
            "foo bar...",
        ),
        ("'foo bar baz qux' | wordwrap(8)", "foo bar\nbaz qux"),
        ("'abcdefghij' | wordwrap(4)", "abcd\nefgh\nij"),
        ("'abcdefghij k' | wordwrap(4, false)", "abcdefghij\nk"),
        (
            "[1, 999, 1500, 1000000] | map('filesizeformat') | list",
            "['1 Byte', '999 Bytes', '1.5 kB', '1.0 MB']",
        ),
        ("1536 | filesizeformat(true)", "1.5 KiB"),
        (
            "'http://u:p@H.x:80/a/b?q=1#f' | urlsplit",
            "{'fragment': 'f', 'hostname': 'h.x', 'netloc': 'u:p@H.x:80', 'password': 'p', 'path': '/a/b', 'port': 80, 'query': 'q=1', 'scheme': 'http', 'username': 'u'}",
        ),
        ("'https://h/a' | urlsplit('hostname')", "h"),
    ]);
    fails(&["'x' | urlsplit('nope')", "'x' | truncate(2)"]);
}

#[test]
fn this_machine_and_chance() {
    gives(&[
        ("'/a/b/c' | relpath('/a')", "b/c"),
        ("'/a' | relpath('/a/b')", ".."),
        ("'/a' | relpath('/a')", "."),
        ("'/no/./such/../x' | realpath", "/no/x"),
        ("'~' | expanduser == '~'", "False"),
        ("'~nobody-at-all/x' | expanduser", "~nobody-at-all/x"),
        (
            "'$LAYERPLAY_NO_SUCH/${X' | expandvars",
            "$LAYERPLAY_NO_SUCH/${X",
        ),
        ("'$PATH' | expandvars == '$PATH'", "False"),
        ("'/etc/passw[d]' | fileglob", "['/etc/passwd']"),
        ("'/no/such/*' | fileglob", "[]"),
        (
            "['/etc/passwd' is file, '/etc' is directory, '/etc' is file, '/no' is exists, '/etc' is exists, '/etc' is link, '/' is mount, '/etc' is same_file('/etc/.')]",
            "[True, True, False, False, True, False, True, True]",
        ),
        ("10 | random(seed='a') == 10 | random(seed='a')", "True"),
        ("6 | random(start=5)", "5"),
        ("[7] | random", "7"),
        ("[3, 1, 2] | shuffle(seed=1) | sort", "[1, 2, 3]"),
        (
            "range(50) | shuffle(seed=1) | list == range(50) | list",
            "False",
        ),
    ]);
    fails(&["0 | random", "[1] | random(start=1)"]);
}

#[test]
fn what_would_cost_all_memory_or_time_is_refused() {
    fails(&[
        "'x' | center(10 ** 17)",
        "'x' | comment(prefix_count=10 ** 17)",
        "[[1]] | to_nice_json(indent=10 ** 17)",
        "[1] | product(repeat=10 ** 9)",
        "range(30) | list | permutations | list",
    ]);
    gives(&[
        ("'abc' | truncate(3, leeway=18446744073709551615)", "abc"),
        ("('x' * 20000) | wordwrap(1) | length", "39999"),
    ]);
    let lowest = "(-9223372036854775807)";
    let number = print(&format!(
        "9223372036854775807 | random(start={lowest}, seed=1) | int > {lowest}"
    ));
    assert_eq!(number.unwrap(), ">True<");
}
