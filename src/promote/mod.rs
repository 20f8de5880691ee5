//! Stages and gates (pure): in, proofs; out, may this stage start, and why not.
