//! In: `owner`, `group` and `mode` as a playbook writes them, and what a path has. Out: the steps that give it what is
//! wanted, none when it has it.

use serde_json::{Map, Value, json};

use super::look::{Kind, Look, Meta};
use super::steps::Step;
use crate::contract::FieldChange;
use crate::error::ModuleError;

/// `0644`, and `04755` with its leading zero, as results of modules that change files show modes.
pub(in crate::core) fn shown(mode: u32) -> String {
    format!("0{mode:03o}")
}

/// What a path should have; what is not said stays.
#[derive(Debug, Default, Clone, PartialEq)]
pub(in crate::core) struct Rights {
    pub(in crate::core) owner: Option<String>,
    pub(in crate::core) group: Option<String>,
    pub(in crate::core) mode: Option<Value>,
}

/// Arguments that Ansible has and that are not done here.
pub(in crate::core) struct UnsupportedRights<'a> {
    /// `seuser`, `serole`, `setype`, `selevel`: without meaning on a host that has no SELinux, as in Ansible.
    pub(in crate::core) selinux: [(&'static str, &'a Option<String>); 4],
    pub(in crate::core) attributes: &'a Option<String>,
}

/// The rights that the arguments of a module name. Every module that makes or changes files has the same, as fields of
/// its own: what is not known is refused by name, which a part that is flattened into others would not do.
macro_rules! rights_arguments {
    ($args:ty) => {
        impl $args {
            pub(super) fn rights(&self) -> $crate::core::host::Rights {
                $crate::core::host::Rights {
                    owner: self.owner.clone(),
                    group: self.group.clone(),
                    mode: self.mode.clone(),
                }
            }

            pub(super) fn unsupported(&self) -> $crate::core::host::UnsupportedRights<'_> {
                $crate::core::host::UnsupportedRights {
                    selinux: [
                        ("seuser", &self.seuser),
                        ("serole", &self.serole),
                        ("setype", &self.setype),
                        ("selevel", &self.selevel),
                    ],
                    attributes: &self.attributes,
                }
            }
        }
    };
}
pub(in crate::core) use rights_arguments;

impl UnsupportedRights<'_> {
    pub(in crate::core) fn check(&self, has_selinux: bool) -> Result<(), ModuleError> {
        if self
            .attributes
            .as_ref()
            .is_some_and(|text| !text.is_empty())
        {
            return Err(ModuleError::argument(
                "attributes",
                "`attributes` cannot be set: file system flags are not supported",
            )
            .hint("use `command: chattr ...`"));
        }
        match self.selinux.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) if has_selinux => Err(ModuleError::argument(
                *name,
                format!("`{name}` cannot be set: SELinux contexts are not supported"),
            )
            .hint("use `command: chcon ...`, or `command: restorecon ...` for the policy's own")),
            _ => Ok(()),
        }
    }
}

impl Rights {
    /// The mode that a path should have. `before` is what it has, or what it would be made with.
    pub(in crate::core) fn mode(
        &self,
        before: u32,
        is_folder: bool,
        umask: u32,
    ) -> Result<Option<u32>, ModuleError> {
        self.mode
            .as_ref()
            .filter(|value| !value.is_null())
            .map(|value| mode(value, before, is_folder, umask))
            .transpose()
    }

    /// The owner, when it is another than wanted; by name or by number.
    fn differs(wanted: Option<&String>, name: Option<&String>, id: u32) -> Option<String> {
        wanted
            .filter(|wanted| Some(*wanted) != name && **wanted != id.to_string())
            .cloned()
    }

    /// The steps that `path` lacks, and each as a difference. A link has no mode of its own.
    pub(in crate::core) fn missing(
        &self,
        path: &str,
        meta: &Meta,
        umask: u32,
    ) -> Result<(Vec<Step>, Vec<FieldChange>), ModuleError> {
        let mut steps = Vec::new();
        let mut fields = Vec::new();
        let mut note = |field: &str, before: Value, after: Value| {
            fields.push(FieldChange {
                field: field.to_owned(),
                before,
                after,
            });
        };
        let path = path.to_owned();
        if let Some(owner) = Self::differs(self.owner.as_ref(), meta.owner.as_ref(), meta.uid) {
            note("owner", json!(meta.owner_shown()), json!(owner));
            steps.push(Step::Owner {
                path: path.clone(),
                owner,
            });
        }
        if let Some(group) = Self::differs(self.group.as_ref(), meta.group.as_ref(), meta.gid) {
            note("group", json!(meta.group_shown()), json!(group));
            steps.push(Step::Group {
                path: path.clone(),
                group,
            });
        }
        let kind = meta.kind();
        let wanted = self.mode(meta.mode(), kind == Kind::Folder, umask)?;
        // Last: a change of the owner drops set-user-id bits, so these are set again.
        if let Some(mode) = wanted.filter(|mode| {
            kind != Kind::Link
                && (*mode != meta.mode() || (!steps.is_empty() && mode & 0o6000 != 0))
        }) {
            if mode != meta.mode() {
                note("mode", json!(shown(meta.mode())), json!(shown(mode)));
            }
            steps.push(Step::Mode { path, mode });
        }
        Ok((steps, fields))
    }
}

