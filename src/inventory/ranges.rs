//! In: a host name as written, maybe with ranges (`w[01:03]`, `d-[a:c].x`, `n[0:10:2]`). Out: the names it means.

/// More names than this from one line are a slip of the hand.
const MOST: usize = 100_000;

/// All names, in order; the last range turns fastest.
pub(super) fn expand(text: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((start, end)) = brackets(rest) {
        parts.push((&rest[..start], &rest[start + 1..end]));
        rest = &rest[end + 1..];
    }
    let mut names = vec![rest.to_owned()];
    for (head, range) in parts.into_iter().rev() {
        let mut longer = Vec::new();
        for middle in steps(range)? {
            for tail in &names {
                longer.push(format!("{head}{middle}{tail}"));
            }
            if longer.len() > MOST {
                return Err(format!("`{text}` means more than {MOST} hosts"));
            }
        }
        names = longer;
    }
    Ok(names)
}

/// The first `[a:b]`; brackets without a colon belong to an IPv6 address.
fn brackets(text: &str) -> Option<(usize, usize)> {
    let start = text.find('[')?;
    let end = start + text[start..].find(']')?;
    let inner = &text[start + 1..end];
    (inner.contains(':') && inner.split(':').count() <= 3).then_some((start, end))
}

fn steps(range: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`[{range}]` is not a range: write `[01:20]`, `[a:f]` or `[0:10:2]`");
    let mut parts = range.split(':');
    let first = parts.next().unwrap_or_default();
    let last = parts.next().ok_or_else(wrong)?;
    let step: usize = match parts.next() {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|step| *step > 0)
            .ok_or_else(wrong)?,
    };
    let first = if first.is_empty() { "0" } else { first };
    if let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) {
        let width = if first.len() > 1 && first.starts_with('0') {
            first.len()
        } else {
            0
        };
        if from > to || (to - from) / step as u64 > MOST as u64 {
            return Err(wrong());
        }
        return Ok((from..=to)
            .step_by(step)
            .map(|number| format!("{number:0width$}"))
            .collect());
    }
    let letter = |text: &str| {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if c.is_ascii_alphabetic() => Some(c),
            _ => None,
        }
    };
    match (letter(first), letter(last)) {
        (Some(from), Some(to)) if from <= to => {
            Ok((from..=to).step_by(step).map(String::from).collect())
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn ranges_are_inclusive_padded_and_stepped() {
        for (text, names) in [
            ("plain", vec!["plain"]),
            ("w[01:03]", vec!["w01", "w02", "w03"]),
            ("d-[a:c].x", vec!["d-a.x", "d-b.x", "d-c.x"]),
            ("n[0:10:5]", vec!["n0", "n5", "n10"]),
            ("[1:2]-[a:b]", vec!["1-a", "1-b", "2-a", "2-b"]),
            ("[fe80::1:2]", vec!["[fe80::1:2]"]),
        ] {
            assert_eq!(expand(text).unwrap(), names, "{text}");
        }
        assert!(expand("w[3:1]").is_err());
        assert_eq!(expand(&"[1:1]".repeat(20_000)).unwrap()[0].len(), 20_000);
        assert!(expand("w[a:3]").is_err());
    }
}
