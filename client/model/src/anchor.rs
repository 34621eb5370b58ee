//! Anchors: the only headers of a model that a mining device ever works on.
//!
//! It owns how an anchor header is made and when a solution of it counts. It
//! never searches: whoever wants work mode brings an [`AnchorSource`].
//!
//! ```text
//! 0        4          36                    68       72     76
//! "HSH1" | model id | R (request, point)  | attempt| bits | nonce
//!                                           └─── a solution ───┘
//! ```

use std::convert::Infallible;

use hasher_work::{Digest, Header, Nonce, NonceRange, SearchJob, SearchMode, Target, digest};

use crate::ModelId;

/// Fewest zero bits that count as work. Source: model specification, section 5.
pub const ZERO_BITS_MIN: u32 = 8;
/// Most zero bits that may be demanded: what silicon filters for.
pub const ZERO_BITS_MAX: u32 = 32;
/// The header's bits field: Bitcoin's difficulty 1. It carries no meaning here.
const BITS: u32 = 0x1d00_ffff;
/// A field of the commitment that is not used.
const UNUSED_16: u16 = u16::MAX;

/// How many anchors an inference has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// One for the request.
    Request,
    /// One for each pass; all can be solved at the same time and ahead.
    Pass,
    /// One for each pass and layer, and one for the head of each pass. Each
    /// depends on the layers before it.
    Layer,
}

impl Level {
    /// The number that stands for it: 0, 1 or 2.
    pub const fn number(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Pass => 1,
            Self::Layer => 2,
        }
    }

    /// The level with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Request),
            1 => Some(Self::Pass),
            2 => Some(Self::Layer),
            _ => None,
        }
    }
}

/// Whether anchors must be worked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Anchors are plain hashes: attempt and nonce are zero.
    Direct,
    /// Every anchor's double digest has at least so many leading zero bits, and
    /// attempt and nonce are not both zero.
    Work {
        /// [`ZERO_BITS_MIN`] to [`ZERO_BITS_MAX`].
        zero_bits: u32,
    },
}

impl Mode {
    /// Zero bits demanded of an anchor; 0 in direct mode.
    pub const fn zero_bits(self) -> u32 {
        match self {
            Self::Direct => 0,
            Self::Work { zero_bits } => zero_bits,
        }
    }
}

/// What solves an anchor header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Solution {
    /// The header's time field: how often a whole nonce range was given up.
    pub attempt: u32,
    /// The header's nonce.
    pub nonce: Nonce,
}

impl Solution {
    /// The solution of every anchor in direct mode, and of none in work mode.
    pub const DIRECT: Self = Self {
        attempt: 0,
        nonce: Nonce(0),
    };
}

/// Where in an inference an anchor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorPoint {
    /// The pass; nothing at level 0.
    pub pass: Option<u16>,
    /// The layer (the number of layers stands for the head); only at level 2.
    pub layer: Option<u16>,
    /// Digest of the residual stream at level 2, else 32 zero bytes.
    pub state: Digest,
}

/// An anchor to be solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorRequest {
    /// Where it stands.
    pub point: AnchorPoint,
    /// The header with attempt and nonce zero.
    pub header: Header,
    /// Whether and how hard it must be worked for.
    pub mode: Mode,
}

/// Why a solution was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Direct mode knows one solution only.
    #[error("direct mode takes attempt 0 and nonce 0, got {} and {}", .0.attempt, .0.nonce)]
    NotDirect(Solution),
    /// Attempt 0 with nonce 0 means that nobody worked.
    #[error("attempt 0 and nonce 0 stand for no work")]
    Unworked,
    /// The digest has too few zero bits.
    #[error("anchor has {got} zero bits, {wanted} demanded")]
    ZeroBits {
        /// Zero bits of the digest.
        got: u32,
        /// Zero bits demanded.
        wanted: u32,
    },
}

