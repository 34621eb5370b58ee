//! What a host collects, and in which order.

use super::*;
use crate::vectors::{bytes, vectors};

fn packet(layout: &str, name: &str) -> Vec<u8> {
    let vectors = vectors();
    let packets = vectors["packets"].as_array().unwrap();
    let packet = packets
        .iter()
        .find(|packet| packet["layout"] == layout && packet["name"] == name)
        .unwrap();
    bytes(&packet["hex"])
}

/// Fills the nonce queue with `count` nonces by hand.
fn queue(rig: &mut Rig, count: u32) {
    for i in 0..count {
        rig.controller.nonces.push_back(FoundNonce {
            work_id: 1000 + i,
            nonce: Nonce(i),
        });
    }
}

#[test]
fn an_idle_controller_has_no_reply_until_it_is_asked() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.run(Duration::from_secs(60));
        assert_eq!(rig.reply(), None);
        rig.query(RxStatus::POLL);
        assert!(matches!(rig.reply(), Some(Reply::Status(_))));
        assert_eq!(rig.reply(), None);
    }
}

#[test]
fn a_running_controller_answers_every_poll_with_the_recorded_empty_reply() {
    for (image, layout) in [
        (Image::S1Of2013, "S1"),
        (Image::S1Of2014, "S1"),
        (Image::S3Version7, "S3"),
    ] {
        let mut rig = Rig::new(image);
        rig.task(true, 0, vec![]);
        for _ in 0..5 {
            assert_eq!(
                rig.controller.collect().unwrap(),
                packet(layout, "nonce_empty")
            );
        }
        rig.run(ms(80));
        rig.controller.collect();
        assert_eq!(rig.controller.collect(), None, "the run is over");
    }
}

#[test]
fn the_packet_of_another_project_is_a_flush_without_works() {
    let mut rig = Rig::new(Image::S3Version7);
    rig.works(8);
    rig.bytes(&packet("S3", "hasher_txtask_51"));
    assert!(rig.controller.ring.is_empty());
    assert!(rig.controller.running.is_some());
}

#[test]
fn a_fresh_status_is_the_recorded_one_but_for_the_weather() {
    for (image, layout, name) in [
        (Image::S1Of2013, "S1", "status_2_chains_old_image"),
        (Image::S1Of2014, "S1", "status_2_chains_version_7"),
        (Image::S3Version7, "S3", "status_2_chains"),
    ] {
        let mut rig = Rig::new(image);
        rig.run(ms(1));
        let Ok(Reply::Status(recorded)) = Reply::decode(image.layout(), &packet(layout, name))
        else {
            panic!("{name} is a status");
        };
        let mut status = rig.status();
        assert_eq!(status.temperatures, [25, 25]);
        assert!(status.fans.iter().all(|rps| (10..60).contains(rps)));
        status.temperatures = recorded.temperatures.clone();
        assert_eq!(status.fans.len(), recorded.fans.len());
        status.fans = recorded.fans.clone();
        assert_eq!(status, recorded, "{image:?}");
    }
}

#[test]
fn the_s3_form_is_ignored_by_an_s1_and_the_reverse() {
    for image in ALL {
        let other = match image.layout() {
            Layout::S1 => Layout::S3,
            Layout::S3 => Layout::S1,
        };
        let mut rig = Rig::new(image);
        rig.bytes(&RxStatus::DETECT.encode(other));
        assert_eq!(rig.reply(), None);
    }
}

#[test]
fn two_queries_before_a_poll_get_one_reply() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.query(RxStatus::POLL);
        rig.query(RxStatus::POLL);
        assert!(matches!(rig.reply(), Some(Reply::Status(_))));
        assert_eq!(rig.reply(), None);
    }
}

#[test]
fn queued_nonces_come_before_a_status_and_a_status_before_empty_replies() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.works(8);
        let most = image.model().nonces_per_reply();
        queue(&mut rig, most as u32 + 3);
        rig.query(RxStatus::POLL);
        let kinds: Vec<_> = (0..5)
            .map(|_| match rig.reply().unwrap() {
                Reply::Nonces(reply) => reply.nonces.len() as i32,
                Reply::Status(_) => -1,
            })
            .collect();
        // The first was armed when the works came.
        assert_eq!(kinds, [0, most as i32, 3, -1, 0], "{image:?}");
    }
}

#[test]
fn a_reply_carries_at_most_7_or_32_nonces_and_the_queue_holds_128_or_224() {
    for (image, per_reply, queued) in [
        (Image::S1Of2013, 7, 128),
        (Image::S1Of2014, 7, 128),
        (Image::S3Version7, 32, 224),
    ] {
        let mut rig = Rig::new(image);
        let known = entry(9);
        rig.task(false, 0, vec![known]);
        rig.run(ms(40));
        let (chain, nonce) = (0, solve(&known.work, 12));
        for _ in 0..300 {
            rig.controller
                .take_chip_reply(chain, crate::sim::chain::chip_reply(nonce.w3(), 9));
        }
        assert_eq!(rig.controller.nonces.len(), queued, "{image:?}");
        let mut sizes = Vec::new();
        while let Some(Reply::Nonces(reply)) = rig.reply() {
            if reply.nonces.is_empty() && sizes.len() > 1 {
                break;
            }
            sizes.push(reply.nonces.len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), queued);
        assert_eq!(sizes.iter().copied().max(), Some(per_reply));
    }
}

#[test]
fn an_s1_keeps_its_nonces_back_while_its_timer_is_off() {
    for image in ALL {
        let mut rig = Rig::new(image);
        rig.works(2);
        rig.run(ms(160));
        while rig.controller.collect().is_some() {}
        assert!(rig.controller.running.is_none());
        queue(&mut rig, 3);
        rig.query(RxStatus::POLL);
        let first = rig.reply().unwrap();
        match image {
            Image::S3Version7 => assert!(matches!(first, Reply::Nonces(r) if r.nonces.len() == 3)),
            _ => {
                assert!(matches!(first, Reply::Status(_)));
                assert_eq!(rig.reply(), None);
                rig.task(true, 0, vec![]);
                let nonces = rig.nonces();
                let kept = nonces.iter().filter(|found| found.work_id >= 1000);
                assert_eq!(kept.count(), 3, "delivered with the next run");
            }
        }
    }
}

#[test]
fn an_armed_reply_is_frozen_until_it_is_collected() {
    for image in ALL {
        let mut rig = Rig::new(image);
        let depth = image.model().fifo_depth() as usize;
        rig.works(depth - 100); // armed by the first of these tasks
        let Some(Reply::Nonces(stale)) = rig.reply() else {
            panic!("running");
        };
        assert_eq!(stale.fifo_space, 255);
        let Some(Reply::Nonces(fresh)) = rig.reply() else {
            panic!("running");
        };
        assert_eq!(fresh.fifo_space, 100);
    }
}

#[test]
fn a_detect_flag_in_the_wrong_bit_order_is_a_plain_poll() {
    let mut rig = Rig::new(Image::S1Of2013);
    rig.works(8);
    rig.bytes(&packet("S1", "detect_flag_msb_first"));
    assert_eq!(rig.controller.ring.unsent(), 8);
}
