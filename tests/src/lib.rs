//! Whole-system tests of Hasher.
