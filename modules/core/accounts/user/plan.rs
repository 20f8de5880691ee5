//! In: what a user should be, and what the host has. Out: the commands that make it so, and each difference. Pure.

use super::super::database::{Account, Group, Shadow};
use super::{Args, ErrorKind, FieldChange, ModuleError, State, UpdatePassword};
use super::{commands, home_command, word};
use crate::secret::MASK;

const DAY: f64 = 86_400.0;

/// What the host has.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) account: Option<Account>,
    pub(super) shadow: Option<Shadow>,
    pub(super) groups: Vec<Group>,
    /// In check mode: a task before this one may make groups, and has not.
    pub(super) is_check: bool,
    /// Whether the home, as it should be, is there.
    pub(super) has_home: bool,
    /// The file of the SSH key, when one is wanted and the home is known.
    pub(super) key: Option<String>,
    pub(super) has_key: bool,
}

impl World {
    /// A group by number or name, a number first.
    fn group(&self, text: &str) -> Option<&Group> {
        let number: Option<u32> = text.parse().ok();
        let by_number = self.groups.iter().find(|group| Some(group.gid) == number);
        by_number.or_else(|| self.groups.iter().find(|group| group.name == text))
    }

    /// That a new user's group is there.
    fn must_have(&self, argument: &str, text: &str) -> Result<(), ModuleError> {
        if self.is_check {
            return Ok(());
        }
        self.wanted(argument, text).map(|_| ())
    }

    fn wanted(&self, argument: &str, text: &str) -> Result<&Group, ModuleError> {
        self.group(text).ok_or_else(|| {
            ModuleError::new(ErrorKind::NotFound, format!("Group {text} does not exist")).hint(
                format!("`{argument}` names it; make it first: `group: {{name: {text}}}`"),
            )
        })
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) commands: Vec<Vec<String>>,
    /// What `chpasswd` reads.
    pub(super) input: Option<String>,
    pub(super) makes_key: bool,
    pub(super) fields: Vec<FieldChange>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty() && !self.makes_key
    }

    fn password(&mut self, args: &Args, hash: &str) {
        let lock = if args.password_lock == Some(true) {
            "!"
        } else {
            ""
        };
        let hash = hash.trim_start_matches('!');
        // `!` alone, which no password is, stays what it is.
        let hash = if hash.is_empty() && args.password.as_deref() == Some("!") {
            "!".to_owned()
        } else {
            format!("{lock}{hash}")
        };
        self.commands.push(
            [commands::INPUT, "chpasswd", "-e"]
                .map(str::to_owned)
                .to_vec(),
        );
        self.input = Some(format!("{}:{hash}\n", args.name));
    }
}

/// A day as `useradd -e` reads it; nothing is never.
fn date(seconds: f64) -> Result<String, ModuleError> {
    if seconds < 0.0 {
        return Ok(String::new());
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "saturates, and is refused then"
    )]
    let whole = seconds as i64;
    let moment = jiff::Timestamp::from_second(whole).map_err(|_| {
        ModuleError::argument("expires", format!("Invalid value for 'expires' {seconds}"))
            .hint("it is a number of seconds since 1970")
    })?;
    let day = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
    Ok(day.to_string())
}

/// Days since 1970; -1 is never.
#[allow(
    clippy::cast_possible_truncation,
    reason = "days of any date are small"
)]
fn days(seconds: f64) -> i64 {
    if seconds < 0.0 {
        -1
    } else {
        (seconds / DAY).floor() as i64
    }
}

/// Everything that is to be done.
pub(super) fn plan(args: &Args, world: &World) -> Result<Plan, ModuleError> {
    let mut plan = Plan::default();
    match (args.state, &world.account) {
        (State::Absent, None) => return Ok(plan),
        (State::Absent, Some(_)) => {
            let mut command = vec![word(if args.local() { "luserdel" } else { "userdel" })];
            if args.force && !args.local() {
                command.push(word("-f"));
            }
            if args.remove {
                command.push(word("-r"));
            }
            command.push(args.name.clone());
            plan.commands.push(command);
            plan.fields
                .push(FieldChange::new("state", "present", "absent"));
            return Ok(plan);
        }
        (State::Present, None) => create(args, world, &mut plan)?,
        (State::Present, Some(account)) => modify(args, world, account, &mut plan)?,
    }
    let is_new = world.account.is_none();
    if args.create_home && (is_new || !world.has_home) {
        plan.commands.push(home_command(args));
        if !is_new {
            plan.fields
                .push(FieldChange::new("home", "absent", "present"));
        }
    }
    age(args, world, &mut plan);
    if args.wants_key() && (is_new || args.force || !world.has_key) {
        plan.makes_key = true;
        plan.fields.push(FieldChange::new(
            "ssh_key",
            if world.has_key { "old" } else { "absent" },
            "new",
        ));
    }
    Ok(plan)
}

