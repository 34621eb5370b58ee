//! Which kind of seed holds which matrix: one for all, or mixed.
//!
//! Owns the eight roles that a choice can name and their spelling; never encodes.
//! The configuration holds a [`Kinds`], the command line parses one.

use std::fmt;
use std::str::FromStr;

use hasher_model::{Kind, MatrixRole};

/// Names of the roles in model order, as in the model specification.
pub const ROLE_NAMES: [&str; 8] = ["emb", "q", "k", "v", "o", "f", "g", "head"];

/// The kind of each role's matrices, the same in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kinds([Kind; ROLE_NAMES.len()]);

impl Kinds {
    /// Every matrix of one kind.
    pub const fn all(kind: Kind) -> Self {
        Self([kind; ROLE_NAMES.len()])
    }

    /// Kinds in the order of [`ROLE_NAMES`].
    pub const fn of_roles(kinds: [Kind; ROLE_NAMES.len()]) -> Self {
        Self(kinds)
    }

    /// Kinds in the order of [`ROLE_NAMES`].
    pub const fn roles(&self) -> &[Kind; ROLE_NAMES.len()] {
        &self.0
    }

    /// The kind of a matrix. Gains are always `vec8`.
    pub const fn of(&self, role: MatrixRole) -> Kind {
        let at = match role {
            MatrixRole::Gains => return Kind::Vec8,
            MatrixRole::Embedding => 0,
            MatrixRole::Query(_) => 1,
            MatrixRole::Key(_) => 2,
            MatrixRole::Value(_) => 3,
            MatrixRole::Output(_) => 4,
            MatrixRole::Expand(_) => 5,
            MatrixRole::Contract(_) => 6,
            MatrixRole::Head => 7,
        };
        self.0[at]
    }
}

impl fmt::Display for Kinds {
    /// The commonest kind, then what differs from it: `hb32,head=hb8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind: Kind| self.0.iter().filter(|other| **other == kind).count();
        let base = self.0.into_iter().fold(self.0[0], |best, kind| {
            if count(kind) > count(best) {
                kind
            } else {
                best
            }
        });
        f.write_str(base.name())?;
        for (name, kind) in ROLE_NAMES.iter().zip(self.0) {
            if kind != base {
                write!(f, ",{name}={}", kind.name())?;
            }
        }
        Ok(())
    }
}

/// Why a text names no kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindsError {
    /// No kind has this name.
    #[error("there is no seed kind \"{0}\", choose hb32, hb16, hb8, kron, bin, tern, nib or vec8")]
    Kind(String),
    /// No matrix has this name.
    #[error("there is no matrix \"{0}\", choose emb, q, k, v, o, f, g or head")]
    Role(String),
}

impl FromStr for Kinds {
    type Err = KindsError;

    /// Reads `KIND` or `KIND,ROLE=KIND,…`, as [`Kinds`] is written.
    fn from_str(text: &str) -> Result<Self, KindsError> {
        let kind = |name: &str| {
            Kind::from_name(name.trim()).ok_or_else(|| KindsError::Kind(name.trim().to_owned()))
        };
        let mut parts = text.split(',');
        let mut kinds = Self::all(kind(parts.next().unwrap_or_default())?);
        for part in parts {
            let (role, name) = part.split_once('=').unwrap_or((part, ""));
            let role = role.trim();
            let at = ROLE_NAMES.iter().position(|known| *known == role);
            let at = at.ok_or_else(|| KindsError::Role(role.to_owned()))?;
            kinds.0[at] = kind(name)?;
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["hb32", "tern", "hb32,head=hb8", "hb8,emb=nib,f=hb32,g=hb32"] {
            let kinds: Kinds = text.parse().unwrap();
            assert_eq!(kinds.to_string(), text);
        }
        let mixed: Kinds = "hb32,q=bin".parse().unwrap();
        assert_eq!(mixed.of(MatrixRole::Query(3)), Kind::Bin);
        assert_eq!(mixed.of(MatrixRole::Head), Kind::Hb32);
        assert_eq!(mixed.of(MatrixRole::Gains), Kind::Vec8);
    }

    #[test]
    fn unknown_names_are_repeated_with_the_choices() {
        let text = |text: &str| text.parse::<Kinds>().unwrap_err().to_string();
        assert!(text("hb64").starts_with("there is no seed kind \"hb64\""));
        assert!(text("hb32,w=hb8").starts_with("there is no matrix \"w\""));
        assert!(text("hb32,head").starts_with("there is no seed kind \"\""));
    }
}
