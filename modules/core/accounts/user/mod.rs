//! `user`. In: the user as it should be; out: what `useradd`, `usermod`, `userdel` and their like did.

mod key;
mod plan;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::host;
use super::commands::{self, LINE, Seen};
use super::database::{self, Account, Group, Shadow};
use super::{State, check_name, tell, word};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use plan::{Plan, World};

/// Users.
pub struct User;

/// When a password is set.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePassword {
    /// Whenever it is another one.
    #[default]
    Always,
    /// Only for a user that is made.
    OnCreate,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The user.
    #[schemars(extend("x-aliases" = ["user"]))]
    name: String,
    /// Whether it should be there.
    #[serde(default)]
    state: State,
    /// Its number.
    uid: Option<u32>,
    /// Let it have the number of another user.
    #[serde(default)]
    non_unique: bool,
    /// Its first group, by name or number.
    group: Option<String>,
    /// Its other groups. Without `append` it leaves all others; an empty list leaves all.
    groups: Option<Vec<String>>,
    /// Keep the groups that it is in besides.
    #[serde(default)]
    append: bool,
    /// Its name in full.
    comment: Option<String>,
    /// Its home folder.
    home: Option<String>,
    /// Make the home folder when it is not there.
    #[serde(default = "yes")]
    #[schemars(extend("x-aliases" = ["createhome"]))]
    create_home: bool,
    /// Move what is in the old home folder to the new one.
    #[serde(default)]
    move_home: bool,
    /// The folder that a new home is a copy of, in place of `/etc/skel`.
    skeleton: Option<String>,
    /// The mask for the mode of a new home.
    umask: Option<String>,
    /// Its shell.
    shell: Option<String>,
    /// The hash of its password, as `/etc/shadow` has it; `!` or `*` is none that can be used. Never shown.
    password: Option<String>,
    /// When the password is set.
    #[serde(default)]
    update_password: UpdatePassword,
    /// Lock the password, or unlock it; the user itself stays.
    password_lock: Option<bool>,
    /// Days until the password must be changed.
    password_expire_max: Option<i64>,
    /// Days until the password may be changed.
    password_expire_min: Option<i64>,
    /// Days of warning before it must be changed.
    password_expire_warn: Option<i64>,
    /// Days after it had to be changed until the user is shut out.
    password_expire_account_disable: Option<i64>,
    /// When the user ends, in seconds since 1970; a negative number is never.
    expires: Option<f64>,
    /// Make it one of the system: only the range of its number differs.
    #[serde(default)]
    system: bool,
    /// The least number that the host may choose.
    uid_min: Option<u32>,
    /// The greatest number that the host may choose.
    uid_max: Option<u32>,
    /// With `state: absent`, remove its home and mail, too.
    #[serde(default)]
    remove: bool,
    /// With `state: absent`, remove it although it is logged in. With `generate_ssh_key`, make a new key over the old.
    #[serde(default)]
    force: bool,
    /// Make an SSH key for it, unless it has one.
    #[serde(default)]
    generate_ssh_key: Option<bool>,
    /// Bits of the key; 0 is what `ssh-keygen` takes.
    #[serde(default)]
    ssh_key_bits: u32,
    /// Type of the key.
    #[serde(default = "rsa")]
    ssh_key_type: String,
    /// File of the key, in the home folder when it does not begin with `/`; `.ssh/id_TYPE`.
    ssh_key_file: Option<String>,
    /// Comment of the key; `ansible-generated on` and the host's name.
    ssh_key_comment: Option<String>,
    /// Passphrase of the key. Never shown.
    ssh_key_passphrase: Option<String>,
    /// Look at `/etc/passwd` alone and use `luseradd` and its like, of libuser, on a host that has its users elsewhere.
    local: Option<bool>,
    /// The user of SELinux that a new user is.
    seuser: Option<String>,
    /// Accepted and without effect: not of Linux.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    login_class: Option<String>,
    /// Accepted and without effect: not of Linux.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    hidden: Option<bool>,
    /// Accepted and without effect: not of Linux.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    profile: Option<String>,
    /// Accepted and without effect: not of Linux.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    authorization: Option<String>,
    /// Accepted and without effect: not of Linux.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    role: Option<String>,
}

fn yes() -> bool {
    true
}

fn rsa() -> String {
    "rsa".to_owned()
}

impl Args {
    fn local(&self) -> bool {
        self.local == Some(true)
    }

    fn wants_key(&self) -> bool {
        self.generate_ssh_key == Some(true) && self.state == State::Present
    }

