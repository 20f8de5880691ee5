//! Any text as a template: split, compiled, linted, and rendered with a few variables; as a condition; as an expression.
#![no_main]

use std::sync::Arc;

use layerplay::source::SourceFile;
use layerplay::template::{Condition, Form, Lazy, Lint, Scope, Templar, TemplateText};
use layerplay::yaml::parse;
use libfuzzer_sys::fuzz_target;

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

const VARIABLES: &str = "
a: 1
b: [3, 1, 'x', null, 2.5]
c: {k: v, n: {m: [1, 2]}}
s: 'some text, k=v'
t: '{{ a + 1 }}'
x: '{{ x }}'
";

fn variables() -> Variables {
    let (node, _) = parse(&SourceFile::from_text("vars.yml", VARIABLES));
    let node = node.expect("the variables above");
    let entries = node.as_mapping().expect("a mapping").iter();
    let entries = entries.map(|(name, value)| {
        let name = name.as_str().expect("a name");
        (Arc::from(name), Lazy::from_node(value))
    });
    Variables(entries.collect())
}

fuzz_target!(|text: &str| {
    let text = TemplateText::from_text("fuzz", text);
    let mut lint = Lint::default();
    lint.template(&text);
    lint.expression(&text);
    let templar = Templar::default();
    let scope: Arc<dyn Scope> = Arc::new(variables());
    let _ = templar.evaluate(&Lazy::Template(Arc::new(text.clone())), &scope);
    let _ = templar.expression(&text, &scope);
    let _ = templar.render_file(&text, &scope, &Form::default());
    let _ = templar.condition(&Condition::Expression(Arc::new(text)), &scope);
});
