//! In: pieces of templates in any order. Out: nothing but a value or an error: no panic, and no work without end.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Condition, Form, Lazy, Lint, Scope, Templar, TemplateText};
use crate::source::SourceFile;
use crate::yaml::parse;

struct Variables(Vec<(Arc<str>, Lazy)>);

impl Scope for Variables {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        let found = self.0.iter().find(|(known, _)| **known == *name);
        found.map(|(_, lazy)| lazy.clone())
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.0.iter().map(|(name, _)| Arc::clone(name)).collect()
    }
}

fn variables() -> Variables {
    let text = "a: 1\nb: [3, 1, 'x', null, 2.5]\nc: {k: v, n: {m: [1, 2]}}\ns: 'some text, k=v é'\n\
                t: '{{ a + 1 }}'\nx: '{{ x }}'\nbig: 9223372036854775807\nlow: -9223372036854775807\n";
    let (node, _) = parse(&SourceFile::from_text("vars.yml", text));
    let node = node.unwrap();
    let entries = node.as_mapping().unwrap().iter();
    Variables(
        entries
            .map(|(name, value)| (Arc::from(name.as_str().unwrap()), Lazy::from_node(value)))
            .collect(),
    )
}

/// Values, filters with arguments of all sizes, and what holds them together.
const PIECES: &[&str] = &[
    "a",
    "b",
    "c",
    "s",
    "t",
    "x",
    "big",
    "low",
    "nope",
    "c.k",
    "c['n'].m",
    "b[0]",
    "b[-1:]",
    "b[::2]",
    "c.n.m[9]",
    "1",
    "0",
    "-1",
    "2.5",
    "1e308",
    "'é'",
    "''",
    "'%5d'",
    "'%s'",
    "'\\\\d+'",
    "'(a|b)*c'",
    "'2024-01-02 03:04:05'",
    "'%Y-%f'",
    "true",
    "none",
    "[]",
    "{}",
    "[[1], 2]",
    "{'k': [1]}",
    "omit",
    "loop.index",
    "lookup('env', 'x')",
    "range(3)",
    "range(99999)",
    "{{ ",
    " }}",
    "{{- ",
    " -}}",
    "{% ",
    " %}",
    "{%- ",
    "{# ",
    " #}",
    "{% for y in ",
    "{% endfor %}",
    "{% if ",
    "{% elif ",
    "{% else %}",
    "{% endif %}",
    "{% set z = ",
    "{% set z %}",
    "{% endset %}",
    "{% macro m(p=1) %}",
    "{% endmacro %}",
    "{{ m() }}",
    "{% raw %}",
    "{% endraw %}",
    "{% filter upper %}",
    "{% endfilter %}",
    "{% block q %}",
    "{% endblock %}",
    "{% with z=1 %}",
    "{% endwith %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% break %}",
    "|",
    " | length",
    " | default(",
    " | d",
    " | first",
    " | last",
    " | list",
    " | int",
    " | int(base=36)",
    " | float",
    " | string",
    " | bool",
    " | sort",
    " | unique",
    " | reverse",
    " | join(',')",
    " | map('upper')",
    " | map(attribute='k')",
    " | select('string')",
    " | selectattr('k', 'eq', 1)",
    " | rejectattr('k')",
    " | groupby('k')",
    " | batch(2, 'f')",
    " | batch(big)",
    " | slice(3)",
    " | slice(big)",
    " | flatten",
    " | zip(b)",
    " | product(b)",
    " | product(repeat=30)",
    " | permutations",
    " | combinations(3)",
    " | subelements('k')",
    " | combine({'k': 1}, recursive=true)",
    " | dict2items",
    " | items2dict",
    " | dictsort",
    " | items",
    " | random",
    " | random(start=low)",
    " | shuffle(seed=1)",
    " | min",
    " | sum",
    " | round(20)",
    " | round(-400)",
    " | log",
    " | pow(big)",
    " | root",
    " | abs",
    " | human_readable",
    " | human_to_bytes",
    " | filesizeformat",
    " | trim",
    " | replace('', 'x')",
    " | split",
    " | split('')",
    " | split(',', 1)",
    " | format(a, b)",
    " | indent(big)",
    " | indent(2, true)",
    " | center(big)",
    " | center(7)",
    " | wordwrap(1)",
    " | truncate(3)",
    " | truncate(big)",
    " | truncate(3, leeway=big)",
    " | wordcount",
    " | title",
    " | comment('xml')",
    " | comment(prefix_count=big)",
    " | quote",
    " | urlsplit",
    " | urlsplit('port')",
    " | urlencode",
    " | urldecode",
    " | regex_replace('a', '\\\\9')",
    " | regex_search('(', 'x')",
    " | regex_findall('')",
    " | regex_escape",
    " | to_json",
    " | to_nice_json(indent=big)",
    " | from_json",
    " | to_yaml",
    " | to_nice_yaml(indent=99)",
    " | from_yaml",
    " | from_yaml_all",
    " | b64encode",
    " | b64decode",
    " | hash('sha256')",
    " | hash('x')",
    " | basename",
    " | dirname",
    " | splitext",
    " | path_join",
    " | normpath",
    " | relpath('x')",
    " | expanduser",
    " | to_datetime",
    " | to_datetime('%j')",
    " | strftime",
    " | extract(b)",
    " | ternary(1, 2)",
    " | type_debug",
    " | to_uuid",
    " | striptags",
    " | xmlattr",
    " | unvault('p')",
    " | union(b)",
    " | difference(b)",
    " | symmetric_difference(b)",
    " | rekey_on_member('k')",
    " | mandatory",
    " | commonpath",
    " | attr('k')",
    " | tojson",
    " | pprint",
    " | nope",
    ".split()",
    ".split('')",
    ".zfill(big)",
    ".ljust(9, 'é')",
    ".center(99)",
    ".items()",
    ".keys()",
    ".get('k')",
    ".index('t')",
    ".find('t', 99)",
    ".rsplit(none, 1)",
    ".partition('')",
    ".expandtabs(big)",
    ".format(a)",
    ".upper()",
    ".append(1)",
    " is defined",
    " is not defined",
    " is string",
    " is match('a')",
    " is version('1.0', '>')",
    " is version(s)",
    " is divisibleby(0)",
    " is divisibleby 2",
    " is subset(b)",
    " is failed",
    " is contains(1)",
    " is truthy",
    " is abs",
    " is url",
    " is callable",
    " is in b",
    " in ",
    " not in ",
    " and ",
    " or ",
    "not ",
    " if ",
    " else ",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " + ",
    " - ",
    " * ",
    " / ",
    " // ",
    " % ",
    " ** ",
    " ~ ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    ".",
    "'",
    "\"",
    "\\",
    " ",
    "\n",
    "é",
    "#jinja2: trim_blocks:False\n",
];

