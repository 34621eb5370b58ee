//! Ring, space, timer, run and flush.

use proptest::prelude::*;

use super::*;
use crate::vectors::vectors;

/// Free places as a fresh nonce reply and a fresh status tell them.
fn spaces(rig: &mut Rig) -> (u16, u32) {
    let space = rig.fresh_nonce_reply().fifo_space;
    (space, rig.status().fifo_space)
}

#[test]
fn the_recorded_fifo_scenarios_come_out_step_by_step() {
    let mut checked = 0;
    for scenario in vectors()["fifo_scenarios"].as_array().unwrap() {
        let image = match scenario["image"].as_str().unwrap() {
            "2013/14" => Image::S1Of2013,
            "2014-06" => Image::S1Of2014,
            "version 7" => Image::S3Version7,
            other => panic!("{other}"),
        };
        assert_eq!(
            scenario["capacity"].as_u64().unwrap(),
            u64::from(image.model().fifo_slots())
        );
        let Some(steps) = scenario["steps"].as_array() else {
            assert_eq!(image, Image::S1Of2014, "its steps are in the next test");
            continue;
        };
        // The scenarios take no time: no tick passes.
        let mut rig = Rig::new(image);
        let mut sent = 0;
        for step in steps {
            let number = step[1].as_u64().unwrap() as usize;
            match step[0].as_str().unwrap() {
                "status" => assert_eq!(rig.status().fifo_space as usize, number, "{image:?}"),
                "send" => {
                    rig.works(number);
                    sent += number;
                }
                "send_total" => {
                    rig.works(number - sent);
                    sent = number;
                }
                "nonce_packet_space" => {
                    let space = rig.fresh_nonce_reply().fifo_space;
                    assert_eq!(usize::from(space), number, "{image:?}");
                }
                other => panic!("{other}"),
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 18);
}

#[test]
fn the_s1_image_of_2014_cuts_each_task_to_the_space_of_the_last_reply() {
    let mut rig = Rig::new(Image::S1Of2014);
    assert_eq!(rig.status().fifo_space, 300);
    rig.works(8);
    assert_eq!(spaces(&mut rig), (255, 292));
    rig.works(288);
    assert_eq!(spaces(&mut rig), (4, 4));
    rig.works(8);
    assert_eq!(spaces(&mut rig), (0, 0), "4 of the 8 were cut off");
    rig.works(64);
    assert_eq!(spaces(&mut rig), (0, 0), "all were dropped");
    assert_eq!(rig.controller.ring.unsent(), 300);
    // A new block while full: the works of its own packet are dropped too.
    let work = rig.next_work();
    rig.task(true, 0, vec![work]);
    assert_eq!(spaces(&mut rig), (255, 300));
    rig.task(false, 0, vec![work]);
    assert_eq!(
        spaces(&mut rig),
        (255, 299),
        "after one reply they are taken"
    );
}

#[test]
fn the_stored_space_is_not_lowered_by_the_tasks_that_follow() {
    for image in [Image::S1Of2014, Image::S3Version7] {
        let mut rig = Rig::new(image);
        let most = image.model().fifo_depth() as usize;
        // Nothing is collected, so the stored space stays; the host may overrun it.
        rig.works(most + 8);
        assert_eq!(rig.controller.ring.unsent(), most + 8, "{image:?}");
        rig.controller.collect();
        rig.works(8);
        assert_eq!(rig.controller.ring.unsent(), most + 8, "{image:?}");
    }
}

#[test]
fn a_new_block_while_full_is_taken_by_the_oldest_image() {
    let mut rig = Rig::new(Image::S1Of2013);
    rig.works(300);
    assert_eq!(rig.status().fifo_space, 0);
    let works = (0..8).map(|_| rig.next_work()).collect();
    rig.task(true, 0, works);
    assert_eq!(spaces(&mut rig), (255, 292));
}

#[test]
fn a_tick_takes_one_work_for_each_chain() {
    for image in BOTH_S1 {
        let mut rig = Rig::new(image);
        rig.works(20);
        rig.run(ms(39));
        assert_eq!(
            rig.controller.ring.unsent(),
            20,
            "the first tick is due after 40 ms"
        );
        rig.run(ms(1));
        assert_eq!(rig.controller.ring.unsent(), 18);
        rig.run(ms(120));
        assert_eq!(rig.controller.ring.unsent(), 12);
    }
}

#[test]
fn an_s3_serves_only_its_first_chain_for_half_a_second_of_each_run() {
    let mut rig = Rig::new(Image::S3Version7);
    rig.configure(timeout(20));
    for _ in 0..2 {
        rig.works(100);
        rig.run(ms(499));
        assert_eq!(rig.controller.ring.unsent(), 100 - 24);
        rig.run(ms(101)); // ticks at 500, 520, 540, 560, 580, 600
        assert_eq!(rig.controller.ring.unsent(), 76 - 12);
        rig.query(RxStatus::DETECT); // ends the run; the ticks go on
    }
}

#[test]
fn the_second_empty_tick_in_a_row_ends_the_run() {
    for image in BOTH_S1 {
        let mut rig = Rig::new(image);
        rig.works(2);
        rig.run(ms(40)); // both chains get one
        rig.run(ms(40));
        assert!(rig.controller.running.is_some(), "one empty tick");
        rig.works(2);
        rig.run(ms(80));
        assert!(
            rig.controller.running.is_some(),
            "a work in between counts anew"
        );
        rig.run(ms(40));
        assert!(rig.controller.running.is_none());
        assert_eq!(rig.controller.next_tick, None, "the timer stops with it");
    }
}

#[test]
fn turns_are_counted_during_runs_only() {
    let turns = |rig: &Rig| (rig.controller.turns().fed, rig.controller.turns().idle);
    for image in BOTH_S1 {
        let mut rig = Rig::new(image);
        rig.works(3);
        rig.run(ms(40));
        assert_eq!(turns(&rig), (2, 0));
        rig.run(ms(40)); // one work for two chains
        assert_eq!(turns(&rig), (3, 1));
        rig.run(ms(1000)); // two empty ticks, then none
        assert_eq!(turns(&rig), (3, 5));
    }
    let mut rig = Rig::new(Image::S3Version7);
    rig.configure(timeout(20));
    rig.works(26);
    rig.run(ms(500)); // one chain only, then both at the tick of 500 ms
    assert_eq!(turns(&rig), (26, 0));
    rig.run(ms(1000)); // two empty ticks, then dummy works for ever
    assert_eq!(turns(&rig), (26, 4));
}

#[test]
fn an_s3_keeps_ticking_and_warming_after_its_last_work() {
    let mut rig = Rig::new(Image::S3Version7);
    assert_eq!(
        rig.controller.next_tick, None,
        "not before the first TxTask"
    );
    rig.task(true, 0, vec![]);
    assert!(
        rig.controller.running.is_some(),
        "a flush alone starts a run"
    );
    rig.run(ms(80));
    assert!(rig.controller.running.is_none());
    let warm = rig.climate.sensors();
    rig.run(Duration::from_secs(300));
    assert!(rig.controller.next_tick.is_some());
    assert!(
        rig.climate.sensors() > warm,
        "dummy works keep the chips busy"
    );
}

#[test]
fn the_timer_runs_at_40_ms_until_a_config_sets_it() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.works(100);
        rig.run(ms(1000));
        assert_eq!(rig.controller.now(), ms(1000));
        let ticks = 25;
        let only_first = if image == Image::S3Version7 { 12 } else { 0 };
        assert_eq!(rig.controller.ring.unsent(), 100 - 2 * ticks + only_first);
        rig.configure(timeout(10));
        rig.run(ms(100));
        assert_eq!(
            rig.controller.ring.unsent(),
            100 - 2 * ticks + only_first - 20
        );
        rig.configure(timeout(0));
        rig.run(ms(100));
        assert_eq!(
            rig.controller.ring.unsent(),
            100 - 2 * ticks + only_first - 40
        );
    }
}

