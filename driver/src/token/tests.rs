use hasher_work::{Midstate, Nonce, Tail, Work, to_hex};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::vectors::{bytes, number, vectors};

fn layout(packet: &Value) -> Layout {
    match packet["layout"].as_str() {
        Some("S1") => Layout::S1,
        Some("S3") => Layout::S3,
        other => panic!("unknown layout {other:?}"),
    }
}

/// Packets of the file that a controller drops, or takes for something else.
const DROPPED: [&str; 7] = [
    "bad_crc_txconfig",
    "crc_bytes_swapped",
    "unknown_token_50",
    "s3_form_sent_to_s1",
    "s1_form_sent_to_s3",
    "hasher_rxstatus_16",
    "hasher_txconfig_28",
];
const READ_LENIENTLY: [&str; 2] = ["detect_flag_msb_first", "hasher_txtask_51"];

#[test]
fn every_packet_of_the_vectors_is_read_and_written_bit_for_bit() {
    let vectors = vectors();
    let packets = vectors["packets"].as_array().unwrap();
    assert_eq!(packets.len(), 45);
    let mut dropped = Vec::new();
    for packet in packets {
        let name = packet["name"].as_str().unwrap();
        let (layout, wire) = (layout(packet), bytes(&packet["hex"]));
        let from_host = packet["direction"] == "host_to_device";
        let again = if from_host {
            Request::decode(layout, &wire).map(|request| request.encode(layout))
        } else {
            Reply::decode(layout, &wire).map(|reply| reply.encode(layout))
        };
        match again {
            Ok(again) if !READ_LENIENTLY.contains(&name) => {
                assert_eq!(to_hex(&again), to_hex(&wire), "{layout} {name}");
            }
            Ok(_) => {}
            Err(_) => dropped.push(name),
        }
        if from_host && !DROPPED.contains(&name) {
            let announced = Request::announced_length(layout, &wire);
            assert_eq!(announced, Some(wire.len()), "{layout} {name}");
        }
        if packet["valid"] == true {
            let (body, end) = wire.split_last_chunk::<2>().unwrap();
            assert_eq!(u64::from(crc::token(body)), number(&packet["crc16"]));
            assert_eq!(crc::token(body), u16::from_le_bytes(*end));
        } else {
            assert!(matches!(
                Request::decode(layout, &wire),
                Err(TokenError::BadChecksum(_))
            ));
        }
    }
    dropped.sort_unstable();
    let mut expected = DROPPED;
    expected.sort_unstable();
    assert_eq!(dropped, expected);
}