impl AnchorRequest {
    /// The anchor of one point of an inference.
    pub fn new(
        model: ModelId,
        request: &Digest,
        level: Level,
        point: AnchorPoint,
        mode: Mode,
    ) -> Self {
        let header = |unused: u32| {
            let mut header = [0; 80];
            header[..4].copy_from_slice(b"HSH1");
            header[4..36].copy_from_slice(&model.0.0);
            header[36..68].copy_from_slice(&commitment(request, level, &point, unused).0);
            header[72..76].copy_from_slice(&BITS.to_le_bytes());
            Header(header)
        };
        let header = match mode {
            Mode::Direct => header(u32::MAX),
            // An S3 would silently drop 1 midstate in 256; on every engine the
            // unused position then counts down. A second try already succeeds
            // with probability 255/256, so the end of the range is never seen.
            Mode::Work { .. } => (0..=u32::MAX)
                .rev()
                .map(header)
                .find(|header| !header.work().midstate.is_dropped_by_s3())
                .unwrap_or_else(|| header(u32::MAX)),
        };
        Self {
            point,
            header,
            mode,
        }
    }

    /// The header with a solution filled in.
    pub fn solved(&self, solution: Solution) -> Header {
        self.header
            .with_time(solution.attempt)
            .with_nonce(solution.nonce)
    }

    /// The anchor that a solution makes, if it counts.
    ///
    /// # Errors
    /// [`AnchorError`] says why it does not.
    pub fn check(&self, solution: Solution) -> Result<Digest, AnchorError> {
        match self.mode {
            Mode::Direct if solution != Solution::DIRECT => {
                return Err(AnchorError::NotDirect(solution));
            }
            Mode::Work { .. } if solution == Solution::DIRECT => {
                return Err(AnchorError::Unworked);
            }
            _ => {}
        }
        let anchor = self.solved(solution).double_digest();
        let (got, wanted) = (anchor.leading_zero_bits(), self.mode.zero_bits());
        if got < wanted {
            return Err(AnchorError::ZeroBits { got, wanted });
        }
        Ok(anchor)
    }

    /// The search that solves this anchor in work mode: one hit of any nonce but
    /// 0, over `rolls` further attempts (at most [`SearchJob::MAX_ROLLS`]).
    ///
    /// A hit's time is the attempt. Nonce 0 is left out for every attempt since it
    /// means "no work" for the first.
    pub fn search_job(&self, rolls: u16) -> SearchJob {
        SearchJob {
            header: self.header,
            range: NonceRange::new(Nonce(1), Nonce(u32::MAX)).expect("1 is not above 2³² − 1"),
            target: Target::from_zero_bits(self.mode.zero_bits().min(256))
                .expect("at most 256 zero bits"),
            mode: SearchMode::FirstFound(1),
            rolls,
        }
    }
}

/// R: what the header's Merkle root field holds.
fn commitment(request: &Digest, level: Level, point: &AnchorPoint, unused: u32) -> Digest {
    let mut message = [0; 81];
    message[..8].copy_from_slice(b"HSHRanc1");
    message[8..40].copy_from_slice(&request.0);
    message[40] = level.number();
    message[41..43].copy_from_slice(&point.pass.unwrap_or(UNUSED_16).to_le_bytes());
    message[43..45].copy_from_slice(&point.layer.unwrap_or(UNUSED_16).to_le_bytes());
    message[45..49].copy_from_slice(&unused.to_le_bytes());
    message[49..].copy_from_slice(&point.state.0);
    digest(&message)
}

/// Whoever solves anchors: nobody (direct), a CPU, a device through the daemon, or
/// the record of an earlier inference.
pub trait AnchorSource {
    /// Why it could not.
    type Error;

    /// One solution for each of `wanted`, in their order. Every solution is
    /// checked by the caller.
    ///
    /// # Errors
    /// Whatever keeps the source from solving them; the inference then ends.
    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, Self::Error>;
}

/// Direct mode: no work at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct DirectAnchors;

impl AnchorSource for DirectAnchors {
    type Error = Infallible;

    fn solve(&mut self, wanted: &[AnchorRequest]) -> Result<Vec<Solution>, Infallible> {
        Ok(vec![Solution::DIRECT; wanted.len()])
    }
}

#[cfg(test)]
mod tests;
