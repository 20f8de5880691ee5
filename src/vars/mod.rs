//! Variables as layers: in, every source of variables; out, a scope for one host and task, looked up lazily, never copied.
