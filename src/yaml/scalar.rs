//! In: the text of a plain scalar; out: its type and value as PyYAML (YAML 1.1) resolves them.
