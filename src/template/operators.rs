//! In: a rewritten expression. Out: the same with Python's rules for operators: `%` formats text, and values that have no
//! order are not compared. The engine gives its operators to nobody, so `a % b` becomes `((a)|__mod(b))` and `a < b`
//! becomes `((a)|__lt(b))`, and `a - b` for points in time; a chain `a < b < c` becomes the two comparisons joined by `and`.

use std::ops::Range;

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::rewrite::{Kind, Token, tokens};

/// Operators of comparison, and the filters behind them.
const ORDER: &[(&str, &str)] = &[("<", "__lt"), ("<=", "__le"), (">", "__gt"), (">=", "__ge")];

/// Longer expressions stay as they are: what is copied for chains must not grow without end.
const LONGEST: usize = 20_000;

/// Each `-` and `%` wraps what stands before it, and the engine follows only so many brackets.
const MANY: usize = 50;

/// One word or sign of an expression; a bracket with all that is in it is one.
struct Part {
    text: String,
    kind: Kind,
}

/// Rewrites the operators of an expression, at all levels of brackets.
pub(super) fn operators(source: &str) -> String {
    if source.len() > LONGEST || !source.contains(['<', '>', '%', '-']) {
        return source.to_owned();
    }
    let tokens = tokens(source);
    let deep = tokens
        .iter()
        .filter(|token| token.kind == Kind::Sign && matches!(&source[token.at.clone()], "-" | "%"));
    if deep.count() > MANY {
        return source.to_owned();
    }
    match level(source, &tokens, 0, 0) {
        Some((text, used)) if used == tokens.len() => text,
        // Brackets that do not match: the engine says so.
        _ => source.to_owned(),
    }
}

/// Brackets inside brackets that are followed.
const DEPTH: usize = 150;

/// From a token to the end of its level. The text, and the first token that was not used; nothing when a bracket is never
/// closed.
fn level(source: &str, tokens: &[Token], from: usize, depth: usize) -> Option<(String, usize)> {
    let mut parts: Vec<(Part, Range<usize>)> = Vec::new();
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        let word = &source[token.at.clone()];
        let mut part = Part {
            text: word.to_owned(),
            kind: token.kind,
        };
        let mut range = token.at.clone();
        at += 1;
        if token.kind == Kind::Sign {
            match word {
                "(" | "[" | "{" if depth < DEPTH => {
                    let (inner, next) = level(source, tokens, at, depth + 1)?;
                    let start = range.end;
                    let close = tokens.get(next)?;
                    let lead = tokens.get(at).map_or(start, |token| token.at.start);
                    let tail = tokens[next - 1].at.end.max(start);
                    let lead = if next > at { &source[start..lead] } else { "" };
                    part.text.push_str(lead);
                    part.text.push_str(&inner);
                    part.text.push_str(&source[tail..close.at.start]);
                    part.text.push_str(&source[close.at.clone()]);
                    // No sign any more, but a value.
                    part.kind = Kind::Name;
                    range.end = close.at.end;
                    at = next + 1;
                }
                ")" | "]" | "}" => {
                    at -= 1;
                    break;
                }
                "<" | ">" | "*" | "/" | "=" | "!" => {
                    // Two signs that are one operator.
                    if let Some(next) = tokens.get(at)
                        && next.at.start == range.end
                    {
                        let both = &source[range.start..next.at.end];
                        if matches!(both, "<=" | ">=" | "**" | "//" | "==" | "!=") {
                            both.clone_into(&mut part.text);
                            range.end = next.at.end;
                            at += 1;
                        }
                    }
                }
                _ => {}
            }
        }
        parts.push((part, range));
    }
    Some((joined(source, &parts), at))
}

/// The parts of one level, with the operators rewritten.
fn joined(source: &str, parts: &[(Part, Range<usize>)]) -> String {
    let mut out = String::new();
    let mut start = 0;
    // Everything between two boundaries is a comparison, or less.
    for (at, (part, range)) in parts.iter().enumerate() {
        if is_boundary(parts, at) {
            out.push_str(&comparison(source, &parts[start..at]));
            out.push_str(gap(source, parts, at));
            out.push_str(&part.text);
            let next = parts.get(at + 1).map_or(range.end, |(_, next)| next.start);
            out.push_str(&source[range.end..next]);
            start = at + 1;
        }
    }
    out.push_str(&comparison(source, &parts[start..]));
    out
}

