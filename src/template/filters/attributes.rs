//! `selectattr` and `rejectattr`: attributes may be paths, and what is not there may be tested.

use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, State};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter(
        "selectattr",
        |state: &mut State, value: &Value, path: &Value, rest: Rest<Value>| {
            choose(state, value, path, &rest, true)
        },
    );
    env.add_filter(
        "rejectattr",
        |state: &mut State, value: &Value, path: &Value, rest: Rest<Value>| {
            choose(state, value, path, &rest, false)
        },
    );
}

/// `a.b.0` of a value; undefined where the way ends.
fn walk(value: &Value, path: &Value) -> Result<Value, Error> {
    let Some(text) = path.as_str() else {
        return value.get_item(path);
    };
    let mut value = value.clone();
    for step in text.split('.') {
        if value.is_undefined() || value.is_none() {
            return Ok(Value::UNDEFINED);
        }
        value = match step.parse::<usize>() {
            Ok(index) => value.get_item(&Value::from(index))?,
            Err(_) => value.get_item(&Value::from(step))?,
        };
    }
    Ok(value)
}

fn choose(
    state: &mut State,
    value: &Value,
    path: &Value,
    rest: &[Value],
    wanted: bool,
) -> Result<Vec<Value>, Error> {
    let mut chosen = Vec::new();
    for item in value.try_iter()? {
        let found = walk(&item, path)?;
        let holds = match rest.split_first() {
            None => found.is_true(),
            Some((test, args)) => {
                let name = test.to_string();
                let name = name.strip_prefix("ansible.builtin.").unwrap_or(&name);
                let args: Vec<Value> = std::iter::once(found).chain(args.iter().cloned()).collect();
                state.perform_test(name, &args)?
            }
        };
        if holds == wanted {
            chosen.push(item);
        }
    }
    Ok(chosen)
}