#[test]
fn a_timeout_of_70_or_more_wraps_or_is_clamped() {
    for (image, ticks) in [
        (Image::S1Of2013, 41), // 24.1 ms
        (Image::S1Of2014, 14), // 69.9 ms
    ] {
        let mut rig = Rig::new(image);
        rig.configure(timeout(94));
        rig.works(100);
        rig.run(ms(1000));
        assert_eq!(rig.controller.ring.unsent(), 100 - 2 * ticks, "{image:?}");
    }
}

#[test]
fn detect_and_reset_drop_works_nonces_and_counters_and_stop_the_run() {
    let reset = TxConfig {
        flags: ConfigFlags {
            reset: true,
            hw_error: true,
            ..ConfigFlags::default()
        },
        ..TxConfig::default()
    };
    for image in ALL {
        for by_config in [false, true] {
            let mut rig = Rig::new(image);
            rig.works(100);
            rig.controller.nonce_faults.wrong = 3;
            rig.run(ms(900));
            assert!(rig.controller.nonce_errors > 0);
            assert!(!rig.controller.nonces.is_empty());
            if by_config {
                rig.configure(reset);
            } else {
                rig.query(RxStatus::DETECT);
            }
            // What was armed before is still collected first.
            while let Some(Reply::Nonces(_)) = rig.reply() {}
            let status = rig.status();
            assert_eq!(status.fifo_space, image.model().fifo_depth());
            assert_eq!(status.nonce_errors, 0);
            assert!(rig.controller.running.is_none());
            assert_eq!(
                rig.controller.next_tick.is_some(),
                image == Image::S3Version7
            );
            rig.run(ms(500));
            assert_eq!(rig.reply(), None, "idle: nothing to collect");
        }
    }
}

