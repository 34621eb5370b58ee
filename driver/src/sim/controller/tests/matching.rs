//! Nonces: yield, matching, checks, counters.

use super::*;
use crate::sim::chain::{ChipReply, REPLY_TIME, chip_reply};
use crate::vectors::{bytes, vectors};

/// `hw_error_eft` off: an S3 passes on what its chips say.
const UNVERIFIED: ControlFlags = ControlFlags {
    beeper: false,
    temp_over_ctrl: false,
    fan_home_mode: false,
};

fn stop_verifying(rig: &mut Rig) {
    rig.configure(TxConfig {
        control: UNVERIFIED,
        ..TxConfig::default()
    });
}

/// The works of the vector file with everything a test needs.
struct Vector {
    name: String,
    entry: WorkEntry,
    zero_bits: u8,
    chip_reply: ChipReply,
    replies: [Vec<u8>; 2],
}

fn works_of_the_vectors() -> Vec<Vector> {
    let vectors = vectors();
    let works = vectors["works"].as_array().unwrap();
    assert!(works.len() >= 11);
    works
        .iter()
        .map(|work| {
            let task = TxTask::decode(&bytes(&work["s3_txtask"])).unwrap();
            Vector {
                name: work["name"].to_string(),
                entry: task.works[0],
                zero_bits: work["zero_bits"].as_u64().unwrap() as u8,
                chip_reply: bytes(&work["chip_reply"]).try_into().unwrap(),
                replies: [
                    bytes(&work["s1_nonce_reply"]),
                    bytes(&work["s3_nonce_reply"]),
                ],
            }
        })
        .collect()
}

/// A rig at full difficulty whose first chain is on this work.
fn on_chips(image: Image, diff: u8, entry: WorkEntry) -> Rig {
    let mut rig = Rig::with_zero_bits(image, 32);
    rig.book = Book::of_blocks();
    rig.task(true, diff, vec![entry]);
    rig.run(ms(40));
    rig.controller.collect(); // armed before the tick
    rig.controller.collect();
    assert_eq!(
        rig.controller.sent[0].newest((entry.id & 0x1f) as u8),
        Some(&entry)
    );
    rig
}

#[test]
fn a_chip_reply_becomes_exactly_the_nonce_reply_of_the_vectors() {
    for vector in works_of_the_vectors() {
        for image in ALL {
            let mut rig = on_chips(image, 0, vector.entry);
            if image == Image::S3Version7 {
                stop_verifying(&mut rig);
            }
            let mut wrong = vector.chip_reply;
            wrong[3] ^= 1;
            if image != Image::S3Version7 {
                rig.controller.take_chip_reply(0, wrong);
            }
            rig.controller.take_chip_reply(0, vector.chip_reply);
            rig.controller.collect(); // the empty one armed before
            let reply = rig.controller.collect().unwrap();
            let s3 = usize::from(image == Image::S3Version7);
            assert_eq!(reply, vector.replies[s3], "{} {image:?}", vector.name);
            let errors = u32::from(image != Image::S3Version7);
            assert_eq!(rig.status().nonce_errors, errors);
        }
    }
}

#[test]
fn an_s3_forwards_a_nonce_up_to_exactly_its_difficulty() {
    for vector in works_of_the_vectors() {
        let most = vector.zero_bits - 32;
        for (diff, passes) in [(most, true), (most + 1, false), (255, false)] {
            let mut rig = on_chips(Image::S3Version7, diff, vector.entry);
            rig.controller.take_chip_reply(0, vector.chip_reply);
            let reply = rig.fresh_nonce_reply();
            assert_eq!(
                reply.nonces.len(),
                usize::from(passes),
                "{} {diff}",
                vector.name
            );
            assert_eq!(reply.diff, u16::from(diff.min(4)));
            // Counted at the chips' own, lower level.
            assert_eq!(
                reply.total_nonces,
                u64::from(vector.zero_bits - 32 >= diff.min(4))
            );
            assert_eq!(rig.status().nonce_errors, 0);
        }
    }
}

