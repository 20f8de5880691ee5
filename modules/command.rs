//! Child processes on this machine: the one place that spawns. In: argv, environment, stdin; out: status and output.
