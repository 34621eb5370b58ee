//! Temperatures, fans, the stop when hot, and chip health.

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Keeps the ring from running dry for so long.
fn hash_for(rig: &mut Rig, time: Duration) {
    let end = rig.controller.now() + time;
    while rig.controller.now() < end {
        let space = rig.controller.ring.space();
        while rig
            .controller
            .collect()
            .is_some_and(|reply| reply[0] == 0xa1)
        {}
        if space > 60 {
            rig.works(40);
        }
        rig.run(ms(400).min(end - rig.controller.now()));
    }
}

/// Works taken from the ring within a second.
fn works_in_a_second(rig: &mut Rig) -> usize {
    rig.works(40);
    let before = rig.controller.ring.unsent();
    rig.run(ms(400));
    before - rig.controller.ring.unsent()
}

#[test]
fn sensors_are_read_every_5_or_10_seconds() {
    for (image, period) in [(Image::S1Of2013, 5), (Image::S3Version7, 10)] {
        let mut rig = Rig::with_zero_bits(image, 8);
        rig.climate.set_room(60.0);
        hash_for(&mut rig, ms(period * 1000 - 100));
        assert_eq!(rig.controller.sensors, [25, 25], "read at the start");
        hash_for(&mut rig, ms(200));
        assert!(rig.controller.sensors[0] > 30, "{image:?}");
    }
}

#[test]
fn the_fan_follows_the_hottest_sensor() {
    for image in ALL {
        let mut rig = Rig::with_zero_bits(image, 8);
        rig.run(ms(1));
        let slow = rig.status().fans[0];
        rig.climate.set_room(65.0);
        rig.run(seconds(120));
        let fast = rig.status().fans[0];
        assert_eq!(fast, 60, "full speed at 60 °C");
        assert!((10..40).contains(&slow), "{slow}");
    }
}

#[test]
fn the_oldest_image_feeds_its_chips_however_hot_they_are() {
    let mut rig = Rig::with_zero_bits(Image::S1Of2013, 8);
    rig.climate.set_room(100.0);
    hash_for(&mut rig, seconds(120));
    assert!(rig.controller.hottest() > 90);
    assert_eq!(works_in_a_second(&mut rig), 20);
}

#[test]
fn the_newer_images_stop_feeding_at_80_degrees_and_go_on_when_cooler() {
    for image in [Image::S1Of2014, Image::S3Version7] {
        let mut rig = Rig::with_zero_bits(image, 8);
        rig.climate.set_room(90.0);
        hash_for(&mut rig, seconds(90));
        assert_eq!(works_in_a_second(&mut rig), 0, "{image:?}");
        assert!(
            rig.controller.running.is_some(),
            "still running, only not feeding"
        );
        rig.climate.set_room(25.0);
        hash_for(&mut rig, seconds(120));
        assert!(rig.controller.hottest() < 80);
        assert_eq!(works_in_a_second(&mut rig), 20);
    }
}

#[test]
fn which_sensor_counts_depends_on_the_image_and_on_temp_over_ctrl() {
    let hot_first = [85, 40];
    let hot_second = [40, 85];
    for (image, ctrl, sensors, stops) in [
        (Image::S1Of2013, false, hot_second, false),
        (Image::S1Of2014, false, hot_first, false),
        (Image::S1Of2014, false, hot_second, true),
        (Image::S3Version7, false, hot_first, true),
        (Image::S3Version7, false, hot_second, true),
        (Image::S3Version7, true, hot_first, false),
        (Image::S3Version7, true, hot_second, true),
    ] {
        let mut rig = Rig::with_zero_bits(image, 8);
        rig.configure(TxConfig {
            control: ControlFlags {
                temp_over_ctrl: ctrl,
                ..ControlFlags::default()
            },
            ..TxConfig::default()
        });
        rig.run(ms(1));
        rig.controller.sensors = sensors;
        let fed = works_in_a_second(&mut rig) > 0;
        assert_eq!(fed, !stops, "{image:?} {ctrl} {sensors:?}");
    }
}

#[test]
fn a_later_config_without_temp_over_ctrl_switches_it_off() {
    let mut rig = Rig::new(Image::S3Version7);
    rig.configure(TxConfig {
        control: ControlFlags {
            temp_over_ctrl: true,
            ..ControlFlags::default()
        },
        ..TxConfig::default()
    });
    assert!(rig.controller.temp_over_ctrl);
    assert!(!rig.controller.verifies);
    rig.configure(timeout(18));
    assert!(!rig.controller.temp_over_ctrl);
    assert!(rig.controller.verifies);
}

#[test]
fn a_dead_chip_leaves_the_status_bitmap_and_can_come_back() {
    let mut rig = Rig::with_zero_bits(Image::S3Version7, 8);
    rig.controller.kill_chip(1, 3);
    hash_for(&mut rig, seconds(59));
    assert_eq!(
        rig.controller.chip_status,
        [0xffff, 0xffff],
        "not judged yet"
    );
    hash_for(&mut rig, seconds(2));
    assert_eq!(rig.controller.chip_status, [0xffff, 0xfff7]);
    let healthy: Vec<_> = rig.status().chains.iter().map(|c| c.healthy[0]).collect();
    assert_eq!(healthy, [0xffff, 0xfff7]);
    rig.controller.chip_nonces = [[20; 32]; 2];
    rig.run(seconds(60));
    assert_eq!(
        rig.controller.chip_status,
        [0xffff, 0xfff7],
        "idle: not judged"
    );
    hash_for(&mut rig, seconds(1));
    rig.controller.chip_nonces = [[20; 32]; 2];
    rig.controller.judge_chips();
    assert_eq!(rig.controller.chip_status, [0xffff, 0xffff]);
}

#[test]
fn an_s1_judges_its_chips_only_after_100_nonces_each() {
    let mut rig = Rig::new(Image::S1Of2013);
    rig.task(true, 0, vec![]);
    rig.controller.chip_nonces = [[100; 32]; 2];
    rig.controller.chip_nonces[0][5] = 0;
    rig.controller.judge_chips();
    assert_eq!(rig.controller.chip_status, [u32::MAX; 2]);
    rig.controller.chip_nonces = [[104; 32]; 2];
    rig.controller.chip_nonces[0][5] = 0;
    rig.controller.judge_chips();
    assert_eq!(rig.controller.chip_status, [!(1 << 5), u32::MAX]);
}

#[test]
fn a_config_with_a_pll_word_changes_the_yield_of_a_work() {
    let mut rig = Rig::new(Image::S3Version7);
    for (word, address, mhz) in [
        ([0x07, 0x83, 0, 0], 4, 100.0),
        ([0x11, 0x06, 0, 0], 3, 100.0),
        ([0x11, 0x06, 0, 0], 4, 218.75),
    ] {
        rig.configure(TxConfig {
            flags: ConfigFlags {
                chip_config: true,
                ..ConfigFlags::default()
            },
            reg_data: word,
            reg_address: address,
            ..TxConfig::default()
        });
        rig.works(1);
        rig.run(ms(40));
        let load = rig.controller.load()[0];
        assert!((load - mhz / 218.75).abs() < 1e-9, "{word:?} {address}");
    }
}
