//! Anchors by hash work: the model asks, the daemon's devices search.
//!
//! Owns the bridge from a model's anchors to searches of a client, and the account
//! of who did the work. It never judges a solution; the model checks each one.

use hasher_client::{Client, ComputedBy, DeviceKind, DeviceState};
use hasher_model::{AnchorRequest, Solution, ZERO_BITS_MAX, ZERO_BITS_MIN};
use hasher_work::{Hit, SearchJob};

use crate::{ClassifyError, Device};

/// Zero bits asked of a CPU: it finds 21 such anchors, 1.4 million hashes, in
/// about a second.
const CPU_ZERO_BITS: u32 = 16;
/// Further time fields that a job offers, so that a work without a hit costs no
/// round trip: at a yield of 0.83 a work, sixteen works miss once in 600 000.
const ROLLS: u16 = 15;
/// Time fields after which an anchor is given up. With [`ROLLS`] these are 64
/// jobs: a healthy device never needs them.
const ATTEMPTS_MAX: u32 = 1 << 10;

/// Zero bits that every device which takes works now finds at its own pace;
/// nothing when none does.
///
/// The least of all devices counts, since nobody knows which one will search: a
/// board that filters harder finds such anchors too, only of a better kind.
pub(crate) fn zero_bits<'a>(devices: impl Iterator<Item = &'a Device>) -> Option<u32> {
    let ready = devices.filter(|device| device.state == DeviceState::Ready);
    let natural = ready.map(|device| match device.kind {
        Some(DeviceKind::Cpu) => CPU_ZERO_BITS,
        _ => device.filter_zero_bits.clamp(ZERO_BITS_MIN, ZERO_BITS_MAX),
    });
    natural.min()
}

/// What the anchors cost and who paid.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Anchors solved.
    pub(crate) anchors: usize,
    /// Works that devices were given for them.
    pub(crate) works: u64,
    /// The devices, in the order of their first work.
    pub(crate) by: Vec<ComputedBy>,
}

/// One solution for each of `wanted`, in their order. `tell` hears how many anchors
/// are solved, whenever that changes.
///
/// # Errors
/// Whatever the daemon says, or [`ClassifyError::NoLuck`].
pub(crate) async fn solve(
    client: &Client,
    wanted: &[AnchorRequest],
    account: &mut Account,
    tell: &(impl Fn(usize) + Sync),
) -> Result<Vec<Solution>, ClassifyError> {
    let mut solutions: Vec<Option<Solution>> = vec![None; wanted.len()];
    let mut attempt = 0;
    while attempt < ATTEMPTS_MAX {
        let open: Vec<usize> = (0..wanted.len())
            .filter(|at| solutions[*at].is_none())
            .collect();
        if open.is_empty() {
            break;
        }
        let jobs: Vec<SearchJob> = open.iter().map(|at| job(&wanted[*at], attempt)).collect();
        let mut ticket = client.submit(&jobs, client.options()).await?;
        while let Some((index, answer)) = ticket.next().await {
            let answer = answer?;
            account.works += u64::from(answer.result.works);
            for by in answer.by {
                if !account.by.contains(&by) {
                    account.by.push(by);
                }
            }
            if let Some(hit) = answer.result.hits.first() {
                solutions[open[index]] = Some(solution(hit));
                account.anchors += 1;
                tell(account.anchors);
            }
        }
        attempt += u32::from(ROLLS) + 1;
    }
    let solutions = solutions.into_iter().collect::<Option<_>>();
    solutions.ok_or(ClassifyError::NoLuck(ATTEMPTS_MAX))
}

/// The search for one anchor from this attempt on.
fn job(wanted: &AnchorRequest, attempt: u32) -> SearchJob {
    let job = wanted.search_job(ROLLS);
    SearchJob {
        header: job.header.with_time(attempt),
        ..job
    }
}

const fn solution(hit: &Hit) -> Solution {
    Solution {
        attempt: hit.time,
        nonce: hit.nonce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::device;

    fn of(kind: DeviceKind, state: DeviceState, filter_zero_bits: u32) -> Device {
        Device {
            kind: Some(kind),
            state,
            filter_zero_bits,
            ..device()
        }
    }

    #[test]
    fn the_anchors_are_as_hard_as_the_easiest_ready_device_finds_them() {
        let board = of(DeviceKind::Usb, DeviceState::Ready, 32);
        let sim = of(DeviceKind::Simulated, DeviceState::Ready, 14);
        let cpu = of(DeviceKind::Cpu, DeviceState::Ready, 0);
        let paused = of(DeviceKind::Simulated, DeviceState::Paused, 10);
        for (devices, expected) in [
            (vec![], None),
            (vec![&paused], None),
            (vec![&board], Some(32)),
            (vec![&cpu], Some(16)),
            (vec![&board, &paused, &sim, &cpu], Some(14)),
        ] {
            assert_eq!(zero_bits(devices.into_iter()), expected);
        }
    }

    #[test]
    fn a_device_that_says_nonsense_does_not_ask_for_the_impossible() {
        let odd = of(DeviceKind::Usb, DeviceState::Ready, 200);
        assert_eq!(zero_bits([&odd].into_iter()), Some(ZERO_BITS_MAX));
    }
}
