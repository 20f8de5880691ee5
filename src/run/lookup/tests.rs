//! What lookups answer; expectations from ansible-core 2.19.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use layerplay_modules::{ModuleError, Platform};

use super::lookups;
use crate::run::{Connect, Wanted};
use crate::template::{Lazy, Scope, Templar, TemplateText, Value};

struct Here(PathBuf);

/// These lookups reach no machine.
struct Nowhere;

#[async_trait::async_trait]
impl Connect for Nowhere {
    async fn platform(&self, _: Wanted) -> Result<Platform, ModuleError> {
        Err(ModuleError::failed("nothing is reached"))
    }

    async fn reset(&self, _: Wanted) -> Result<(), ModuleError> {
        Ok(())
    }

    async fn api_requests(&self) -> std::collections::BTreeMap<String, u64> {
        std::collections::BTreeMap::new()
    }

    async fn close(&self) {}
}

impl Scope for Here {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        (name == "n").then(|| Lazy::Data(Value::from(5)))
    }

    fn names(&self) -> Vec<Arc<str>> {
        vec![Arc::from("n")]
    }

    fn search_path(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }
}

fn shown(dir: &std::path::Path, text: &str) -> String {
    let scope: Arc<dyn Scope> = Arc::new(Here(dir.to_owned()));
    let lazy = Lazy::Template(Arc::new(TemplateText::from_text(
        "t",
        &format!("{{{{ {text} }}}}"),
    )));
    Templar::default()
        .with_lookups(lookups(
            Arc::new(Nowhere),
            [("DEFAULT_FORKS".to_owned(), serde_json::json!(7))].into(),
        ))
        .evaluate(&lazy, &scope)
        .map_or_else(
            |problem| format!("!{}", problem.message),
            |value| serde_json::to_string(&value).unwrap(),
        )
}

