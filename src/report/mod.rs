//! In: events; out: text for people (pretty, ansible) and JSON lines. Nothing else prints.