    fn check(&self) -> Result<(), ModuleError> {
        check_name("name", &self.name)?;
        if let Some(group) = &self.group {
            check_name("group", group)?;
        }
        for group in self.groups.iter().flatten() {
            check_name("groups", group)?;
        }
        let with_local = [
            ("umask", self.umask.is_some()),
            ("uid_min", self.uid_min.is_some()),
            ("uid_max", self.uid_max.is_some()),
        ];
        if let Some((name, _)) = with_local
            .iter()
            .find(|(_, is_set)| *is_set && self.local())
        {
            let message = format!("'{name}' can not be used with 'local'");
            return Err(ModuleError::argument(*name, message));
        }
        // What would end a field of the databases, or a line: another user would begin there.
        for (name, value) in [
            ("password", &self.password),
            ("comment", &self.comment),
            ("home", &self.home),
            ("shell", &self.shell),
            ("ssh_key_passphrase", &self.ssh_key_passphrase),
        ] {
            let is_bad =
                |c: char| c == '\n' || c == '\0' || (c == ':' && name != "ssh_key_passphrase");
            if value.as_deref().is_some_and(|text| text.contains(is_bad)) {
                let message = format!("`{name}` has a `:` or a line's end in it");
                return Err(ModuleError::argument(name, message));
            }
        }
        Ok(())
    }

    /// Whether the password looks like what `crypt` makes.
    fn is_hash(&self) -> bool {
        let Some(text) = self.password.as_deref().filter(|text| !text.is_empty()) else {
            return true;
        };
        if matches!(text, "*" | "!" | "*************") {
            return true;
        }
        let fields: Vec<&str> = text.split('$').collect();
        let Some(sum) = fields.last().filter(|_| fields.len() >= 3) else {
            return false;
        };
        let is_of_hash = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '=');
        let length = match fields.get(1).copied() {
            Some("1") => 22,
            Some("5" | "y") => 43,
            Some("6") => 86,
            _ => sum.len(),
        };
        sum.len() == length && sum.chars().all(is_of_hash) && !text.contains(['*', '!'])
    }
}

