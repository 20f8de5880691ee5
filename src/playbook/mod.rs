//! In: nodes and the catalogue of modules; out: the typed tree of plays, blocks, tasks and handlers, with all problems.
