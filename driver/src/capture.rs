//! What went over a device's wire of late.
//!
//! Owns two bounded lists: the first transfers of an attachment, in which a board shows
//! what it is, and the newest. [`BitmainDevice`](crate::BitmainDevice) notes every transfer;
//! whoever reads a [`Capture`] gets the works of clients blanked. It decides nothing and
//! never looks into bytes but for that.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hasher_work::{Midstate, Tail, Work};

use crate::token::{TX_TASK, TxTask, WorkEntry};

/// Transfers from the beginning: the start takes about ten, a board that was left in the
/// middle of something tells more.
pub const START_TRANSFERS_MAX: usize = 32;
/// Their bytes. In hexadecimal both lists fit into one document of the socket protocol.
pub const START_BYTES_MAX: usize = 4 << 10;
/// Newest transfers: half a second of a busy S3.
pub const RECENT_TRANSFERS_MAX: usize = 96;
/// Their bytes.
pub const RECENT_BYTES_MAX: usize = 16 << 10;

/// What a transfer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferKind {
    /// To the device.
    Out(Bytes),
    /// From the device.
    In(Bytes),
    /// It failed; why.
    Fault(&'static str),
}

/// One transfer, or several equal ones in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// When the last of them began or arrived, since the device was attached.
    pub at: Duration,
    /// What it was.
    pub kind: TransferKind,
    /// How many there were.
    pub times: u32,
}

impl Transfer {
    fn bytes(&self) -> usize {
        match &self.kind {
            TransferKind::Out(bytes) | TransferKind::In(bytes) => bytes.len(),
            TransferKind::Fault(_) => 0,
        }
    }

    /// The same without what belongs to a client: midstate and data of works are zero,
    /// and the checksum fits that.
    fn blanked(&self) -> Self {
        let kind = match &self.kind {
            TransferKind::Out(token) if token.first() == Some(&TX_TASK) => {
                TransferKind::Out(blank_works(token))
            }
            other => other.clone(),
        };
        Self { kind, ..*self }
    }
}

fn blank_works(token: &[u8]) -> Bytes {
    const BLANK: Work = Work {
        midstate: Midstate([0; 8]),
        tail: Tail([0; 3]),
    };
    // We made it, so it can be read; if not, nothing of it is shown.
    TxTask::decode(token).map_or_else(
        |_| Bytes::new(),
        |task| {
            let blank = |entry: WorkEntry| WorkEntry {
                work: BLANK,
                ..entry
            };
            TxTask {
                works: task.works.into_iter().map(blank).collect(),
                ..task
            }
            .encode()
        },
    )
}

/// Notes transfers as they happen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    start: Vec<Transfer>,
    start_bytes: usize,
    start_is_over: bool,
    recent: VecDeque<Transfer>,
    recent_bytes: usize,
    left_out: u64,
}

impl Recorder {
    pub(crate) fn note(&mut self, at: Duration, kind: TransferKind) {
        let newest = self.recent.back_mut().or(self.start.last_mut());
        if let Some(newest) = newest.filter(|newest| newest.kind == kind) {
            newest.at = at;
            newest.times = newest.times.saturating_add(1);
            return;
        }
        let transfer = Transfer { at, kind, times: 1 };
        let bytes = transfer.bytes();
        let fits =
            self.start.len() < START_TRANSFERS_MAX && self.start_bytes + bytes <= START_BYTES_MAX;
        if fits && !self.start_is_over {
            self.start_bytes += bytes;
            self.start.push(transfer);
            return;
        }
        self.start_is_over = true;
        self.recent_bytes += bytes;
        self.recent.push_back(transfer);
        while self.recent.len() > RECENT_TRANSFERS_MAX || self.recent_bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= oldest.bytes();
            self.left_out += u64::from(oldest.times);
        }
    }

    pub(crate) fn capture(&self) -> Capture {
        Capture(self.clone())
    }
}

/// What a [`HashDevice`](crate::HashDevice) remembers of its wire at one moment.
#[derive(Debug, Clone, Default)]
pub struct Capture(Recorder);

impl Capture {
    /// The first transfers after the device was attached.
    pub fn start(&self) -> impl Iterator<Item = Transfer> {
        self.0.start.iter().map(Transfer::blanked)
    }

    /// Transfers between those of the start and the newest that are forgotten.
    pub const fn left_out(&self) -> u64 {
        self.0.left_out
    }

    /// The newest transfers, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = Transfer> {
        self.0.recent.iter().map(Transfer::blanked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;
    use crate::token::Request;

    fn reply(bytes: &'static [u8]) -> TransferKind {
        TransferKind::In(Bytes::from_static(bytes))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_beginning_and_the_newest_are_kept_within_their_bounds() {
        let mut recorder = Recorder::default();
        for number in 0..10_000u64 {
            let bytes = Bytes::from(vec![number as u8; 1 + (number % 500) as usize]);
            recorder.note(ms(number), TransferKind::In(bytes));
        }
        let capture = recorder.capture();
        let size = |transfers: &[Transfer]| transfers.iter().map(Transfer::bytes).sum::<usize>();
        let (start, recent): (Vec<_>, Vec<_>) =
            (capture.start().collect(), capture.recent().collect());
        assert_eq!(start[0].at, ms(0));
        assert!(start.len() <= START_TRANSFERS_MAX && size(&start) <= START_BYTES_MAX);
        assert_eq!(recent.last().unwrap().at, ms(9_999));
        assert!(recent.len() <= RECENT_TRANSFERS_MAX && size(&recent) <= RECENT_BYTES_MAX);
        assert!(recent.windows(2).all(|pair| pair[0].at < pair[1].at));
        let kept = (start.len() + recent.len()) as u64;
        assert_eq!(kept + capture.left_out(), 10_000);
    }

    #[test]
    fn equal_transfers_in_a_row_are_one_with_a_count() {
        let mut recorder = Recorder::default();
        for (at, kind) in [
            (1, reply(b"a")),
            (2, reply(b"a")),
            (3, TransferKind::Fault("an endpoint stalled")),
            (4, reply(b"a")),
        ] {
            recorder.note(ms(at), kind);
        }
        let start: Vec<_> = recorder.capture().start().collect();
        let seen: Vec<_> = start.iter().map(|t| (t.at, t.times)).collect();
        assert_eq!(seen, [(ms(2), 2), (ms(3), 1), (ms(4), 1)]);
        assert_eq!(recorder.capture().recent().count(), 0);
    }

    #[test]
    fn works_are_blank_and_still_a_sound_token() {
        let secret = Work {
            midstate: Midstate([0xdead_beef; 8]),
            tail: Tail([0xdead_beef; 3]),
        };
        let entry = |id| WorkEntry { id, work: secret };
        let token = TxTask {
            works: (1..=8).map(entry).collect(),
            ..TxTask::default()
        }
        .encode();
        let mut recorder = Recorder::default();
        recorder.note(ms(1), TransferKind::Out(token.clone()));
        let transfer = recorder.capture().start().next().unwrap();
        let TransferKind::Out(shown) = transfer.kind else {
            panic!("{transfer:?}");
        };
        assert_eq!(shown.len(), token.len());
        let Ok(Request::Task(task)) = Request::decode(Layout::S3, &shown) else {
            panic!("not sound");
        };
        let ids: Vec<_> = task.works.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8]);
        let blank = |entry: &WorkEntry| {
            entry.work.midstate == Midstate([0; 8]) && entry.work.tail == Tail([0; 3])
        };
        assert!(task.works.iter().all(blank));
    }
}