/// Makes a home that is not there, as `useradd` does. Words: `local` or nothing, user, home or nothing, skeleton, mask.
const HOME: &str = r#"local=$1 want=$3 skel=$4 mask=$5
IFS=: read -r n x uid gid gecos home shell <<EOF
$(line passwd "$2")
EOF
home=${want:-$home}
if [ -z "$home" ] || [ -e "$home" ]; then exit 0; fi
mkdir -p -- "${home%/*}/" || exit
if [ -d "$skel" ]; then cp -RP -- "$skel" "$home"; else mkdir -- "$home"; fi || exit
mode=$([ -r /etc/login.defs ] && while read -r k v r; do case $k in HOME_MODE) echo "=$v"; break ;; UMASK) echo "$v" ;; esac; done < /etc/login.defs)
case $mode in *=*) mode=${mode##*=} ;; *) mode=$(printf '%04o' $((0777 & ~${mask:-${mode:-022}}))) ;; esac
chmod -- "$mode" "$home" && chown -Rh -- "$uid:$gid" "$home""#;

/// Looks at all that the plan depends on.
async fn look(args: &Args, platform: &Platform) -> Result<World, ModuleError> {
    let name = args.name.as_str();
    let mut questions = vec![
        ("passwd", name),
        ("shadow", name),
        ("group", ""),
        ("group", name),
    ];
    let named = args.group.iter().chain(args.groups.iter().flatten());
    questions.extend(named.map(|group| ("group", group.as_str())));
    let answers = database::ask(platform, args.local(), &questions).await?;
    let [passwd, shadow, groups @ ..] = answers.as_slice() else {
        return Err(ModuleError::failed("the host's answer is cut off"));
    };
    let account = Account::find(passwd, name);
    let mut all: Vec<Group> = Vec::new();
    for group in Group::all(&groups.concat()) {
        if !all.iter().any(|known| known.name == group.name) {
            all.push(group);
        }
    }
    let home = match (&args.home, &account) {
        (Some(home), _) => Some(home.clone()),
        (None, account) => account.as_ref().map(|account| account.home.clone()),
    };
    let mut world = World {
        shadow: Shadow::find(shadow, name),
        account,
        groups: all,
        is_check: platform.check,
        has_home: true,
        key: None,
        has_key: false,
    };
    let Some(home) = home.filter(|home| !home.is_empty()) else {
        return Ok(world);
    };
    let mut paths = vec![home.clone()];
    if args.wants_key() {
        let file = key::file(args, &home);
        paths.extend([file.clone(), format!("{file}.pub")]);
        world.key = Some(file);
    }
    let looks = host::look(platform, &paths, None).await?;
    let mut there = looks.all.iter().map(|look| look.found.is_some());
    world.has_home = there.next().unwrap_or(true);
    world.has_key = there.any(|is_there| is_there);
    Ok(world)
}

/// What `inspect` saw and chose.
pub struct Work {
    seen: String,
    plan: Plan,
}

/// The keys of the result that the account gives.
fn result(args: &Args, account: Option<&Account>, is_new: bool) -> Map<String, Value> {
    let mut result = Map::from_iter([
        ("name".to_owned(), json!(args.name)),
        ("state".to_owned(), json!(args.state)),
    ]);
    let mut put = |name: &str, value: Value| {
        result.insert(name.to_owned(), value);
    };
    if args.state == State::Absent {
        return result;
    }
    if is_new {
        put("system", json!(args.system));
        put("create_home", json!(args.create_home));
    } else {
        put("append", json!(args.append));
        put("move_home", json!(args.move_home));
    }
    if args.password.is_some() {
        put("password", json!("NOT_LOGGING_PASSWORD"));
    }
    if let Some(account) = account {
        put("uid", json!(account.uid));
        put("group", json!(account.gid));
        put("comment", json!(account.comment));
        put("home", json!(account.home));
        put("shell", json!(account.shell));
        if let Some(groups) = &args.groups {
            put("groups", json!(groups.join(",")));
        }
    }
    result
}

#[async_trait]
impl Module for User {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "user";
    const SUMMARY: &'static str = "Makes, changes and removes users of the host";
    const EXAMPLES: &'static str = "- user: {name: deploy, groups: [wheel], append: true, shell: /bin/bash}\n- user:\n    name: metrics\n    system: true\n    home: /var/lib/metrics\n    shell: /sbin/nologin\n- user: {name: core, password: \"{{ core_password_hash }}\", update_password: on_create}\n- user: {name: build, generate_ssh_key: true, ssh_key_type: ed25519}\n  register: build\n- user: {name: old, state: absent, remove: true}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        for secret in [&args.password, &args.ssh_key_passphrase]
            .into_iter()
            .flatten()
        {
            platform.secrets.add(secret);
        }
        args.check()?;
        if !args.is_hash() {
            platform.warn("The input password appears not to have been hashed. The 'password' argument must be encrypted for this module to work properly.");
        }
        if args.append && args.groups.is_none() {
            platform.warn("'append' is set, but no 'groups' are specified. Use 'groups' for appending new groups.");
        }
        let world = look(args, platform).await?;
        let plan = plan::plan(args, &world)?;
        let account = world.account.as_ref();
        let mut found = result(args, account, account.is_none());
        if plan.is_empty() {
            if let (Some(file), Some(_)) = (&world.key, account) {
                found.extend(key::facts(file, platform).await?);
            }
            return Ok(Change::None(Outcome::unchanged(Value::Object(found))));
        }
        Ok(Change::Some {
            fields: plan.fields.clone(),
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(found)),
            work: Work {
                seen: account.map(Account::line).unwrap_or_default(),
                plan,
            },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let Work { seen, plan } = work;
        let is_new = seen.is_empty();
        let seen = Seen {
            database: "passwd",
            name: &args.name,
            line: seen,
            local: args.local(),
        };
        let mut said = commands::Said::default();
        if !plan.commands.is_empty() {
            said = commands::run(platform, &seen, &plan.commands, plan.input).await?;
        }
        let mut done = if args.state == State::Absent {
            let mut done = result(args, None, false);
            done.insert("force".to_owned(), json!(args.force));
            done.insert("remove".to_owned(), json!(args.remove));
            done
        } else {
            let answers = database::ask(platform, args.local(), &[("passwd", &args.name)]).await?;
            let account = answers
                .first()
                .and_then(|text| Account::find(text, &args.name))
                .ok_or_else(|| {
                    let name = &args.name;
                    ModuleError::failed(format!("failed to look up user name: {name}"))
                        .hint("it was made, and the host's databases do not show it: `local: true` looks at `/etc/passwd` alone")
                })?;
            let mut done = result(args, Some(&account), is_new);
            if args.wants_key() {
                if plan.makes_key {
                    key::make(args, &account, platform).await?;
                }
                let file = key::file(args, &account.home);
                done.extend(key::facts(&file, platform).await?);
            }
            done
        };
        tell(&mut done, &said);
        Ok(Outcome::changed(Value::Object(done)))
    }
}

/// The command that makes a home.
fn home_command(args: &Args) -> Vec<String> {
    let mut command = vec![
        word("/bin/sh"),
        word("-c"),
        format!("{LINE}{HOME}"),
        word("sh"),
    ];
    command.extend([
        word(if args.local() { "local" } else { "" }),
        args.name.clone(),
        args.home.clone().unwrap_or_default(),
        args.skeleton.clone().unwrap_or_else(|| word("/etc/skel")),
        args.umask.clone().unwrap_or_default(),
    ]);
    command
}

#[cfg(test)]
mod tests;
