//! The command line: in, arguments and settings; out, exit codes.
