//! In: arguments and what a host has. Out: the commands that are chosen, each compared.

use super::*;

fn world() -> World {
    World {
        account: Account::find("bob:x:1000:100:Bob:/home/bob:/bin/sh\n", "bob"),
        shadow: Shadow::find("bob:$6$old:19000:0:99999:7:::\n", "bob"),
        groups: Group::all("users:x:100:\nweb:x:5:bob,eve\ndb:x:6:\nnew:x:7:\n"),
        is_check: false,
        has_home: true,
        key: None,
        has_key: false,
    }
}

fn parse(args: &Value) -> Args {
    let schema = schemars::schema_for!(Args).to_value();
    crate::core::arguments::parse("user", &schema, args.as_object().unwrap()).unwrap()
}

/// The commands, without those that make homes, and what `chpasswd` is given.
#[allow(clippy::needless_pass_by_value, reason = "called with `json!`")]
fn plan(args: Value, world: &World) -> Result<(Vec<String>, String), ModuleError> {
    let args = parse(&args);
    args.check()?;
    let plan = plan::plan(&args, world)?;
    let commands = plan
        .commands
        .iter()
        .filter(|command| command[0] != "/bin/sh");
    let commands = commands.map(|command| command.join(" ")).collect();
    Ok((commands, plan.input.unwrap_or_default()))
}

#[test]
fn only_what_differs_is_changed() {
    for (args, commands) in [
        (json!({}), vec![]),
        (
            json!({"uid": 1000, "group": "users", "shell": "/bin/sh", "comment": "Bob"}),
            vec![],
        ),
        (
            json!({"uid": 1001, "non_unique": true}),
            vec!["usermod -u 1001 -o bob"],
        ),
        (json!({"group": 5}), vec!["usermod -g 5 bob"]),
        (json!({"groups": "web"}), vec![]),
        (
            json!({"groups": "db", "append": true}),
            vec!["usermod -a -G db bob"],
        ),
        (json!({"groups": "web", "append": true}), vec![]),
        (json!({"groups": ["db", "6"]}), vec!["usermod -G db bob"]),
        (json!({"groups": []}), vec!["usermod -G  bob"]),
        (json!({"groups": [], "append": true}), vec![]),
        (
            json!({"home": "/srv/bob", "move_home": true}),
            vec!["usermod -d /srv/bob -m bob"],
        ),
        (json!({"expires": 86400}), vec!["usermod -e 1970-01-02 bob"]),
        (json!({"expires": -1}), vec![]),
        (json!({"password_lock": true}), vec!["usermod -L bob"]),
        (json!({"password_lock": false}), vec![]),
        (
            json!({"password_expire_max": 90, "password_expire_warn": 7}),
            vec!["chage -M 90 bob"],
        ),
        (
            json!({"state": "absent", "remove": true, "force": true}),
            vec!["userdel -f -r bob"],
        ),
        (
            json!({"local": true, "groups": "db", "expires": -5, "shell": "/bin/zsh"}),
            vec![
                "lusermod -s /bin/zsh bob",
                "lgroupmod -M bob db",
                "lgroupmod -m bob web",
            ],
        ),
    ] {
        let mut asked = args.clone();
        asked["name"] = json!("bob");
        assert_eq!(plan(asked, &world()).unwrap().0, commands, "{args}");
    }
}

#[test]
fn a_password_goes_through_standard_input() {
    let hash = "$6$new$x";
    for (args, commands, input) in [
        (
            json!({"password": hash}),
            vec!["< chpasswd -e"],
            "bob:$6$new$x\n",
        ),
        (
            json!({"password": hash, "password_lock": true, "shell": "/bin/zsh"}),
            vec!["usermod -s /bin/zsh bob", "< chpasswd -e"],
            "bob:!$6$new$x\n",
        ),
        (
            json!({"password": hash, "update_password": "on_create"}),
            vec![],
            "",
        ),
        (json!({"password": "$6$old"}), vec![], ""),
        (json!({"password": "!"}), vec!["< chpasswd -e"], "bob:!\n"),
    ] {
        let mut asked = args.clone();
        asked["name"] = json!("bob");
        let (did, said) = plan(asked, &world()).unwrap();
        assert_eq!(
            (did, said.as_str()),
            (commands.into_iter().map(str::to_owned).collect(), input),
            "{args}"
        );
    }
    let change = plan::plan(&parse(&json!({"name": "bob", "password": hash})), &world()).unwrap();
    let shown = format!("{:?}", change.fields);
    assert!(!shown.contains("$6$"), "{shown}");
}

#[test]
fn a_new_user_is_made_with_all_of_it() {
    let none = World {
        account: None,
        shadow: None,
        ..world()
    };
    let args = json!({
        "name": "eve", "uid": 7, "group": "users", "groups": "web,db", "comment": "Eve E", "home": "/srv/a/eve",
        "shell": "/bin/sh", "expires": 0, "system": true, "password": "$6$x", "uid_min": 5, "skeleton": "/s", "umask": "077",
    });
    let (commands, input) = plan(args, &none).unwrap();
    assert_eq!(
        commands,
        [
            "mkdir -p -- /srv/a",
            "useradd -u 7 -g users -G web,db -c Eve E -d /srv/a/eve -s /bin/sh -e 1970-01-01 -m -k /s -K UMASK=077 -r -K UID_MIN=5 eve",
            "< chpasswd -e"
        ]
    );
    assert_eq!(input, "eve:$6$x\n");
    let early = json!({"name": "eve", "groups": "later"});
    assert!(plan(early.clone(), &none).is_err());
    let check = World {
        is_check: true,
        ..world()
    };
    let check = World {
        account: None,
        ..check
    };
    assert!(plan(early, &check).is_ok());
    // A group of the same name is there already.
    let (commands, _) = plan(json!({"name": "new", "create_home": false}), &none).unwrap();
    assert_eq!(commands, ["useradd -N -M new"]);
    assert_eq!(
        plan(json!({"name": "no", "state": "absent"}), &none)
            .unwrap()
            .0,
        [""; 0]
    );
}

#[test]
fn what_cannot_be_is_told_before() {
    let missing = plan(json!({"name": "bob", "groups": "nope"}), &world()).unwrap_err();
    assert_eq!(missing.message, "Group nope does not exist");
    for (args, argument) in [
        (json!({"name": "-r"}), "name"),
        (json!({"name": "bob", "password": "a\nroot:x"}), "password"),
        (json!({"name": "bob", "comment": "a:0:0"}), "comment"),
        (json!({"name": "bob", "groups": ["a b"]}), "groups"),
        (
            json!({"name": "bob", "local": true, "umask": "077"}),
            "umask",
        ),
        (json!({"name": "bob", "expires": 1e30}), "expires"),
    ] {
        let problem = plan(args.clone(), &world()).unwrap_err();
        assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        assert!(!problem.message.contains("root:x"));
    }
}

#[test]
fn hashes_are_told_from_passwords() {
    let sum = "x".repeat(86);
    for (password, is_hash) in [
        (format!("$6$salt${sum}"), true),
        ("*".to_owned(), true),
        ("secret".to_owned(), false),
        ("$6$salt$short".to_owned(), false),
        ("a$b$c d".to_owned(), false),
    ] {
        let args = parse(&json!({"name": "bob", "password": password}));
        assert_eq!(args.is_hash(), is_hash, "{password}");
    }
}
