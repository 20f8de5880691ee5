//! The programs that make requests, each with a real server.

use super::config::{curl, plain, wget};
use super::*;

fn request(url: &str) -> Request {
    Request {
        url: Url::parse(url).unwrap(),
        written: url.to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: None,
        options: Options {
            timeout: 10,
            user: None,
            password: None,
            force_basic: false,
            validate: true,
            ca_path: None,
            client_cert: None,
            client_key: None,
            ciphers: Vec::new(),
            use_proxy: true,
            use_netrc: true,
            decompress: true,
            agent: "test".to_owned(),
            unix_socket: None,
            unredirected: vec!["x-once".to_owned()],
            redirects: Redirects::Urllib,
        },
        may_use_wget: true,
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn nothing_of_a_request_can_leave_its_line() {
    let mut asked = request("http://host/%22%0Aurl=x");
    asked.headers.push(pair("X", "a\"b\\c\td"));
    asked.options.user = Some("u".to_owned());
    asked.options.password = Some("p\"\ninsecure".to_owned());
    let text = curl(&asked);
    assert!(text.contains(r#"header = "X: a\"b\\c\td""#), "{text}");
    assert!(text.contains(r#"user = "u:p\"\ninsecure""#), "{text}");
    assert!(
        !text
            .lines()
            .any(|line| line.is_empty() || line == "insecure")
    );
    assert!(wget(&asked).starts_with('!'), "a password of two lines");
    asked.options.password = Some("p q".to_owned());
    assert!(wget(&asked).contains("\npassword = p q"));
    assert!(
        plain(&asked).starts_with('!'),
        "a password on a command line"
    );
    assert_eq!(plain(&request("http://host")).trim(), "-T 10");
    for wrong in ["a b", "", "x\n"] {
        let given = Map::from_iter([(wrong.to_owned(), "1".into())]);
        assert!(headers(&given).is_err());
    }
    let given = Map::from_iter([("x".to_owned(), "1\r\ny: 2".into())]);
    assert!(headers(&given).is_err());
}

#[test]
fn redirects_keep_what_they_may_and_no_more() {
    let mut asked = request("https://one/a");
    "POST".clone_into(&mut asked.method);
    asked.body = Some(Body::Bytes(b"x".to_vec()));
    asked.options.user = Some("u".to_owned());
    asked.headers = vec![
        pair("Content-Type", "t"),
        pair("Authorization", "secret"),
        pair("X-Once", "1"),
        pair("X-Always", "1"),
    ];
    let to = |text: &str| Url::parse(text).unwrap();
    let cookies = [pair("c", "1")];
    let next = asked
        .redirected(302, to("https://one/b"), &cookies)
        .unwrap();
    assert_eq!((next.method.as_str(), next.body.as_ref()), ("GET", None));
    let names = |request: &Request| {
        let names: Vec<String> = request
            .headers
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        names.join(" ")
    };
    assert_eq!(names(&next), "Authorization X-Always Cookie");
    assert!(next.options.user.is_some());
    assert!(
        asked
            .redirected(307, to("https://one/b"), &cookies)
            .is_none()
    );
    asked.options.redirects = Redirects::All;
    let other = asked
        .redirected(307, to("https://two/b"), &cookies)
        .unwrap();
    assert_eq!(
        (other.method.as_str(), other.body.is_some()),
        ("POST", true)
    );
    assert_eq!(names(&other), "Content-Type X-Always");
    assert!(other.options.user.is_none());
    let port = asked.redirected(307, to("http://one/b"), &cookies).unwrap();
    assert!(
        port.options.user.is_none(),
        "another port is another server"
    );
    asked.options.redirects = Redirects::Safe;
    assert!(
        asked
            .redirected(302, to("https://one/b"), &cookies)
            .is_none()
    );
    asked.options.redirects = Redirects::None;
    "GET".clone_into(&mut asked.method);
    assert!(
        asked
            .redirected(302, to("https://one/b"), &cookies)
            .is_none()
    );
}

#[test]
fn dates_are_those_of_headers() {
    assert_eq!(date(0.9), "Thu, 01 Jan 1970 00:00:00 GMT");
}
