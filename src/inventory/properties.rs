//! In: inventories and patterns of all shapes. Out: nothing, unless a pattern means other hosts than a plain model of
//! sets says: an element is a list of hosts; unions are put together, then intersections, then exclusions are taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::Inventory;

/// What the model knows of an inventory: plain lists, and no walk but the one that is written below.
#[derive(Debug, Clone)]
struct Model {
    /// Name, direct hosts, direct children (by number, always larger than the group's own).
    groups: Vec<(String, Vec<String>, Vec<usize>)>,
    /// In the order in which they became known.
    hosts: Vec<String>,
}

fn names() -> Vec<String> {
    ["w1", "w2", "w10", "d1", "d2", "e.x", "web3", "n"]
        .map(str::to_owned)
        .to_vec()
}

fn model() -> impl Strategy<Value = Model> {
    let group = (
        subsequence(names(), 0..=5).prop_shuffle(),
        proptest::collection::vec(any::<Index>(), 0..3),
    );
    proptest::collection::vec(group, 1..6).prop_map(|groups| {
        let titles = ["web", "db", "wide", "x.y", "e"];
        let count = groups.len();
        let mut hosts: Vec<String> = Vec::new();
        let mut known = Vec::new();
        for (number, (direct, children)) in groups.into_iter().enumerate() {
            for host in &direct {
                if !hosts.contains(host) {
                    hosts.push(host.clone());
                }
            }
            let mut below: Vec<usize> = Vec::new();
            for index in children {
                let below_it = count - number - 1;
                if below_it > 0 {
                    let child = number + 1 + index.index(below_it);
                    if !below.contains(&child) {
                        below.push(child);
                    }
                }
            }
            known.push((titles[number].to_owned(), direct, below));
        }
        Model {
            groups: known,
            hosts,
        }
    })
}

impl Model {
    fn build(&self) -> Inventory {
        let mut inventory = Inventory::default();
        for (name, hosts, _) in &self.groups {
            inventory.add_group(name);
            for host in hosts {
                inventory.add_member(name, host);
            }
        }
        for (name, _, children) in &self.groups {
            for child in children {
                inventory
                    .try_add_child(name, &self.groups[*child].0)
                    .unwrap();
            }
        }
        inventory.settle();
        inventory
    }

    /// Level by level, no group twice.
    fn of_groups(&self, top: Vec<usize>) -> Vec<String> {
        let mut order: Vec<usize> = Vec::new();
        let mut level = top;
        while !level.is_empty() {
            let mut next = Vec::new();
            for group in level {
                if !order.contains(&group) {
                    order.push(group);
                    next.extend(self.groups[group].2.iter().copied());
                }
            }
            level = next;
        }
        once(
            order
                .into_iter()
                .flat_map(|group| self.groups[group].1.clone()),
        )
    }

    fn everything(&self) -> Vec<String> {
        let has_parent = |group: usize| {
            self.groups
                .iter()
                .any(|(_, _, children)| children.contains(&group))
        };
        let top = (0..self.groups.len()).filter(|group| !has_parent(*group));
        self.of_groups(top.collect())
    }

    fn plain(&self, name: &str) -> Vec<String> {
        if name == "all" {
            return self.everything();
        }
        match self.groups.iter().position(|(group, _, _)| group == name) {
            Some(group) => self.of_groups(vec![group]),
            None => self
                .hosts
                .iter()
                .filter(|host| *host == name)
                .cloned()
                .collect(),
        }
    }

    fn matching(&self, is_match: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        if is_match("all") {
            found.extend(self.everything());
        }
        for (name, _, _) in &self.groups {
            if is_match(name) {
                found.extend(self.plain(name));
            }
        }
        found.extend(self.hosts.iter().filter(|host| is_match(host)).cloned());
        once(found)
    }
}

/// Without what came before.
fn once(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = names.into_iter();
    names.filter(|name| seen.insert(name.clone())).collect()
}