/// A mode argument: octal text, a number that YAML read (it has read `0644` as octal), or symbolic (`u+x,go-w`).
pub(super) fn mode(
    value: &Value,
    before: u32,
    is_folder: bool,
    umask: u32,
) -> Result<u32, ModuleError> {
    let wrong = |text: &str| {
        ModuleError::argument("mode", format!("`mode: {text}` is no mode"))
            .hint("write it quoted: `mode: \"0644\"`, or symbolic: `u=rw,go=r`")
    };
    match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|mode| u32::try_from(mode).ok())
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| wrong(&number.to_string())),
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            u32::from_str_radix(digits, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(|| wrong(text))
        }
        Value::String(text) => text
            .split(',')
            .try_fold(before, |mode, clause| {
                symbolic(clause, mode, is_folder, umask)
            })
            .ok_or_else(|| wrong(text)),
        other => Err(wrong(&other.to_string())),
    }
}

/// One clause: users, then an operator and permissions, these as often as wanted (`u=rw-x+X`).
fn symbolic(clause: &str, mut mode: u32, is_folder: bool, umask: u32) -> Option<u32> {
    let is_operator = |c: char| matches!(c, '+' | '-' | '=');
    let at = clause.find(is_operator)?;
    let (who, mut rest) = clause.split_at(at);
    if !who.chars().all(|c| matches!(c, 'u' | 'g' | 'o' | 'a')) {
        return None;
    }
    let users: Vec<char> = if who.is_empty() || who.contains('a') {
        vec!['u', 'g', 'o']
    } else {
        who.chars().collect()
    };
    let allowed = if who.is_empty() { !umask } else { !0 };
    while let Some(operator) = rest.chars().next() {
        let after = rest.get(1..)?;
        let end = after.find(is_operator).unwrap_or(after.len());
        let (what, next) = after.split_at(end);
        let before = mode;
        for user in &users {
            let (shift, special) = match user {
                'u' => (6, 0o4000),
                'g' => (3, 0o2000),
                _ => (0, 0o1000),
            };
            let mut bits = 0;
            for c in what.chars() {
                bits |= match c {
                    'r' => (4 << shift) & allowed,
                    'w' => (2 << shift) & allowed,
                    'x' => (1 << shift) & allowed,
                    'X' if is_folder || before & 0o111 != 0 => 1 << shift,
                    's' if shift > 0 => special,
                    't' if shift == 0 => special,
                    'X' | 's' | 't' => 0,
                    'u' => ((before >> 6) & 7) << shift,
                    'g' => ((before >> 3) & 7) << shift,
                    'o' => (before & 7) << shift,
                    _ => return None,
                };
            }
            mode = match operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !((7 << shift) | special)) | bits,
            };
        }
        rest = next;
    }
    Some(mode)
}

/// The keys that results of file modules share, of a path itself (a link is not followed).
pub(in crate::core) fn facts(look: &Look) -> Map<String, Value> {
    let Some(found) = &look.found else {
        return Map::from_iter([("state".to_owned(), json!("absent"))]);
    };
    let meta = &found.own;
    let facts = json!({
        "uid": meta.uid,
        "gid": meta.gid,
        "owner": meta.owner_shown(),
        "group": meta.group_shown(),
        "mode": shown(meta.mode()),
        "state": look.state(),
        "size": meta.size,
    });
    match facts {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_ansible_reads_them() {
        for (wanted, before, is_folder, result) in [
            (json!("0644"), 0, false, 0o644),
            (json!("644"), 0, false, 0o644),
            (json!("0o644"), 0, false, 0o644),
            (json!(420), 0, false, 0o644),
            (json!("u+x"), 0o644, false, 0o744),
            (json!("+x"), 0o644, false, 0o755),
            (json!("+w"), 0o444, false, 0o644),
            (json!("u=rw,go=r"), 0o777, false, 0o644),
            (json!("a+X"), 0o644, false, 0o644),
            (json!("a+X"), 0o644, true, 0o755),
            (json!("g-w,o="), 0o664, false, 0o640),
            (json!("u=rwx,g=u,o=g"), 0o640, false, 0o777),
            (json!("u=rw-x+X,g+s"), 0o755, false, 0o2755),
            (json!("u+s,o+t,g=rs"), 0o700, false, 0o7740),
        ] {
            assert_eq!(
                mode(&wanted, before, is_folder, 0o022).unwrap(),
                result,
                "{wanted}"
            );
        }
        for wrong in [
            json!("abc"),
            json!("99999"),
            json!("0888"),
            json!("u+q"),
            json!("x+r"),
            json!([]),
            json!(-1),
        ] {
            assert!(mode(&wrong, 0, false, 0o022).is_err(), "{wrong}");
        }
    }
}