#[test]
fn lookups_answer_as_in_ansible() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("files/a.txt", " text\n\n");
    write("files/b.txt", "b");
    write("files/x.ini", "[global]\nKey = one two\n[s]\nk1=a\nk2: b\n");
    write("files/x.csv", "Li\t3\t6.9\nBe\t\"4\tx\"\t9\n");
    write(
        "templates/t.j2",
        "#jinja2: variable_start_string:'[[', variable_end_string:']]'\nn=[[ n ]] [[ own ]]\n{% include 'part.j2' %}\n",
    );
    write("templates/part.j2", "part [[ n + 1 ]]\n");
    let cases = [
        ("lookup('file', 'a.txt')", r#"" text""#),
        ("lookup('file', 'a.txt', lstrip=true)", r#""text""#),
        ("lookup('file', 'a.txt', rstrip=false)", r#"" text\n\n""#),
        ("lookup('file', 'a.txt', 'b.txt')", r#"" text,b""#),
        ("query('file', 'b.txt')", r#"["b"]"#),
        ("lookup('file', 'b.txt', wantlist=true)", r#"["b"]"#),
        ("lookup('file', 'no', errors='ignore')", "null"),
        ("q('file', 'no', errors='ignore')", "[]"),
        (
            "q('ansible.builtin.fileglob', '*.txt') | map('basename')",
            r#"["a.txt","b.txt"]"#,
        ),
        (
            "lookup('first_found', ['zz', 'b.txt']) | basename",
            r#""b.txt""#,
        ),
        ("q('first_found', {'files': ['zz'], 'skip': true})", "[]"),
        (
            "q('first_found', {'files': 'zz,b.txt', 'paths': 'no:files'}) | map('basename')",
            r#"["b.txt"]"#,
        ),
        (
            "lookup('template', 't.j2', template_vars={'own': 'o'})",
            r#""n=5 o\npart 6\n""#,
        ),
        ("lookup('ini', 'key', file='x.ini')", r#""one two""#),
        ("lookup('ini', 'k2', section='s', file='x.ini')", r#""b""#),
        (
            "q('ini', 'k.*', section='s', file='x.ini', re=true)",
            r#"["a","b"]"#,
        ),
        (
            "lookup('ini', 'zz', section='s', file='x.ini', default='d')",
            r#""d""#,
        ),
        ("lookup('csvfile', 'Li', file='x.csv')", r#""3""#),
        ("lookup('csvfile', 'Be', file='x.csv')", r#""4\tx""#),
        ("lookup('csvfile', 'Li', file='x.csv', col=2)", r#""6.9""#),
        ("q('csvfile', 'zz', file='x.csv')", "[]"),
        ("lookup('env', 'LAYERPLAY_NO_SUCH', default='d')", r#""d""#),
        ("lookup('vars', 'n')", "5"),
        ("lookup('vars', 'zz', default='d')", r#""d""#),
        ("q('varnames', '^n$')", r#"["n"]"#),
        ("lookup('pipe', 'printf \"a b\"')", r#""a b""#),
        ("q('lines', 'echo a; echo b')", r#"["a","b"]"#),
        ("lookup('items', [1, 2], 3)", "[1,2,3]"),
        ("lookup('items', [])", "[]"),
        ("lookup('list', 'a', 'b')", r#""a,b""#),
        ("q('dict', {'a': 1})", r#"[{"key":"a","value":1}]"#),
        ("q('nested', [[1, 2], 3], [4])", "[[1,2,4],[3,4]]"),
        ("q('together', [1, 2], [3])", "[[1,3],[2,null]]"),
        ("q('flattened', [1, [2, [3]]], 4)", "[1,2,3,4]"),
        ("q('indexed_items', ['a', 'b'])", r#"[[0,"a"],[1,"b"]]"#),
        ("q('sequence', '2-6/2:h%02d')", r#"["h02","h04","h06"]"#),
        (
            "q('sequence', 'start=5 end=1 stride=-2')",
            r#"["5","3","1"]"#,
        ),
        (
            "q('sequence', start=9223372036854775806, end=9223372036854775807) | length",
            "2",
        ),
        (
            "q('sequence', 'count=3 start=0 stride=2')",
            r#"["0","2","4"]"#,
        ),
        (
            "q('sequence', start=1, end=2, format='0x%02x')",
            r#"["0x01","0x02"]"#,
        ),
        (
            "q('subelements', [{'n': 'a', 'x': {'y': [5]}}, {'n': 'b', 'skipped': true}], 'x.y')",
            r#"[[{"n":"a","x":{}},5]]"#,
        ),
        (
            "q('subelements', [{'n': 'a'}], 'x', {'skip_missing': true})",
            "[]",
        ),
        ("lookup('random_choice', 'x')", r#""x""#),
        (
            "lookup('password', '/dev/null length=7 chars=digits') | length",
            "7",
        ),
        (
            "lookup('password', 'pw', chars=['x'], length=3) ~ lookup('password', 'pw')",
            r#""xxxxxx""#,
        ),
        ("lookup('config', 'DEFAULT_FORKS')", "7"),
        ("q('config', 'ZZ', on_missing='skip')", "[]"),
        ("lookup('unvault', 'a.txt')", r#"" text\n\n""#),
        (
            "q('password', 'pw', 'pw', encrypt='sha512_crypt') | unique | length",
            "1",
        ),
        (
            "lookup('file', 'pw') is match('^xxx salt=[A-Za-z0-9./]{16}$')",
            "true",
        ),
        ("lookup('password', 'pw')", r#""xxx""#),
        (
            "q('password', '/dev/null seed=a', '/dev/null seed=a') | unique | length",
            "1",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(shown(dir.path(), text), wanted, "{text}");
    }
    for text in [
        "lookup('file', 'no')",
        "lookup('fil', 'no')",
        "lookup('file', nope)",
        "lookup('file', 'a.txt', nope=1)",
        "lookup('vars', 'zz')",
        "lookup('config', 'ZZ')",
        "lookup('config', 'DEFAULT_FORKS', plugin_type='shell')",
        "lookup('url', 'http://localhost:1')",
        "lookup('url', 'http://localhost:1', split=1)",
        "lookup('pipe', 'exit 3')",
        "lookup('password', '/dev/null', encrypt='rot13')",
        "lookup('password', '/dev/null', chars='\\'')",
        "lookup('dict', [1])",
        "lookup('first_found', ['zz'])",
        "q('sequence', '')",
        "q('subelements', [{'n': 'a'}], 'x')",
        "lookup('inventory_hostnames', 'all')",
    ] {
        assert!(shown(dir.path(), text).starts_with('!'), "{text}");
    }
}