/// The white space before a part, unless a boundary has brought it already.
fn gap<'s>(source: &'s str, parts: &[(Part, Range<usize>)], at: usize) -> &'s str {
    match at.checked_sub(1) {
        Some(before) if !is_boundary(parts, before) => {
            &source[parts[before].1.end..parts[at].1.start]
        }
        _ => "",
    }
}

/// What binds weaker than a comparison.
fn is_boundary(parts: &[(Part, Range<usize>)], at: usize) -> bool {
    let part = &parts[at].0;
    match part.kind {
        Kind::Sign => matches!(part.text.as_str(), "," | ":" | "="),
        Kind::Name => match part.text.as_str() {
            "and" | "or" | "if" | "else" => true,
            // `is not` and `not in` belong to what they are in.
            "not" => {
                let before = at
                    .checked_sub(1)
                    .map(|before| parts[before].0.text.as_str());
                let after = parts.get(at + 1).map(|(part, _)| part.text.as_str());
                before != Some("is") && after != Some("in")
            }
            _ => false,
        },
        _ => false,
    }
}

fn text(source: &str, parts: &[(Part, Range<usize>)]) -> String {
    let mut out = String::new();
    let mut end = None;
    for (part, range) in parts {
        if let Some(end) = end {
            out.push_str(&source[end..range.start]);
        }
        out.push_str(&part.text);
        end = Some(range.end);
    }
    out
}

/// Operands and the operators of comparison between them.
fn comparison(source: &str, parts: &[(Part, Range<usize>)]) -> String {
    let mut operands: Vec<Range<usize>> = Vec::from([Range::default()]);
    let mut signs: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < parts.len() {
        let (part, _) = &parts[at];
        let word = part.text.as_str();
        let is_sign = match part.kind {
            Kind::Sign => matches!(word, "<" | "<=" | ">" | ">=" | "==" | "!="),
            Kind::Name => word == "in" || word == "not",
            _ => false,
        };
        let is_negated_test = word == "not" && at > 0 && parts[at - 1].0.text == "is";
        // A name behind a bar or `is` is a filter or a test.
        let is_plugin = at > 0 && matches!(parts[at - 1].0.text.as_str(), "|" | "is");
        if is_sign && !is_negated_test && !is_plugin {
            let length = if word == "not" { 2 } else { 1 };
            signs.push(if word == "not" { "not in" } else { word });
            at += length;
            operands.push(at..at);
        } else {
            at += 1;
            if let Some(operand) = operands.last_mut() {
                operand.end = at;
            }
        }
    }
    let order = |sign: &str| ORDER.iter().find(|(known, _)| *known == sign);
    let is_plain = signs.iter().all(|sign| order(sign).is_none());
    let is_mixed = signs.len() > 1 && !signs.iter().all(|sign| order(sign).is_some());
    let is_whole = operands
        .iter()
        .all(|range| range.start < range.end && range.end <= parts.len());
    if is_plain || is_mixed || !is_whole {
        return sums(source, parts);
    }
    let shown: Vec<String> = operands
        .iter()
        .map(|range| sums(source, &parts[range.clone()]))
        .collect();
    let pairs: Vec<String> = signs
        .iter()
        .enumerate()
        .filter_map(|(at, sign)| {
            let (_, filter) = order(sign)?;
            Some(format!("(({})|{filter}({}))", shown[at], shown[at + 1]))
        })
        .collect();
    if let [one] = pairs.as_slice() {
        one.clone()
    } else {
        format!("({})", pairs.join(" and "))
    }
}

