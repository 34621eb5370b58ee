use crate::{Digest, Header, Nonce, NonceRange, Target, WorkError};

/// When a search may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchMode {
    /// Stop as soon as this many hits are known (at least 1). Which ones they are
    /// depends on the device and on chance.
    FirstFound(u16),
    /// Go through everything that was asked for and report every hit that is seen.
    Exhaust,
}

/// What a client asks for: nonces of a header whose double digest meets a target.
///
/// A device works on one header for one period of its work timer and cannot
/// promise to have tried every nonce, so a job may offer several headers that
/// differ in their time field only: `time`, `time + 1`, … , `time + rolls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchJob {
    /// The header; its nonce field is ignored.
    pub header: Header,
    /// Nonces that count as answers. A device sweeps where its chips sweep; what
    /// it finds outside is dropped.
    pub range: NonceRange,
    /// Bound for the double digest.
    pub target: Target,
    /// When to stop.
    pub mode: SearchMode,
    /// How many further time fields may be tried after the header's own, 0 to
    /// [`SearchJob::MAX_ROLLS`]. The time field wraps.
    pub rolls: u16,
}

impl SearchJob {
    /// Most time fields that one job may offer beyond its own.
    pub const MAX_ROLLS: u16 = 4095;
    /// Most hits that one job may ask for or be told of.
    pub const MAX_HITS: u16 = 256;

    /// Checks the bounds of all fields.
    ///
    /// # Errors
    /// [`WorkError::BadJob`] names the field that is out of bounds.
    pub const fn check(&self) -> Result<(), WorkError> {
        match self.mode {
            SearchMode::FirstFound(0) => return Err(WorkError::BadJob("0 hits asked for")),
            SearchMode::FirstFound(n) if n > Self::MAX_HITS => {
                return Err(WorkError::BadJob("more than 256 hits asked for"));
            }
            _ => {}
        }
        if self.rolls > Self::MAX_ROLLS {
            return Err(WorkError::BadJob("more than 4095 rolls of the time field"));
        }
        Ok(())
    }
}

/// One verified answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hit {
    /// Time field of the header that was solved.
    pub time: u32,
    /// The nonce that solves it.
    pub nonce: Nonce,
    /// Its double digest.
    pub digest: Digest,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SearchEnd {
    /// The hits asked for were found; the rest was left alone.
    Found,
    /// Everything asked for was tried; nothing was missed (CPU only).
    Exhausted,
    /// Every work ended on the device's timer. The chips tried most nonces but
    /// nobody knows which; a miss proves nothing.
    TimerEnded,
    /// The limit of hits ([`SearchJob::MAX_HITS`]) was reached.
    HitLimit,
}

/// What a search brought: often no hit at all, and that is no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchResult {
    /// Verified hits in the order in which they were found.
    pub hits: Vec<Hit>,
    /// Why it ended.
    pub end: SearchEnd,
    /// The part that is certain: so many nonces of the range, from its first one
    /// and with the header's own time field, were tried without a gap. 0 when a
    /// device did the work.
    pub certain_nonces: u64,
    /// Headers (time fields) that were given to devices or begun on the CPU.
    pub works: u32,
}
