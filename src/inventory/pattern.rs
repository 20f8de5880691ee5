//! In: a host pattern (`web:&staging:!db[0]`, `~regex`, `*.example`). Out: the hosts it means, in order.

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::Arc;

use indexmap::IndexSet;
use layerplay_modules::fnmatch;
use layerplay_modules::python_regex::{Flags, Pattern};

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
            // A host of that very name is taken first, brackets and all.
            let found = match self.hosts.get_key_value(element) {
                Some((host, _)) => vec![Arc::clone(host)],
                None => self.element(element)?,
            };
            if found.is_empty() && element != "all" {
                matched.unmatched.push(element.to_owned());
            }
            hosts.extend(found);
        }
        for element in both {
            let keep: HashSet<Arc<str>> = self.element(element)?.into_iter().collect();
            hosts.retain(|host| keep.contains(host));
        }
        for element in without {
            let drop: HashSet<Arc<str>> = self.element(element)?.into_iter().collect();
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
        let (name, index) = subscript(element)?;
        let hosts = self.by_name(name)?;
        Ok(match index {
            None => hosts,
            Some(index) => {
                let found = index.of(&hosts);
                if found.is_empty() && !hosts.is_empty() && matches!(index, Index::One(_)) {
                    return Err(PatternError {
                        message: format!("No hosts matched the subscripted pattern '{element}'"),
                    });
                }
                found
            }
        })
    }

    fn by_name(&self, name: &str) -> Result<Vec<Arc<str>>, PatternError> {
        if name.contains(['*', '?', '[']) {
            let glob = fnmatch::compile(name).map_err(|problem| PatternError {
                message: format!("host pattern `{name}`: {problem}"),
            })?;
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
        let wrong = |problem: &dyn std::fmt::Display| PatternError {
            message: format!("host pattern `~{text}`: {problem}"),
        };
        let regex = Pattern::text(text, Flags::default()).map_err(|problem| wrong(&problem))?;
        let mut problem = None;
        let hosts = self.matching(|name| {
            regex.is_match_at_start(name).unwrap_or_else(|gave_up| {
                problem.get_or_insert(gave_up);
                false
            })
        });
        problem.map_or(Ok(hosts), |problem| Err(wrong(&problem)))
    }

    /// Hosts whose own name, or one of whose groups, matches.
    fn matching(&self, mut is_match: impl FnMut(&str) -> bool) -> Vec<Arc<str>> {
        let mut found: IndexSet<Arc<str>> = IndexSet::new();
        for group in self.groups.keys() {
            if is_match(group) {
                found.extend(self.members(group));
            }
        }
        found.extend(self.hosts.keys().filter(|name| is_match(name)).cloned());
        found.into_iter().collect()
    }
}

/// The elements of a pattern: parted by commas; without a comma by colons and white space, unless the whole is one
/// address (`2001:db8::1`, `host:2222`).
pub fn split(pattern: &str) -> Vec<String> {
    if pattern.contains(',') {
        let elements = pattern.split(',').map(str::trim);
        return elements
            .filter(|element| !element.is_empty())
            .map(str::to_owned)
            .collect();
    }
    if is_address(pattern) {
        return vec![pattern.trim().to_owned()];
    }
    let mut elements = vec![String::new()];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        // Colons between brackets are those of a range.
        let length = match (c, rest.find(']')) {
            ('[', Some(end)) => end + 1,
            _ => c.len_utf8(),
        };
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        match elements.last_mut() {
            Some(last) if !(c == ':' || c.is_whitespace()) => last.push_str(piece),
            _ => elements.push(String::new()),
        }
    }
    elements.retain(|element| !element.is_empty());
    elements
}

fn is_address(pattern: &str) -> bool {
    let pattern = pattern.trim();
    if pattern.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let Some((host, port)) = pattern.rsplit_once(':') else {
        return false;
    };
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    is_number
        && (bare.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
            || (!host.is_empty() && host.chars().all(is_name)))
}

enum Index {
    One(i64),
    Range(i64, Option<i64>),
}

impl Index {
    /// Both ends belong to a range; a place outside of the list is nothing.
    fn of(&self, hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        let length = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
        let (from, to) = match *self {
            Self::One(index) if index < 0 => (length + index, length + index),
            Self::One(index) => (index, index),
            Self::Range(from, to) => (from, to.unwrap_or(length - 1)),
        };
        hosts
            .iter()
            .enumerate()
            .filter(|(at, _)| i64::try_from(*at).is_ok_and(|at| at >= from && at <= to))
            .map(|(_, host)| Arc::clone(host))
            .collect()
    }
}

/// `group[0]`, `group[-1]`, `group[1:]`, `group[0:1]` and its old form `group[0-1]`, at the end of a name; other
/// brackets are wildcards.
fn subscript(element: &str) -> Result<(&str, Option<Index>), PatternError> {
    let wildcard = Ok((element, None));
    let Some((name, inner)) = element
        .strip_suffix(']')
        .and_then(|rest| rest.rsplit_once('['))
        .filter(|(name, _)| !name.is_empty())
    else {
        return wildcard;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| PatternError {
            message: format!("`[{inner}]` of host pattern `{element}` is beyond any group"),
        })
    };
    if is_number(inner.strip_prefix('-').unwrap_or(inner)) {
        return Ok((name, Some(Index::One(number(inner)?))));
    }
    match inner.split_once([':', '-']) {
        Some((from, "")) if is_number(from) => Ok((name, Some(Index::Range(number(from)?, None)))),
        Some((from, to)) if is_number(from) && is_number(to) => {
            Ok((name, Some(Index::Range(number(from)?, Some(number(to)?)))))
        }
        _ => wildcard,
    }
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
            ("web db", "w1 w2 w3 d1 d2"),
            ("web[0-1]", "w1 w2"),
            ("web[:1]", ""),
            ("[wd]*[0]", "w1"),
            ("w[12]", ""),
            ("w[12]*", "w1 w2"),
            ("web:80", ""),
            ("fe80::1", ""),
            ("web, db[2]", "w1 w2 w3 d2"),
            ("web:&db[0:1]", "w3"),
            ("~w.$", "w1 w2 w3"),
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
        assert!(inventory.select("web[3]").is_err());
        assert_eq!(inventory.nearest_name("wbe"), Some("web"));
    }
}