#[test]
fn an_s3_without_verification_forwards_anything_and_counts_nothing() {
    let vector = &works_of_the_vectors()[0];
    let mut rig = on_chips(Image::S3Version7, 20, vector.entry);
    stop_verifying(&mut rig);
    let mut wrong = vector.chip_reply;
    wrong[0] ^= 0x10;
    rig.controller.take_chip_reply(0, wrong);
    let reply = rig.fresh_nonce_reply();
    assert_eq!(reply.nonces.len(), 1);
    assert_eq!((reply.diff, reply.total_nonces), (0, 0));
    assert_eq!(rig.status().nonce_errors, 0);
    rig.controller.configure_usb();
    rig.controller.take_chip_reply(0, wrong);
    assert!(
        rig.fresh_nonce_reply().nonces.is_empty(),
        "a new configuration verifies again"
    );
    assert_eq!(rig.status().nonce_errors, 1);
}

#[test]
fn a_reply_that_matches_no_work_counts_as_error_on_an_s3_only() {
    for image in ALL {
        let mut rig = on_chips(image, 0, entry(7));
        rig.controller.take_chip_reply(0, chip_reply(5, 8));
        assert!(rig.fresh_nonce_reply().nonces.is_empty());
        let errors = u32::from(image == Image::S3Version7);
        assert_eq!(rig.status().nonce_errors, errors);
    }
}

#[test]
fn a_nonce_that_arrives_after_its_number_was_used_again_belongs_to_the_newer_work() {
    for image in ALL {
        let mut rig = Rig::new(image);
        let (old, new) = (entry(5), entry(37));
        // The first chain gets every other work on an S1, every one on an S3 that
        // has just begun to run.
        rig.task(false, 0, vec![old, entry(6), new, entry(8)]);
        rig.run(ms(40));
        let late = chip_reply(solve(&old.work, 12).w3(), 5);
        rig.controller.take_chip_reply(0, late);
        let nonces = rig.nonces();
        assert!(nonces.iter().any(|found| found.work_id == 5), "in time");
        let ticks = if image == Image::S3Version7 { 2 } else { 1 };
        rig.run(ticks * ms(40));
        rig.nonces();
        let errors = rig.status().nonce_errors;
        rig.controller.take_chip_reply(0, late);
        assert!(
            rig.nonces()
                .iter()
                .all(|found| found.nonce != solve(&old.work, 12))
        );
        assert_eq!(rig.status().nonce_errors, errors + 1, "{image:?}");
        if image == Image::S3Version7 {
            stop_verifying(&mut rig);
            rig.controller.take_chip_reply(0, late);
            let nonces = rig.nonces();
            assert!(nonces.contains(&FoundNonce {
                work_id: 37,
                nonce: solve(&old.work, 12),
            }));
        }
    }
}

#[test]
fn a_nonce_found_at_the_very_end_of_a_tick_arrives_after_the_next_work() {
    // With every work numbered alike, late nonces are the only source of errors.
    let mut rig = Rig::new(Image::S1Of2013);
    let mut errors = 0;
    for batch in 0..40u32 {
        let works = (0..8).map(|i| WorkEntry {
            id: 0x20 * (8 * batch + i),
            work: work(8 * batch + i),
        });
        rig.task(false, 0, works.collect());
        rig.run_collecting(ms(160));
        errors = rig.controller.nonce_errors;
    }
    // 320 works at 0.83 nonces and 0.43 ms of 40 give 2.9 on average.
    let mean = 320.0 * 0.834 * REPLY_TIME.as_secs_f64() / 0.040;
    assert!((1..=9).contains(&errors), "{errors}, {mean} on average");
}

