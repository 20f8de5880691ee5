//! In: a host pattern (`web:&staging:!db[0]`, `~regex`, `*.example`). Out: the hosts it means, in order.

use std::sync::Arc;

use fancy_regex::Regex;
use indexmap::IndexSet;

use super::Inventory;
use crate::diagnostic::nearest::nearest;

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    pub message: String,
}

/// The hosts of a pattern, and the elements that matched nothing.
#[derive(Debug, Default)]
pub struct Matched {
    pub hosts: Vec<Arc<str>>,
    pub unmatched: Vec<String>,
}

impl Inventory {
    /// The hosts that a pattern means. Unions first, then intersections, then exclusions, whatever their order.
    pub fn select(&self, pattern: &str) -> Result<Matched, PatternError> {
        let elements = split(pattern);
        let (mut first, mut both, mut without) = (Vec::new(), Vec::new(), Vec::new());
        for element in &elements {
            match element.chars().next() {
                Some('!') => without.push(&element[1..]),
                Some('&') => both.push(&element[1..]),
                Some(_) => first.push(element.as_str()),
                None => {}
            }
        }
        if first.is_empty() && !(both.is_empty() && without.is_empty()) {
            first.push("all");
        }
        let mut matched = Matched::default();
        let mut hosts: IndexSet<Arc<str>> = IndexSet::new();
        for element in first {
            let found = self.element(element)?;
            if found.is_empty() && element != "all" {
                matched.unmatched.push(element.to_owned());
            }
            hosts.extend(found);
        }
        for element in both {
            let keep: IndexSet<Arc<str>> = self.element(element)?.into_iter().collect();
            hosts.retain(|host| keep.contains(host));
        }
        for element in without {
            let drop: IndexSet<Arc<str>> = self.element(element)?.into_iter().collect();
            hosts.retain(|host| !drop.contains(host));
        }
        matched.hosts = hosts.into_iter().collect();
        Ok(matched)
    }

    /// The known name that is nearest to one that matched nothing.
    pub fn nearest_name(&self, wrong: &str) -> Option<&str> {
        nearest(
            wrong,
            self.groups
                .keys()
                .chain(self.hosts.keys())
                .map(AsRef::as_ref),
        )
    }

    fn element(&self, element: &str) -> Result<Vec<Arc<str>>, PatternError> {
        if let Some(regex) = element.strip_prefix('~') {
            return self.by_regex(regex);
        }
        // A host of that very name is taken first, brackets and all.
        if self.hosts.contains_key(element) {
            return Ok(vec![Arc::from(element)]);
        }
        let (name, index) = subscript(element)?;
        let hosts = self.by_name(name)?;
        Ok(match index {
            None => hosts,
            Some(index) => {
                let found = index.of(&hosts);
                if found.is_empty() && matches!(index, Index::One(_)) {
                    return Err(PatternError {
                        message: format!("No hosts matched the subscripted pattern '{element}'"),
                    });
                }
                found
            }
        })
    }

    fn by_name(&self, name: &str) -> Result<Vec<Arc<str>>, PatternError> {
        if name == "all" || name == "*" {
            return Ok(self.members("all"));
        }
        if name.contains(['*', '?', '[']) {
            let glob = globset::Glob::new(name).map_err(|problem| PatternError {
                message: format!("host pattern `{name}`: {problem}"),
            })?;
            let glob = glob.compile_matcher();
            return Ok(self.matching(|text| glob.is_match(text)));
        }
        if self.groups.contains_key(name) {
            return Ok(self.members(name));
        }
        if self.hosts.contains_key(name) {
            return Ok(vec![Arc::from(name)]);
        }
        // Ansible always knows `localhost`.
        Ok(if matches!(name, "localhost" | "127.0.0.1" | "::1") {
            vec![Arc::from(name)]
        } else {
            Vec::new()
        })
    }

    fn by_regex(&self, text: &str) -> Result<Vec<Arc<str>>, PatternError> {
        let regex = Regex::new(&format!("^(?:{text})")).map_err(|problem| PatternError {
            message: format!("host pattern `~{text}`: {problem}"),
        })?;
        Ok(self.matching(|name| regex.is_match(name).unwrap_or(false)))
    }

