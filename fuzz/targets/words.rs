//! Any text as `key=value` words, as free text with such words in it, and as `-e`.
#![no_main]

use layerplay::playbook::parse_words;
use layerplay::source::Reader;
use layerplay::vars::parse_extra;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_words(text, false);
    if let Ok((named, free)) = parse_words(text, true)
        && named.is_empty()
    {
        assert_eq!(free, text, "free text without words stays as it is");
    }
    if !text.starts_with('@') {
        let _ = parse_extra(&[text.to_owned()], &Reader::default());
    }
});
