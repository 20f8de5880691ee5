//! Tables of what Python says, and what of it is refused.

use super::*;

#[test]
fn expressions_and_replacements_are_read_as_python_reads_them() {
    // What Python's `re.subn` says.
    #[rustfmt::skip]
    let table = [
        (r"a$", r"X", "a\n", false, "X\n", 1),
        (r"a$", r"X", "a\na\n", false, "a\nX\n", 1),
        (r"a$", r"X", "a\na\n", true, "X\nX\n", 2),
        (r"^", r"#", "a\nb\n", true, "#a\n#b\n#", 3),
        (r"$", r"!", "a\nb\n", true, "a!\nb!\n!", 3),
        (r"x*", r"-", "abxd", false, "-a-b--d-", 5),
        (r"x*?", r"-", "xxa", false, "-----a-", 6),
        (r"[[]", r"(", "a[b]", false, "a(b]", 1),
        (r"[]x]", r".", "a]x", false, "a..", 2),
        (r"[^]]", r".", "a]x", false, ".].", 2),
        (r"[a&&b]", r".", "a&b", false, "...", 3),
        (r"[+--]", r".", "+,-.", false, "....", 3),
        (r"[\w-]", r".", "a-b c", false, "... .", 4),
        (r"a{,2}", r"-", "aaab", false, "---b-", 4),
        (r"a{b}", r"-", "a{b}a", false, "-a", 1),
        (r"{}", r"-", "{}x", false, "-x", 1),
        (r"a{2}", r"-", "aaa", false, "-a", 1),
        (r"\{\{ x \}\}", r"-", "{{ x }}", false, "-", 1),
        (r"\Aa\Z", r"-", "a", false, "-", 1),
        (r"\Aa\Z", r"-", "a\n", false, "a\n", 0),
        (r"(?i)ABC", r"-", "abcABC", false, "--", 2),
        (r"(?x) a b # c", r"-", "ab a b", false, "- a b", 1),
        (r#"(?P<q>[\'"]).*?(?P=q)"#, r"<\g<q>>", "a=\"b\" c='d'", false, "a=<\"> c=<'>", 2),
        (r"(a)(b)?", r"[\1|\2]", "ab a", false, "[a|b] [a|]", 2),
        (r"(a)\1", r"-", "aa a", false, "- a", 1),
        (r"(.)", r"\g<0>\g<1>\n\t\\", "ab", false, "aa\n\t\\bb\n\t\\", 2),
        (r"a", r"\.\-\/", "a", false, "\\.\\-\\/", 1),
        (r"a", r"\060\101", "a", false, "0A", 1),
        (r"(?<=a)b", r"-", "ab b", false, "a- b", 1),
        (r"\bfoo\b", r"-", "foo foobar", false, "- foobar", 1),
        (r"\<a", r"-", "<a", false, "-", 1),
        (r#"a\/b\ c\""#, r"-", "a/b c\"", false, "-", 1),
        (r"(?s)a.b", r"-", "a\nb", false, "-", 1),
        (r"a.b", r"-", "a\nb", false, "a\nb", 0),
        (r"(?m)^b$", r"-", "a\nb\nc", false, "a\n-\nc", 1),
        (r"(a)?(?(1)b|c)", r"-", "ab c b", false, "- - b", 2),
        (r"é+", r"-", "éé e", false, "- e", 1),
        (r"\u00e9|\x41", r"-", "éA", false, "--", 2),
        (r"[[:alpha:]]", r"-", "a:]x", false, "a-x", 1),
        (r"~#&-", r"-", "~#&-", false, "-", 1),
        (r"(?:a|b)+?c", r"-", "abac", false, "-", 1),
        (r"a++b", r"-", "aab", false, "-", 1),
        (r"\d+\s\S", r"<\g<0>>", "12 x", false, "<12 x>", 1),
        (r"[\d\s]", r"-", "1 a", false, "--a", 2),
        (r"[^\W\d]", r"-", "a1_ ", false, "-1- ", 2),
    ];
    for (pattern, replacement, text, multiline, wanted, count) in table {
        let made = Pattern::text(
            pattern,
            Flags {
                multiline,
                ..Flags::default()
            },
        )
        .and_then(|pattern| pattern.replace_all(replacement, text));
        assert_eq!(made, Ok((wanted.to_owned(), count)), "{pattern}");
    }
}

#[test]
fn bytes_have_no_letters_but_those_of_ascii() {
    for (pattern, text, wanted) in [
        (r"^\w+$", "abc\n", true),
        (r"^\w+$", "é\n", false),
        (r"^.$", "é", false),
        (r"^..$", "é", true),
        ("é+$", "xé\n", true),
        ("(?i)É", "é", false),
        (r"\bb\b", "éb ", true),
        (r"a\B", "aé", false),
        (r"[^\w]", "_", false),
        (r"[^\S]", "\t", true),
    ] {
        let found = Pattern::bytes(pattern).unwrap();
        let text = latin(text.as_bytes());
        assert_eq!(found.search(&text).unwrap().is_some(), wanted, "{pattern}");
    }
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(bytes_of(&latin(&all)), all);
}

#[test]
fn what_python_refuses_is_refused_in_its_words() {
    let pattern = |text: &str| Pattern::text(text, Flags::default()).map(|_| ());
    for (text, words) in [
        (r"\q", r"bad escape \q"),
        ("[a", "unterminated character set"),
        ("[z-a]", "bad character range"),
        ("(a", ""),
        ("*a", ""),
    ] {
        let problem = pattern(text).unwrap_err().to_string();
        assert!(problem.contains(words), "{text}: {problem}");
    }
    let one = Pattern::text("(a)", Flags::default()).unwrap();
    for (text, words) in [
        (r"\2", "invalid group reference 2"),
        (r"\g<no>", "unknown group name 'no'"),
        (r"\g<1", "unterminated name"),
        (r"\q", r"bad escape \q at position 0"),
    ] {
        let problem = one.replace_all(text, "a").unwrap_err().to_string();
        assert!(problem.contains(words), "{text}: {problem}");
    }
}