/// `-` between what binds stronger; left to right with `+`.
fn sums(source: &str, parts: &[(Part, Range<usize>)]) -> String {
    let is_sum = |at: usize| {
        at > 0
            && parts[at].0.kind == Kind::Sign
            && matches!(parts[at].0.text.as_str(), "+" | "-")
            && parts[at - 1].0.kind != Kind::Sign
    };
    let has_words = parts.iter().any(|(part, _)| {
        part.kind == Kind::Name && matches!(part.text.as_str(), "in" | "not" | "is")
    });
    let is_equal = parts
        .iter()
        .any(|(part, _)| part.kind == Kind::Sign && matches!(part.text.as_str(), "==" | "!="));
    let last = (0..parts.len())
        .rev()
        .find(|at| is_sum(*at) && parts[*at].0.text == "-");
    let Some(last) = last.filter(|_| !has_words && !is_equal) else {
        return products(source, parts);
    };
    let end = (last + 1..parts.len())
        .find(|at| is_sum(*at))
        .unwrap_or(parts.len());
    if last + 1 >= end {
        return products(source, parts);
    }
    let left = sums(source, &parts[..last]);
    let right = products(source, &parts[last + 1..end]);
    let mut rest = String::new();
    if let Some((_, range)) = parts.get(end) {
        rest.push_str(&source[parts[end - 1].1.end..range.start]);
        // Everything behind has its own `%`, and no `-` any more.
        rest.push_str(&products(source, &parts[end..]));
    }
    format!("(({left})|__sub({right})){rest}")
}

/// `%` between what binds stronger; left to right with `*`, `/` and `//`.
fn products(source: &str, parts: &[(Part, Range<usize>)]) -> String {
    let is_binary = |at: usize| {
        at > 0 && !matches!(parts[at - 1].0.kind, Kind::Sign) && {
            let before = parts[at - 1].0.text.as_str();
            !matches!(before, "in" | "not" | "is")
        }
    };
    let sign = |at: usize| match parts[at].0.kind {
        Kind::Sign => parts[at].0.text.as_str(),
        Kind::Name if matches!(parts[at].0.text.as_str(), "in" | "not") => {
            if at > 0 && matches!(parts[at - 1].0.text.as_str(), "is" | "|") {
                ""
            } else {
                "in"
            }
        }
        _ => "",
    };
    let is_weaker = |at: usize| match sign(at) {
        "+" | "-" => is_binary(at),
        "~" | "<" | "<=" | ">" | ">=" | "==" | "!=" | "in" => true,
        _ => false,
    };
    let Some(last) = (0..parts.len()).rev().find(|at| sign(*at) == "%") else {
        return text(source, parts);
    };
    if !is_binary(last) {
        return text(source, parts);
    }
    let start = (0..last)
        .rev()
        .find(|at| is_weaker(*at))
        .map_or(0, |at| at + 1);
    let end = (last + 1..parts.len())
        .find(|at| is_weaker(*at) || (matches!(sign(*at), "*" | "/" | "//") && is_binary(*at)))
        .unwrap_or(parts.len());
    if start >= last || last + 1 >= end {
        return text(source, parts);
    }
    let left = products(source, &parts[start..last]);
    let right = text(source, &parts[last + 1..end]);
    let before = products(source, &parts[..start]);
    let space = |from: usize| match (from.checked_sub(1), parts.get(from)) {
        (Some(before), Some((_, range))) => &source[parts[before].1.end..range.start],
        _ => "",
    };
    format!(
        "{before}{}(({left})|__mod({right})){}{}",
        space(start),
        space(end),
        text(source, &parts[end..])
    )
}

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("__mod", modulo);
    env.add_filter("__lt", |a: &Value, b: &Value| {
        ordered("<", a, b)?;
        Ok::<_, Error>(a < b)
    });
    env.add_filter("__le", |a: &Value, b: &Value| {
        ordered("<=", a, b)?;
        Ok::<_, Error>(a <= b)
    });
    env.add_filter("__gt", |a: &Value, b: &Value| {
        ordered(">", a, b)?;
        Ok::<_, Error>(a > b)
    });
    env.add_filter("__ge", |a: &Value, b: &Value| {
        ordered(">=", a, b)?;
        Ok::<_, Error>(a >= b)
    });
}

/// Python's name of a type.
fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::None => "NoneType",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map => "dict",
        _ => "object",
    }
}

fn defined(values: [&Value; 2]) -> Result<(), Error> {
    if values.iter().any(|value| value.is_undefined()) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(())
}

/// Numbers have an order, text has one, lists have one; nothing else has.
fn ordered(sign: &str, a: &Value, b: &Value) -> Result<(), Error> {
    defined([a, b])?;
    let class = |value: &Value| match value.kind() {
        ValueKind::Bool | ValueKind::Number => 1,
        ValueKind::String => 2,
        ValueKind::Seq | ValueKind::Iterable => 3,
        ValueKind::Plain => 4,
        _ => 0,
    };
    if class(a) == class(b) && class(a) != 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!(
            "'{sign}' not supported between instances of '{}' and '{}'",
            type_name(a),
            type_name(b)
        ),
    ))
}

