//! In: what a play and the command line say. Out: what is selected: tasks by their tags, hosts by batches; and what is
//! wrong already ([`lint`]).

mod lint;

pub use lint::{Known, lint};

/// `--tags` and `--skip-tags`.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub tags: Vec<String>,
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether a task with these tags runs (ansible-core: `Taggable.evaluate_tags`).
    pub fn selects(&self, tags: &[String]) -> bool {
        let has = |name: &str| tags.iter().any(|tag| tag == name);
        let is_tagged = !tags.is_empty();
        let named = |wanted: &str| match wanted {
            "all" => !has("never"),
            "tagged" => is_tagged && !has("never"),
            "untagged" => !is_tagged,
            name => has(name),
        };
        let everything = ["all".to_owned()];
        let wanted: &[String] = if self.tags.is_empty() {
            &everything
        } else {
            &self.tags
        };
        let chosen = wanted.iter().any(|tag| named(tag)) || has("always");
        let dropped = self.skip.iter().any(|skip| match skip.as_str() {
            // `always` survives `--skip-tags all`, unless it is named itself.
            "all" => !has("always") || self.skip.iter().any(|tag| tag == "always"),
            "tagged" => is_tagged,
            "untagged" => !is_tagged,
            name => has(name),
        });
        chosen && !dropped
    }
}

/// One element of `serial`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BatchSize {
    Hosts(usize),
    /// Of all hosts of the play, not of those that are left.
    Percent(f64),
}

impl BatchSize {
    /// `2`, `"30%"`. Zero means all.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite() && *value >= 0.0)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Hosts),
        }
    }

    fn of(self, all: usize) -> usize {
        match self {
            Self::Hosts(0) => all,
            Self::Hosts(count) => count,
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a number of hosts"
            )]
            Self::Percent(percent) => ((all as f64 * percent / 100.0) as usize).max(1),
        }
    }
}

/// Hosts in batches: each size in turn, the last one repeats.
pub fn batches<T: Clone>(hosts: &[T], sizes: &[BatchSize]) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut rest = hosts;
    let mut sizes_left = sizes;
    while !rest.is_empty() {
        let size = match sizes_left {
            [] => rest.len(),
            [last] => last.of(hosts.len()),
            [first, others @ ..] => {
                sizes_left = others;
                first.of(hosts.len())
            }
        };
        let (batch, after) = rest.split_at(size.clamp(1, rest.len()));
        batches.push(batch.to_vec());
        rest = after;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_select_as_ansible_does() {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (tags, skip, of_task, runs) in [
            (&[][..], &[][..], &[][..], true),
            (&[], &[], &["never"], false),
            (&["never"], &[], &["never"], true),
            (&["x"], &[], &["x", "never"], true),
            (&["x"], &[], &[], false),
            (&["x"], &[], &["always"], true),
            (&["x"], &["always"], &["always"], false),
            (&["tagged"], &[], &["y"], true),
            (&["untagged"], &[], &["y"], false),
            (&[], &["y"], &["y"], false),
            (&["y"], &["y"], &["y"], false),
        ] {
            let selection = Selection {
                tags: owned(tags),
                skip: owned(skip),
            };
            assert_eq!(
                selection.selects(&owned(of_task)),
                runs,
                "{tags:?} {skip:?} {of_task:?}"
            );
        }
    }

    #[test]
    fn batches_take_shares_of_all_hosts() {
        let hosts: Vec<usize> = (0..7).collect();
        let sizes = |texts: &[&str]| -> Vec<usize> {
            let parsed: Vec<BatchSize> = texts
                .iter()
                .filter_map(|text| BatchSize::parse(text))
                .collect();
            batches(&hosts, &parsed).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [7]);
        assert_eq!(sizes(&["0"]), [7]);
        assert_eq!(sizes(&["2"]), [2, 2, 2, 1]);
        assert_eq!(sizes(&["1", "3"]), [1, 3, 3]);
        assert_eq!(sizes(&["30%"]), [2, 2, 2, 1]);
        assert_eq!(sizes(&["1%"]), [1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(BatchSize::parse("many"), None);
    }
}