fn create(args: &Args, world: &World, plan: &mut Plan) -> Result<(), ModuleError> {
    let local = args.local();
    let mut command = vec![word(if local { "luseradd" } else { "useradd" })];
    let mut add = |words: &[&str]| command.extend(words.iter().map(|text| word(text)));
    if let Some(uid) = args.uid {
        add(&["-u", &uid.to_string()]);
        if args.non_unique {
            add(&["-o"]);
        }
    }
    if let Some(seuser) = &args.seuser {
        add(&["-Z", seuser]);
    }
    if let Some(group) = &args.group {
        world.must_have("group", group)?;
        add(&["-g", group]);
    } else if world.group(&args.name).is_some() {
        // Else the tool would fail to make a group of this name.
        add(&[if local { "-n" } else { "-N" }]);
    }
    let groups = args.groups.as_deref().unwrap_or_default();
    for group in groups {
        world.must_have("groups", group)?;
    }
    if !groups.is_empty() && !local {
        add(&["-G", &groups.join(",")]);
    }
    for (flag, value) in [
        ("-c", &args.comment),
        ("-d", &args.home),
        ("-s", &args.shell),
    ] {
        if let Some(value) = value {
            add(&[flag, value]);
        }
    }
    if let (Some(seconds), false) = (args.expires, local) {
        add(&["-e", &date(seconds)?]);
    }
    if let Some(days) = args.password_expire_account_disable {
        add(&["-f", &days.to_string()]);
    }
    if args.create_home {
        if !local {
            add(&["-m"]);
        }
        if let Some(skeleton) = &args.skeleton {
            add(&["-k", skeleton]);
        }
        if let Some(umask) = &args.umask {
            add(&["-K", &format!("UMASK={umask}")]);
        }
    } else {
        add(&["-M"]);
    }
    if args.system {
        add(&["-r"]);
    }
    for (name, value) in [("UID_MIN", args.uid_min), ("UID_MAX", args.uid_max)] {
        if let Some(value) = value {
            add(&["-K", &format!("{name}={value}")]);
        }
    }
    add(&[&args.name]);
    if let Some(home) = args.home.as_ref().filter(|_| args.create_home) {
        // Older tools make the last folder alone.
        let parent = super::host::parent(home);
        plan.commands
            .push(["mkdir", "-p", "--", &parent].map(str::to_owned).to_vec());
    }
    plan.commands.push(command);
    if local {
        if let Some(seconds) = args.expires {
            let days = days(seconds).to_string();
            plan.commands.push(
                ["lchage", "-E", &days, &args.name]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        for group in groups {
            plan.commands.push(
                ["lgroupmod", "-M", &args.name, group]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
    }
    plan.fields
        .push(FieldChange::new("state", "absent", "present"));
    if let Some(hash) = &args.password {
        plan.password(args, hash);
        plan.fields
            .push(FieldChange::new("password", serde_json::Value::Null, MASK));
    }
    Ok(())
}

fn modify(
    args: &Args,
    world: &World,
    account: &Account,
    plan: &mut Plan,
) -> Result<(), ModuleError> {
    let local = args.local();
    let mut command: Vec<String> = Vec::new();
    let mut after: Vec<Vec<String>> = Vec::new();
    if let Some(uid) = args.uid.filter(|uid| *uid != account.uid) {
        command.extend([word("-u"), uid.to_string()]);
        if args.non_unique {
            command.push(word("-o"));
        }
        plan.fields.push(FieldChange::new("uid", account.uid, uid));
    }
    if let Some(group) = &args.group {
        let gid = world.wanted("group", group)?.gid;
        if gid != account.gid {
            command.extend([word("-g"), gid.to_string()]);
            plan.fields
                .push(FieldChange::new("group", account.gid, gid));
        }
    }
    if let Some(groups) = &args.groups {
        memberships(args, world, groups, &mut command, &mut after, plan)?;
    }
    for (flag, name, value, own) in [
        ("-c", "comment", &args.comment, &account.comment),
        ("-d", "home", &args.home, &account.home),
        ("-s", "shell", &args.shell, &account.shell),
    ] {
        if let Some(value) = value.as_ref().filter(|value| *value != own) {
            command.extend([word(flag), value.clone()]);
            if name == "home" && args.move_home {
                command.push(word("-m"));
            }
            plan.fields
                .push(FieldChange::new(name, own.as_str(), value.as_str()));
        }
    }
    let shadow = world.shadow.clone().unwrap_or_default();
    if let Some(seconds) = args.expires {
        let (own, wanted) = (shadow.expires.unwrap_or(-1), days(seconds));
        if own != wanted && (own >= 0 || wanted >= 0) {
            if local {
                after.push(
                    ["lchage", "-E", &wanted.to_string(), &args.name]
                        .map(str::to_owned)
                        .to_vec(),
                );
            } else {
                command.extend([word("-e"), date(seconds)?]);
            }
            plan.fields
                .push(FieldChange::new("expires", shadow.expires, wanted));
        }
    }
    let inactive = args.password_expire_account_disable;
    if let Some(days) = inactive.filter(|days| shadow.inactive.unwrap_or(-1) != *days) {
        command.extend([word("-f"), days.to_string()]);
        plan.fields.push(FieldChange::new(
            "password_expire_account_disable",
            shadow.inactive,
            days,
        ));
    }
    let hash = if account.password.len() > 1 {
        &account.password
    } else {
        &shadow.password
    };
    let is_locked = hash.starts_with('!');
    let bare = |text: &str| text.trim_start_matches('!').to_owned();
    let new = args
        .password
        .as_deref()
        .filter(|new| args.update_password == UpdatePassword::Always && bare(new) != bare(hash));
    match (args.password_lock, new) {
        (_, Some(new)) => {
            plan.password(args, new);
            // Behind `usermod`, whose own command comes first.
            after.extend(plan.commands.pop());
            plan.fields.push(FieldChange::new("password", MASK, MASK));
        }
        (Some(lock), None) if lock != is_locked => {
            command.push(word(if lock { "-L" } else { "-U" }));
            plan.fields
                .push(FieldChange::new("password_lock", is_locked, lock));
        }
        _ => {}
    }
    if !command.is_empty() {
        command.insert(0, word(if local { "lusermod" } else { "usermod" }));
        command.push(args.name.clone());
        plan.commands.push(command);
    }
    plan.commands.extend(after);
    Ok(())
}

/// The groups besides the first.
fn memberships(
    args: &Args,
    world: &World,
    wanted: &[String],
    command: &mut Vec<String>,
    after: &mut Vec<Vec<String>>,
    plan: &mut Plan,
) -> Result<(), ModuleError> {
    let mut own: Vec<&str> = world
        .groups
        .iter()
        .filter(|group| group.members.contains(&args.name))
        .map(|group| group.name.as_str())
        .collect();
    own.sort_unstable();
    let mut names = Vec::new();
    for group in wanted {
        names.push(world.wanted("groups", group)?.name.as_str());
    }
    names.sort_unstable();
    names.dedup();
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !own.contains(name))
        .copied()
        .collect();
    let surplus: Vec<&str> = own
        .iter()
        .filter(|name| !names.contains(name))
        .copied()
        .collect();
    let leaves = !args.append && !surplus.is_empty();
    if missing.is_empty() && !leaves {
        return Ok(());
    }
    if args.local() {
        for (flag, groups) in [("-M", &missing), ("-m", &surplus)] {
            if flag == "-m" && !leaves {
                continue;
            }
            for group in groups {
                after.push(
                    ["lgroupmod", flag, &args.name, group]
                        .map(str::to_owned)
                        .to_vec(),
                );
            }
        }
    } else {
        if args.append {
            command.push(word("-a"));
        }
        command.extend([word("-G"), names.join(",")]);
    }
    let mut then = names;
    if args.append {
        then.extend(surplus);
        then.sort_unstable();
    }
    plan.fields
        .push(FieldChange::new("groups", own.join(","), then.join(",")));
    Ok(())
}

/// The days of the password.
fn age(args: &Args, world: &World, plan: &mut Plan) {
    let shadow = world.shadow.clone().unwrap_or_default();
    let mut command = Vec::new();
    for (flag, name, wanted, own) in [
        (
            "-m",
            "password_expire_min",
            args.password_expire_min,
            shadow.min,
        ),
        (
            "-M",
            "password_expire_max",
            args.password_expire_max,
            shadow.max,
        ),
        (
            "-W",
            "password_expire_warn",
            args.password_expire_warn,
            shadow.warn,
        ),
    ] {
        if let Some(days) = wanted.filter(|days| own.unwrap_or(-1) != *days) {
            command.extend([word(flag), days.to_string()]);
            plan.fields.push(FieldChange::new(name, own, days));
        }
    }
    if !command.is_empty() {
        command.insert(0, word("chage"));
        command.push(args.name.clone());
        plan.commands.push(command);
    }
}