/// Text is a format; numbers have the remainder that has the sign of the divisor.
fn modulo(a: &Value, b: &Value) -> Result<Value, Error> {
    defined([a, b])?;
    let fail = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    if let Some(format) = a.as_str() {
        return super::percent::format(format, b)
            .map(Value::from)
            .map_err(fail);
    }
    let is_whole = |value: &Value| matches!(value.kind(), ValueKind::Bool) || value.is_integer();
    let whole = |value: &Value| {
        if value.kind() == ValueKind::Bool {
            Some(i128::from(value.is_true()))
        } else {
            i128::try_from(value.clone()).ok()
        }
    };
    if is_whole(a)
        && is_whole(b)
        && let (Some(a), Some(b)) = (whole(a), whole(b))
    {
        let rest = a
            .checked_rem(b)
            .ok_or_else(|| fail("integer modulo by zero".to_owned()))?;
        let rest = if rest != 0 && (rest < 0) != (b < 0) {
            rest + b
        } else {
            rest
        };
        return Ok(i64::try_from(rest).map_or_else(|_| Value::from(rest), Value::from));
    }
    let (Ok(x), Ok(y)) = (f64::try_from(a.clone()), f64::try_from(b.clone())) else {
        return Err(fail(format!(
            "unsupported operand type(s) for %: '{}' and '{}'",
            type_name(a),
            type_name(b)
        )));
    };
    if y == 0.0 {
        return Err(fail("float modulo by zero".to_owned()));
    }
    let rest = x % y;
    Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (y < 0.0) {
        rest + y
    } else {
        rest
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_that_are_never_closed_are_read_once() {
        let open = "[{(".repeat(40) + " a < b - c";
        assert_eq!(operators(&open), open);
    }

    #[test]
    fn operators_become_filters() {
        let cases = [
            ("a", "a"),
            ("a - b + c - d", "((((a)|__sub(b)) + c)|__sub(d))"),
            ("-a + -b", "-a + -b"),
            ("(a - b).x", "(((a)|__sub(b))).x"),
            ("a - b % 2 > 1", "((((a)|__sub(((b)|__mod(2)))))|__gt(1))"),
            ("a % b", "((a)|__mod(b))"),
            ("a + b % c * d", "a + ((b)|__mod(c)) * d"),
            ("a * b % c", "((a * b)|__mod(c))"),
            ("a % b % c", "((((a)|__mod(b)))|__mod(c))"),
            ("-7 % 3 == 2", "((-7)|__mod(3)) == 2"),
            ("'%s' % (a, b)", "(('%s')|__mod((a, b)))"),
            ("a < b", "((a)|__lt(b))"),
            ("a | length > 0", "((a | length)|__gt(0))"),
            ("1 < 2 < 3", "(((1)|__lt(2)) and ((2)|__lt(3)))"),
            ("not a < b and c", "not ((a)|__lt(b)) and c"),
            ("x if a >= b else y", "x if ((a)|__ge(b)) else y"),
            ("f(a < b, c=d > e)", "f(((a)|__lt(b)), c=((d)|__gt(e)))"),
            (
                "[a <= b, {'k': c > d}]",
                "[((a)|__le(b)), {'k': ((c)|__gt(d))}]",
            ),
            ("a == b", "a == b"),
            (
                "a is not defined and b > 1",
                "a is not defined and ((b)|__gt(1))",
            ),
            ("'a < b' ~ c", "'a < b' ~ c"),
            ("a not in b and c % 2", "a not in b and ((c)|__mod(2))"),
            ("( a < b )", "( ((a)|__lt(b)) )"),
            ("a[b % 2]", "a[((b)|__mod(2))]"),
        ];
        for (from, to) in cases {
            assert_eq!(operators(from), to, "{from}");
        }
        let long = vec!["a"; 3000].join(" - ");
        assert_eq!(operators(&long), long);
    }

    proptest::proptest! {
        #[test]
        fn no_expression_brings_it_down(text in "[ a-cé0-2.,:|(){}\\[\\]'\"\\\\=~<>%!*/-]{0,40}") {
            let _ = operators(&text);
        }
    }
}