#[test]
fn a_config_without_reset_keeps_works_and_run() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.works(10);
        rig.configure(timeout(30));
        assert_eq!(rig.controller.ring.unsent(), 10);
        assert!(rig.controller.running.is_some());
    }
}

#[test]
fn a_new_block_drops_unsent_works_but_not_those_on_the_chips() {
    for image in BOTH_S1 {
        let mut rig = Rig::new(image);
        rig.works(40);
        rig.run(ms(40));
        rig.task(true, 0, vec![]);
        assert!(rig.controller.ring.is_empty());
        let nonces = rig.run_collecting(ms(40));
        assert!(nonces.iter().all(|found| found.work_id <= 2));
        assert!(rig.controller.running.is_some());
    }
}

#[test]
fn set_configuration_keeps_works_nonces_and_run() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.works(60);
        rig.run(ms(600));
        let (unsent, queued) = (rig.controller.ring.unsent(), rig.controller.nonces.len());
        assert!(queued > 0);
        rig.controller.configure_usb();
        assert_eq!(rig.controller.ring.unsent(), unsent);
        assert!(rig.controller.running.is_some());
        assert!(!rig.nonces().is_empty());
    }
}

#[test]
fn an_s3_throws_away_works_that_look_like_a_voltage_command() {
    let mut rig = Rig::new(Image::S3Version7);
    rig.task(
        false,
        0,
        vec![
            dropped_entry(1),
            dropped_entry(2),
            entry(3),
            dropped_entry(4),
            entry(5),
        ],
    );
    rig.run(ms(40));
    assert_eq!(rig.controller.sent[0].newest(1), None);
    assert_eq!(rig.controller.sent[0].newest(3), Some(&entry(3)));
    assert_eq!(rig.controller.ring.unsent(), 2);
    rig.run(ms(40));
    assert_eq!(rig.controller.sent[0].newest(5), Some(&entry(5)));
    assert!(rig.controller.ring.is_empty());
}

#[test]
fn the_last_such_work_is_sent_changed_and_yields_only_errors() {
    let mut errors = 0;
    for id in 0..20 {
        let mut rig = Rig::new(Image::S3Version7);
        rig.task(false, 0, vec![dropped_entry(id)]);
        rig.run(ms(79));
        assert!(
            rig.nonces().is_empty(),
            "what the chips find solves another work"
        );
        errors += rig.status().nonce_errors;
    }
    assert!((5..40).contains(&errors), "{errors} in 20 works");
}