/// `*`, `?` and plain characters, by trying every way.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| wild(rest, &text[skip..])),
        Some((b'?', rest)) => !text.is_empty() && wild(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && wild(rest, &text[1..]),
    }
}

#[derive(Debug, Clone)]
enum Base {
    Plain(String),
    Wild(String),
    /// `~START.*`
    Regex(String),
}

#[derive(Debug, Clone)]
enum Cut {
    None,
    One(i64),
    From(i64),
    Both(i64, i64),
}

fn base() -> impl Strategy<Value = Base> {
    let plain = [
        "all",
        "web",
        "db",
        "wide",
        "x.y",
        "w1",
        "d2",
        "e.x",
        "nothing",
        "ungrouped",
    ];
    prop_oneof![
        prop::sample::select(plain.to_vec()).prop_map(|name| Base::Plain(name.to_owned())),
        "[wde]?[12*?]\\*?|\\*|w\\*|\\?[0-9]".prop_map(Base::Wild),
        prop::sample::select(vec!["w", "d", "we", "e", "al", "z"])
            .prop_map(|start| Base::Regex(start.to_owned())),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![
        4 => Just(Cut::None),
        1 => (-3_i64..4).prop_map(Cut::One),
        1 => (0_i64..4).prop_map(Cut::From),
        1 => (0_i64..4, 1_i64..4).prop_map(|(from, to)| Cut::Both(from, to)),
    ]
}

fn write(base: &Base, cut: &Cut) -> String {
    let name = match base {
        Base::Plain(name) | Base::Wild(name) => name.clone(),
        Base::Regex(start) => return format!("~{start}.*"),
    };
    match cut {
        Cut::None => name,
        Cut::One(at) => format!("{name}[{at}]"),
        Cut::From(from) => format!("{name}[{from}:]"),
        Cut::Both(from, to) => format!("{name}[{from}:{to}]"),
    }
}

/// The hosts of one element, by Python's rules of places in a list.
fn means(model: &Model, base: &Base, cut: &Cut) -> Vec<String> {
    let hosts = match base {
        Base::Wild(pattern) if pattern.contains(['*', '?']) => {
            model.matching(|name| wild(pattern.as_bytes(), name.as_bytes()))
        }
        Base::Plain(name) | Base::Wild(name) => model.plain(name),
        Base::Regex(start) => return model.matching(|name| name.starts_with(start.as_str())),
    };
    let length = i64::try_from(hosts.len()).unwrap();
    let places: Vec<i64> = match cut {
        Cut::None => (0..length).collect(),
        Cut::One(at) => vec![if *at < 0 { at + length } else { *at }],
        Cut::From(from) => (*from..length).collect(),
        Cut::Both(from, to) => (*from..=*to).collect(),
    };
    places
        .into_iter()
        .filter_map(|at| hosts.get(usize::try_from(at).ok()?).cloned())
        .collect()
}

/// One place that is not there, in a group that has hosts: a mistake, and no empty set.
fn is_beyond(model: &Model, base: &Base, cut: &Cut) -> bool {
    matches!(cut, Cut::One(_))
        && means(model, base, cut).is_empty()
        && !means(model, base, &Cut::None).is_empty()
}

proptest! {
    #[test]
    fn patterns_are_sets(
        model in model(),
        elements in proptest::collection::vec((0_u8..3, base(), cut()), 1..5),
        separator in prop::sample::select(vec![":", ",", " ", ", "]),
    ) {
        let inventory = model.build();
        let pattern = elements.iter().map(|(kind, base, cut)| {
            format!("{}{}", ["", "&", "!"][usize::from(*kind)], write(base, cut))
        });
        let pattern = pattern.collect::<Vec<_>>().join(separator);

        let of = |wanted: u8| elements.iter().filter(move |(kind, _, _)| *kind == wanted);
        let mut hosts = if of(0).next().is_none() {
            model.everything()
        } else {
            once(of(0).flat_map(|(_, base, cut)| means(&model, base, cut)))
        };
        for (_, base, cut) in of(1) {
            let both = means(&model, base, cut);
            hosts.retain(|host| both.contains(host));
        }
        for (_, base, cut) in of(2) {
            let without = means(&model, base, cut);
            hosts.retain(|host| !without.contains(host));
        }

        let found = inventory.select(&pattern);
        if elements.iter().any(|(_, base, cut)| is_beyond(&model, base, cut)) {
            prop_assert!(found.is_err(), "{}", pattern);
            return Ok(());
        }
        let found = found.unwrap();
        let found: Vec<String> = found.hosts.iter().map(ToString::to_string).collect();
        prop_assert_eq!(found, hosts, "{}", pattern);
    }

    /// Every range gives as many names as its numbers say, the first and last as written.
    #[test]
    fn ranges_are_inclusive(from in 0_u32..200, more in 0_u32..50, step in 1_usize..7, width in 0_usize..5) {
        let to = from + more;
        // Padding begins with a zero; both ends are written with the same width.
        let (first, last) = (format!("{from:0width$}"), format!("{to:0width$}"));
        let names = super::ranges::expand(&format!("w[{first}:{last}:{step}].x")).unwrap();
        let wanted: Vec<String> = (from..=to)
            .step_by(step)
            .map(|number| {
                if first.len() > 1 && first.starts_with('0') {
                    format!("w{number:0width$}.x")
                } else {
                    format!("w{number}.x")
                }
            })
            .collect();
        prop_assert_eq!(names, wanted);
    }

    #[test]
    fn a_group_is_stronger_the_longer_its_way_from_the_top(model in model(), host in any::<Index>()) {
        prop_assume!(!model.hosts.is_empty());
        let inventory = model.build();
        let host = &model.hosts[host.index(model.hosts.len())];
        // All ways down to the host, written out one by one.
        let mut depth: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        let mut ways: Vec<Vec<usize>> = (0..model.groups.len()).map(|group| vec![group]).collect();
        while let Some(way) = ways.pop() {
            let last = way[way.len() - 1];
            for child in &model.groups[last].2 {
                ways.push([way.clone(), vec![*child]].concat());
            }
            if model.groups[last].1.contains(host) {
                for (at, group) in way.iter().enumerate() {
                    let known = depth.entry(*group).or_default();
                    *known = (*known).max(at + 1);
                }
            }
        }
        let mut wanted: Vec<(usize, &str)> = depth
            .iter()
            .map(|(group, depth)| (*depth, model.groups[*group].0.as_str()))
            .collect();
        wanted.sort_unstable();
        let wanted: Vec<&str> = ["all"].into_iter().chain(wanted.into_iter().map(|(_, name)| name)).collect();
        let found: Vec<Arc<str>> = inventory.groups_of(host);
        let found: Vec<&str> = found.iter().map(AsRef::as_ref).collect();
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn many_ways_to_a_group_are_walked_once() {
    // Each level has two groups, both below both of the level before: 2^40 ways.
    let mut inventory = Inventory::default();
    for level in 0..40 {
        for parent in ["a", "b"] {
            for child in ["a", "b"] {
                inventory
                    .try_add_child(
                        &format!("{parent}{level}"),
                        &format!("{child}{}", level + 1),
                    )
                    .unwrap();
            }
        }
    }
    inventory.add_member("a40", "h");
    inventory.settle();
    let groups = inventory.groups_of("h");
    assert_eq!(groups.len(), 82);
    assert_eq!(inventory.members("all").len(), 1);
}

#[test]
fn a_few_lines_do_not_name_more_hosts_than_there_is_memory_for() {
    let mut inventory = Inventory::default();
    let told: Vec<_> = (0..40)
        .map(|_| inventory.expand("w[1:99999]").err())
        .collect();
    assert_eq!(told[0], None);
    assert!(told[39].is_some());
}