    /// Hosts whose own name, or one of whose groups, matches.
    fn matching(&self, is_match: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let mut found: IndexSet<Arc<str>> = IndexSet::new();
        for group in self.groups.keys().filter(|name| is_match(name)) {
            found.extend(self.members(group));
        }
        found.extend(self.hosts.keys().filter(|name| is_match(name)).cloned());
        found.into_iter().collect()
    }
}

/// Elements are parted by `:` or `,`; with a comma anywhere, colons belong to names (IPv6 addresses).
fn split(pattern: &str) -> Vec<String> {
    let by_comma = pattern.contains(',');
    let mut elements = vec![String::new()];
    let mut depth = 0_usize;
    for c in pattern.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let parts = depth == 0 && if by_comma { c == ',' } else { c == ':' };
        match (parts, elements.last_mut()) {
            (false, Some(last)) => last.push(c),
            _ => elements.push(String::new()),
        }
    }
    elements
        .into_iter()
        .map(|element| element.trim().to_owned())
        .filter(|element| !element.is_empty())
        .collect()
}

enum Index {
    One(i64),
    Range(i64, Option<i64>),
}

impl Index {
    /// Both ends belong to a range; a place outside of the list is nothing.
    fn of(&self, hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        let length = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
        let place = |index: i64| if index < 0 { length + index } else { index };
        let (from, to) = match self {
            Self::One(index) => (place(*index), place(*index)),
            Self::Range(from, to) => (place(*from), to.map_or(length - 1, place)),
        };
        hosts
            .iter()
            .enumerate()
            .filter(|(at, _)| i64::try_from(*at).is_ok_and(|at| at >= from && at <= to))
            .map(|(_, host)| Arc::clone(host))
            .collect()
    }
}

/// `group[0]`, `group[-1]`, `group[1:]`, `group[0:1]`; other brackets are wildcards.
fn subscript(element: &str) -> Result<(&str, Option<Index>), PatternError> {
    let Some((name, rest)) = element.split_once('[') else {
        return Ok((element, None));
    };
    let Some(inner) = rest.strip_suffix(']') else {
        return Ok((element, None));
    };
    if inner.is_empty()
        || !inner
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ':' | '-'))
    {
        return Ok((element, None));
    }
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| PatternError {
            message: format!("`[{inner}]` of host pattern `{element}` is no place in a group: write `[0]`, `[-1]` or `[1:3]`"),
        })
    };
    let index = match inner.split_once(':') {
        None => Index::One(number(inner)?),
        Some((from, to)) => Index::Range(
            if from.is_empty() { 0 } else { number(from)? },
            if to.is_empty() {
                None
            } else {
                Some(number(to)?)
            },
        ),
    };
    Ok((name, Some(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        let mut inventory = Inventory::default();
        for (group, hosts) in [("web", ["w1", "w2", "w3"]), ("db", ["d1", "w3", "d2"])] {
            for host in hosts {
                inventory.add_member(group, host);
            }
        }
        inventory.settle();
        inventory
    }

    #[test]
    fn patterns_mean_what_ansible_means() {
        let inventory = inventory();
        for (pattern, hosts) in [
            ("all", "w1 w2 w3 d1 d2"),
            ("web", "w1 w2 w3"),
            ("web:db", "w1 w2 w3 d1 d2"),
            ("web,db", "w1 w2 w3 d1 d2"),
            ("web:&db", "w3"),
            ("!db", "w1 w2"),
            ("!w1:web", "w2 w3"),
            ("web[0]", "w1"),
            ("web[-1]", "w3"),
            ("web[1:]", "w2 w3"),
            ("web[0:1]", "w1 w2"),
            ("web[7:9]", ""),
            ("w*", "w1 w2 w3"),
            ("~d\\d", "d1 d2"),
            ("d2:w1", "d2 w1"),
            ("nothing", ""),
            ("localhost", "localhost"),
        ] {
            let found = inventory.select(pattern).unwrap();
            let names: Vec<&str> = found.hosts.iter().map(AsRef::as_ref).collect();
            assert_eq!(names.join(" "), hosts, "{pattern}");
        }
        assert!(inventory.select("~(").is_err());
        assert_eq!(inventory.nearest_name("wbe"), Some("web"));
    }
}