fn whole() -> impl Strategy<Value = String> {
    let pieces = || proptest::collection::vec(prop::sample::select(PIECES.to_vec()), 0..8);
    prop_oneof![
        pieces().prop_map(|pieces| pieces.concat()),
        pieces().prop_map(|pieces| format!("{{{{ {} }}}}", pieces.concat())),
        // A value through some filters.
        (
            0_usize..30,
            proptest::collection::vec(60_usize..PIECES.len(), 1..4)
        )
            .prop_map(|(value, filters)| {
                let filters: String = filters
                    .into_iter()
                    .filter_map(|at| PIECES.get(at))
                    .filter(|piece| piece.starts_with([' ', '.']))
                    .copied()
                    .collect();
                format!("{{{{ {}{filters} }}}}", PIECES[value])
            }),
    ]
}

proptest! {
    #[test]
    fn any_template_has_a_value_or_an_error(text in whole()) {
        let text = TemplateText::from_text("t", &text);
        let mut lint = Lint::default();
        lint.template(&text);
        lint.expression(&text);
        let templar = Templar::default();
        let scope: Arc<dyn Scope> = Arc::new(variables());
        let _ = templar.evaluate(&Lazy::Template(Arc::new(text.clone())), &scope);
        let _ = templar.expression(&text, &scope);
        let _ = templar.render_file(&text, &scope, &Form::default());
        let _ = templar.condition(&Condition::Expression(Arc::new(text)), &scope);
    }
}