#[test]
fn an_s1_runs_works_that_an_s3_throws_away() {
    for image in BOTH_S1 {
        let mut rig = Rig::new(image);
        let works: Vec<_> = (1..=8).map(dropped_entry).collect();
        rig.task(false, 0, works);
        let nonces = rig.run_collecting(ms(200));
        assert!(!nonces.is_empty());
        assert_eq!(rig.status().nonce_errors, 0);
    }
}

#[test]
fn restart_bytes_are_obeyed_by_the_newer_images_only() {
    let restart = [0x55, 0xaa, 0xaa, 0xbb];
    for (image, effect) in [
        (Image::S1Of2013, PacketEffect::None),
        (Image::S1Of2014, PacketEffect::Restart),
        (Image::S3Version7, PacketEffect::Restart),
    ] {
        let mut rig = Rig::new(image);
        assert_eq!(rig.bytes(&restart), effect, "{image:?}");
        assert_eq!(
            rig.bytes(&[&restart[..], &[0]].concat()),
            PacketEffect::None
        );
        assert_eq!(rig.status().fifo_space, image.model().fifo_depth());
    }
}

#[test]
fn an_over_long_token_silences_the_controller_for_good() {
    let mut rig = Rig::new(Image::S3Version7);
    let mut token = vec![0; 512];
    token[0] = 0x52;
    token[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
    rig.bytes(&token);
    rig.query(RxStatus::DETECT);
    assert_eq!(rig.reply(), None);
}

#[test]
fn a_bad_token_is_dropped_without_a_reply() {
    for image in ALL {
        let mut rig = Rig::new(image);
        let mut poll = RxStatus::POLL.encode(image.layout()).to_vec();
        *poll.last_mut().unwrap() ^= 1;
        rig.bytes(&poll);
        rig.bytes(&[0x50; 20]);
        assert_eq!(rig.reply(), None);
        rig.query(RxStatus::POLL);
        assert!(rig.reply().is_some(), "the next token is understood");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_leave_every_bound_in_place(
        image in prop_oneof![Just(Image::S1Of2013), Just(Image::S1Of2014), Just(Image::S3Version7)],
        transfers in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                (any::<bool>(), any::<u8>(), 0usize..9).prop_map(|(new_block, diff, count)| {
                    let works = (0..count as u32).map(entry).collect();
                    TxTask { new_block, diff, works }.encode().to_vec()
                }),
                (any::<u8>(), any::<u8>(), any::<u16>(), any::<bool>()).prop_map(|(flags, timeout_ms, word, s3)| {
                    let config = TxConfig {
                        flags: ConfigFlags::from_bits(flags),
                        timeout_ms,
                        reg_data: [(word >> 8) as u8, word as u8, 0, 0],
                        reg_address: 4,
                        ..TxConfig::default()
                    };
                    config.encode(if s3 { Layout::S3 } else { Layout::S1 }).to_vec()
                }),
                any::<bool>().prop_map(|s3| RxStatus::DETECT.encode(if s3 { Layout::S3 } else { Layout::S1 }).to_vec()),
            ],
            0..30,
        ),
    ) {
        let mut rig = Rig::with_zero_bits(image, 8);
        for transfer in &transfers {
            rig.bytes(transfer);
            rig.run(ms(15));
            if let Some(reply) = rig.controller.collect() {
                prop_assert!(Reply::decode(image.layout(), &reply).is_ok());
                prop_assert!(reply.len() <= 274 && !reply.len().is_multiple_of(64));
            }
            let model = image.model();
            prop_assert!(rig.controller.ring.space() <= model.fifo_depth() as usize);
            prop_assert!(rig.controller.nonces.len() <= model.nonce_queue());
            prop_assert!(rig.controller.wanted.len() <= 2);
        }
    }
}
