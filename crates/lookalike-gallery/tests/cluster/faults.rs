//! What happens when the way to the cluster, or a node of it, fails.

pub const CASES: &[(&str, fn())] = &[];
