//! In: inventory files, folders, executables; out: hosts, groups and their variables as written, and patterns over them.
