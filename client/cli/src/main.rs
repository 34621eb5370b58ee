//! The command line of Hasher.

fn main() {}