#[test]
fn results_of_a_stopped_run_are_thrown_away() {
    for image in ALL {
        for stopped in [false, true] {
            let mut rig = Rig::new(image);
            rig.works(40);
            rig.run(ms(200));
            rig.nonces();
            if stopped {
                rig.query(RxStatus::DETECT);
                rig.nonces();
            }
            rig.next_id = 100;
            rig.works(40);
            let nonces = rig.run_collecting(ms(120));
            let old = nonces.iter().any(|found| found.work_id < 100);
            assert_eq!(
                old, !stopped,
                "{image:?}: what the chips were on ends unseen"
            );
        }
    }
}

#[test]
fn real_blocks_come_out_of_the_book_at_full_difficulty() {
    for vector in works_of_the_vectors().iter().take(6) {
        for image in ALL {
            let mut rig = Rig::with_zero_bits(image, 32);
            if image == Image::S3Version7 {
                stop_verifying(&mut rig);
            }
            rig.task(true, 0, vec![vector.entry]);
            rig.run(ms(81));
            let mut replies = Vec::new();
            while let Some(reply) = rig.controller.collect() {
                replies.push(reply);
                if replies.len() > 10 {
                    break;
                }
            }
            let expected = &vector.replies[usize::from(image == Image::S3Version7)];
            assert!(
                replies.contains(&Bytes::from(expected.clone())),
                "{} {image:?}",
                vector.name
            );
        }
    }
}

#[test]
fn works_yield_as_many_nonces_as_in_silicon() {
    for (image, timeout_ms, mean) in [
        (Image::S1Of2013, 40, 0.834),
        (Image::S1Of2014, 40, 0.834),
        (Image::S3Version7, 18, 0.924),
    ] {
        for zero_bits in [8, 12] {
            let mut rig = Rig::with_zero_bits(image, zero_bits);
            rig.configure(timeout(timeout_ms));
            let mut found = 0;
            let batches = 100;
            for _ in 0..batches {
                rig.works(8);
                let ticks = if rig.controller.now() < ms(500) { 8 } else { 4 };
                let nonces = rig.run_collecting(ticks * Duration::from_millis(timeout_ms.into()));
                for nonce in &nonces {
                    let digest = work(nonce.work_id).digest(nonce.nonce);
                    assert!(digest.leading_zero_bits() >= zero_bits);
                }
                found += nonces.len();
            }
            // Fixed works, so this is no gamble: within three sigma of Poisson.
            let expected = f64::from(8 * batches) * mean;
            let off = (found as f64 - expected).abs() / expected.sqrt();
            assert!(off < 3.0, "{image:?} {zero_bits}: {found} for {expected}");
            assert_eq!(rig.status().nonce_errors, 0);
        }
    }
}

#[test]
fn every_chip_and_both_chains_find_nonces() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.configure(timeout(40));
        for _ in 0..80 {
            rig.works(8);
            rig.run_collecting(ms(160));
        }
        let chips = usize::from(image.model().chips_per_chain());
        for counts in &rig.controller.chip_nonces {
            let silent = counts[..chips].iter().filter(|count| **count == 0).count();
            assert!(silent <= chips / 16, "{image:?} {counts:?}");
        }
    }
}

#[test]
fn scripted_nonce_faults_strike_once_each() {
    for image in ALL {
        let vector = &works_of_the_vectors()[0];
        let mut rig = on_chips(image, 0, vector.entry);
        let mut outcomes = Vec::new();
        for fault in 0..5 {
            let faults = &mut rig.controller.nonce_faults;
            match fault {
                0 => faults.lose = 1,
                1 => faults.duplicate = 1,
                2 => faults.wrong = 1,
                3 => faults.forge = 1,
                _ => {}
            }
            rig.controller.take_chip_reply(0, vector.chip_reply);
            let nonces = rig.nonces();
            let right = nonces
                .iter()
                .filter(|found| vector.entry.work.verify(found.nonce, 32).is_some())
                .count();
            outcomes.push((nonces.len(), right));
        }
        assert_eq!(
            outcomes,
            [(0, 0), (2, 2), (0, 0), (1, 0), (1, 1)],
            "{image:?}"
        );
        assert_eq!(
            rig.status().nonce_errors,
            1,
            "only the wrong one is noticed"
        );
    }
}