#[test]
fn fields_of_the_vectors_are_the_fields_that_are_read() {
    let mut checked = 0;
    for packet in vectors()["packets"].as_array().unwrap() {
        let name = packet["name"].as_str().unwrap();
        let (layout, wire) = (layout(packet), bytes(&packet["hex"]));
        let decoded = if packet["direction"] == "host_to_device" {
            match Request::decode(layout, &wire) {
                Ok(request) => request_fields(&request),
                Err(_) => continue,
            }
        } else {
            reply_fields(&Reply::decode(layout, &wire).unwrap())
        };
        for (field, expected) in packet["fields"].as_object().unwrap() {
            match field.as_str() {
                // What follows from other fields or is no content of the packet.
                "works" | "usb_packets" | "reset" | "hw_error_eft" | "beeper_ctrl" => continue,
                "flags" if name == "detect_flag_msb_first" => continue,
                "version" => {
                    assert_eq!(&decoded["hw_version"][0], expected, "{layout} {name}");
                }
                "voltage" if layout == Layout::S1 => {
                    let expected = format!("{:04x}", expected.as_u64().unwrap());
                    assert_eq!(decoded["voltage"], expected, "{name}");
                }
                _ => assert_eq!(&decoded[field], expected, "{layout} {name} {field}"),
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} fields were compared");
}

fn request_fields(request: &Request) -> Value {
    match request {
        Request::Config(config) => serde_json::json!({
            "flags": config.flags.bits(),
            "flags2": config.control.bits(),
            "chain_num": config.chain_num,
            "asic_num": config.asic_num,
            "fan_pwm": config.fan_pwm,
            "timeout_ms": config.timeout_ms,
            "frequency": config.frequency_mhz,
            "voltage": format!("{:04x}", config.voltage.0),
            "chain_check_time": config.chain_check_time,
            "reg_data": to_hex(&config.reg_data),
            "chip_address": config.chip_address,
            "reg_address": config.reg_address,
        }),
        Request::Task(task) => serde_json::json!({
            "new_block": task.new_block,
            "diff": task.diff,
            "work_ids": task.works.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        }),
        Request::Status(query) => serde_json::json!({
            "flags": u8::from(query.chip_status) | u8::from(query.detect) << 1,
            "detect_get": query.detect,
            "chip_status_eft": query.chip_status,
            "chip_address": query.chip_address,
            "reg_address": query.reg_address,
        }),
    }
}

fn reply_fields(reply: &Reply) -> Value {
    let bitmap = |words: &[u32]| words.iter().map(|w| format!("{w:08x}")).collect::<String>();
    match reply {
        Reply::Status(status) => serde_json::json!({
            "fifo_space": status.fifo_space,
            "hw_version": status.version,
            "fan_exist": status.fans_exist,
            "temp_exist": status.temperatures_exist,
            "nonce_error": status.nonce_errors,
            "chain_num": status.chains.len(),
            "chain_asic_exist": status.chains.iter().map(|c| bitmap(&c.exist)).collect::<Vec<_>>(),
            "chain_asic_status": status.chains.iter().map(|c| bitmap(&c.healthy)).collect::<Vec<_>>(),
            "chain_asic_num": status.chains.iter().map(|c| c.asic_num).collect::<Vec<_>>(),
            "temps": status.temperatures,
            "fans": status.fans,
            "fan_rpm": status.fans.iter().map(|&f| u32::from(f) * 60).collect::<Vec<_>>(),
        }),
        Reply::Nonces(reply) => serde_json::json!({
            "fifo_space": reply.fifo_space,
            "diff": reply.diff,
            "total_nonce_num": reply.total_nonces,
            "nonces": reply.nonces.iter()
                .map(|f| (f.work_id, format!("{:08x}", f.nonce.w3())))
                .collect::<Vec<_>>(),
        }),
    }
}

#[test]
fn packets_that_were_misread_before_are_read_as_the_controller_reads_them() {
    let vectors = vectors();
    let find = |name: &str| {
        let packets = vectors["packets"].as_array().unwrap();
        let packet = packets.iter().find(|p| p["name"] == name).unwrap();
        Request::decode(layout(packet), &bytes(&packet["hex"])).unwrap()
    };
    assert_eq!(
        find("detect_flag_msb_first"),
        Request::Status(RxStatus::POLL)
    );
    let flush = TxTask {
        new_block: true,
        ..TxTask::default()
    };
    // Its byte 5 is junk to the S1 and a difficulty to the S3; there is no work.
    match find("hasher_txtask_51") {
        Request::Task(task) => assert_eq!((task.new_block, task.works.len()), (true, 0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(find("txtask_0_works_new_block_flush"), Request::Task(flush));
}

#[test]
fn works_of_the_vectors_travel_bit_for_bit() {
    let vectors = vectors();
    let works = vectors["works"].as_array().unwrap();
    assert_eq!(works.len(), 11);
    for entry in works {
        let name = &entry["name"];
        let id = u32::try_from(entry["work_id"].as_u64().unwrap()).unwrap();
        let work = Work {
            midstate: Midstate::from_wire(bytes(&entry["midstate_wire"]).try_into().unwrap()),
            tail: Tail::from_wire(bytes(&entry["data_wire"]).try_into().unwrap()),
        };
        let task = TxTask {
            new_block: true,
            diff: 0,
            works: vec![WorkEntry { id, work }],
        };
        let nonce = Nonce::from_wire(bytes(&entry["nonce"]["wire_bytes"]).try_into().unwrap());
        let reply = Reply::Nonces(NonceReply {
            fifo_space: 255,
            nonces: vec![FoundNonce { work_id: id, nonce }],
            ..NonceReply::default()
        });
        for (layout, wire_task, wire_reply) in [
            (Layout::S1, "s1_txtask", "s1_nonce_reply"),
            (Layout::S3, "s3_txtask", "s3_nonce_reply"),
        ] {
            let wire = bytes(&entry[wire_task]);
            assert_eq!(to_hex(&task.encode()), to_hex(&wire), "{name}");
            assert_eq!(
                Request::decode(layout, &wire),
                Ok(Request::Task(task.clone()))
            );
            let wire = bytes(&entry[wire_reply]);
            assert_eq!(to_hex(&reply.encode(layout)), to_hex(&wire), "{name}");
            assert_eq!(Reply::decode(layout, &wire), Ok(reply.clone()), "{name}");
        }
        assert!(work.verify(nonce, 32).is_some(), "{name}");
        let item = to_hex(&task.encode()[8..56]);
        assert_eq!(item, entry["work_item_wire"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn voltage_is_decimal_digits() {
    assert_eq!(Voltage::from_millivolts(725), Some(Voltage(0x0725)));
    assert_eq!(Voltage(0x0735).millivolts(), Some(735));
    assert_eq!(Voltage(0x073a).millivolts(), None);
    assert_eq!(Voltage::from_millivolts(10_000), None);
}

#[test]
fn an_empty_chain_may_have_no_word_or_one() {
    let chain = |asic_num, words: usize| ChainStatus {
        asic_num,
        exist: vec![1; words],
        healthy: vec![1; words],
    };
    for words in [0, 1] {
        let status = Reply::Status(StatusReply {
            chains: vec![chain(0, words), chain(16, 1)],
            ..StatusReply::default()
        });
        assert_eq!(
            Reply::decode(Layout::S3, &status.encode(Layout::S3)),
            Ok(status)
        );
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    prop_oneof![Just(Layout::S1), Just(Layout::S3)]
}

fn any_request() -> impl Strategy<Value = Request> {
    let config = (
        any::<[u8; 8]>(),
        any::<u16>(),
        any::<u8>(),
        any::<[u8; 4]>(),
        any::<[u8; 2]>(),
    )
        .prop_map(
            |(small, frequency_mhz, voltage, reg_data, addresses)| TxConfig {
                flags: ConfigFlags::from_bits(small[0]),
                control: ControlFlags::from_bits(small[1]),
                chain_check_time: small[2],
                chain_num: small[3],
                asic_num: small[4],
                fan_pwm: small[5],
                timeout_ms: small[6],
                frequency_mhz,
                voltage: Voltage(u16::from(voltage)),
                reg_data,
                chip_address: addresses[0],
                reg_address: addresses[1],
            },
        );
    let work = (any::<u32>(), any::<[u32; 8]>(), any::<[u32; 3]>()).prop_map(|(id, m, t)| {
        let work = Work {
            midstate: Midstate(m),
            tail: Tail(t),
        };
        WorkEntry { id, work }
    });
    let task = (
        any::<bool>(),
        any::<u8>(),
        proptest::collection::vec(work, 0..=MAX_WORKS_PER_TASK),
    )
        .prop_map(|(new_block, diff, works)| TxTask {
            new_block,
            diff,
            works,
        });
    let query = any::<(bool, bool, u8, u8)>().prop_map(
        |(chip_status, detect, chip_address, reg_address)| RxStatus {
            chip_status,
            detect,
            chip_address,
            reg_address,
        },
    );
    prop_oneof![
        config.prop_map(Request::Config),
        task.prop_map(Request::Task),
        query.prop_map(Request::Status),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_wire(layout in any_layout(), request in any_request()) {
        let wire = request.encode(layout);
        prop_assert!(wire.len() <= crate::transport::MAX_OUT_BYTES);
        prop_assert_ne!(wire.len() % 64, 0, "no request needs a zero-length packet");
        prop_assert_eq!(Request::announced_length(layout, &wire), Some(wire.len()));
        let mut expected = request;
        if let (Layout::S1, Request::Config(config)) = (layout, &mut expected) {
            config.control = ControlFlags::default(); // an S1 does not carry it
        }
        prop_assert_eq!(Request::decode(layout, &wire), Ok(expected));
    }

    #[test]
    fn nonce_replies_survive_the_wire(
        layout in any_layout(),
        space in any::<u8>(),
        extra in any::<(u16, u64)>(),
        nonces in proptest::collection::vec(any::<(u32, u32)>(), 0..8),
    ) {
        let (diff, total_nonces) = if layout == Layout::S1 { (0, 0) } else { extra };
        let nonces = nonces.into_iter()
            .map(|(work_id, nonce)| FoundNonce { work_id, nonce: Nonce(nonce) })
            .collect();
        let reply = Reply::Nonces(NonceReply { fifo_space: space.into(), diff, total_nonces, nonces });
        prop_assert_eq!(Reply::decode(layout, &reply.encode(layout)), Ok(reply));
    }

    #[test]
    fn status_replies_survive_the_wire(
        layout in any_layout(),
        flags in any::<(bool, [u8; 4], u16)>(),
        words in any::<[u32; 6]>(),
        chips in proptest::collection::vec(1u8..=64, 0..5),
        readings in any::<([u8; 2], [u8; 2])>(),
    ) {
        let (chip_value, version, fifo_space) = flags;
        let s1 = layout == Layout::S1;
        let reply = Reply::Status(StatusReply {
            chip_value,
            block_count: if s1 { 0 } else { 9 },
            version: if s1 { [version[0], 0, 0, 0] } else { version },
            fifo_space: fifo_space.into(),
            nonce_errors: words[0],
            reg_value: words[1],
            chains: chips.into_iter().map(|asic_num| {
                let count = if s1 { 1 } else { usize::from(asic_num).div_ceil(32) };
                ChainStatus {
                    asic_num,
                    exist: if s1 { vec![] } else { vec![words[2]; count] },
                    healthy: vec![words[3]; count],
                }
            }).collect(),
            temperatures: readings.0.to_vec(),
            fans: readings.1.to_vec(),
            temperatures_exist: if s1 { 0 } else { words[4] },
            fans_exist: if s1 { 0 } else { words[5] as u16 },
        });
        prop_assert_eq!(Reply::decode(layout, &reply.encode(layout)), Ok(reply));
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(
        layout in any_layout(),
        kind in prop_oneof![Just(0x51u8), Just(0x52), Just(0x53), Just(0xa1), Just(0xa2), any::<u8>()],
        mut body in proptest::collection::vec(any::<u8>(), 0..300),
        repair in any::<bool>(),
    ) {
        body.insert(0, kind);
        if repair {
            // Let the length and the checksum fit, so that the fields are reached.
            let total = body.len() + 2;
            if layout == Layout::S3 || kind == 0x52 {
                if body.len() >= 4 {
                    body[1] = 0;
                    body[2..4].copy_from_slice(&(total.saturating_sub(4) as u16).to_le_bytes());
                }
            } else if body.len() >= 2 {
                body[1] = (total - 2) as u8;
            }
            let crc = crc::token(&body);
            body.extend(crc.to_le_bytes());
        }
        let _ = Request::decode(layout, &body);
        if let Ok(reply) = Reply::decode(layout, &body) {
            prop_assert_eq!(Reply::decode(layout, &reply.encode(layout)), Ok(reply));
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(layout in any_layout(), request in any_request(), at in any::<prop::sample::Index>()) {
        let wire = request.encode(layout);
        let mut damaged = wire.to_vec();
        let bit = at.index(wire.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Request::decode(layout, &damaged).is_err());
    }
}
