use std::fmt;

/// A version of the socket protocol.
///
/// Within one major number frames keep their meaning: a minor adds frame types and
/// fields at the end of a frame, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Incompatible changes.
    pub major: u8,
    /// Additions.
    pub minor: u8,
}

impl Version {
    /// Hello to Goodbye with searches, digest batches and status, but without
    /// [`Search`](crate::Search) rolls, digest streams and the daemon's version.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// Adds rolls of the time field at the end of a job, digest streams, and the
    /// daemon's version at the end of Welcome.
    pub const V1_1: Self = Self { major: 1, minor: 1 };
    /// Adds queries for documents by topic.
    pub const V1_2: Self = Self { major: 1, minor: 2 };
    /// Adds digests through shared memory.
    pub const V1_3: Self = Self { major: 1, minor: 3 };
    /// The oldest version this crate serves.
    pub const OLDEST: Self = Self::V1_0;
    /// The newest version this crate serves.
    pub const NEWEST: Self = Self::V1_3;

    /// The newest version that both this crate and a peer serving `min..=max`
    /// know, if there is one.
    pub fn agree(min: Self, max: Self) -> Option<Self> {
        let newest = max.min(Self::NEWEST);
        (newest >= min && newest >= Self::OLDEST).then_some(newest)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(major: u8, minor: u8) -> Version {
        Version { major, minor }
    }

    #[test]
    fn the_newest_common_version_is_agreed() {
        let cases = [
            ((1, 0), (1, 0), Some((1, 0))),
            ((1, 0), (1, 1), Some((1, 1))),
            ((1, 1), (1, 9), Some((1, 3))),
            ((1, 0), (2, 3), Some((1, 3))),
            ((1, 4), (1, 9), None),
            ((2, 0), (2, 0), None),
            ((0, 1), (0, 9), None),
            ((1, 1), (1, 0), None),
        ];
        for ((a, b), (c, d), expected) in cases {
            let agreed = Version::agree(version(a, b), version(c, d));
            assert_eq!(
                agreed,
                expected.map(|(x, y)| version(x, y)),
                "{a}.{b} to {c}.{d}"
            );
        }
    }
}
