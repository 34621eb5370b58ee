//! The hasherd daemon: owns hash devices and shares them among programs.

fn main() {}
