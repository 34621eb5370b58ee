use super::*;
use proptest::prelude::*;

const SET_CONFIGURATION: [u8; 8] = [0x00, 9, 1, 0, 0, 0, 0, 0];
const CLEAR_HALT_IN: [u8; 8] = [0x02, 1, 0, 0, 0x81, 0, 0, 0];
const CLEAR_HALT_OUT: [u8; 8] = [0x02, 1, 0, 0, 0x01, 0, 0, 0];

fn application() -> Transfers {
    Transfers::new(Program::Application, Faults::default())
}

fn faulty(fault: &str) -> Transfers {
    let mut transfers = application();
    transfers.set_fault(fault.parse().unwrap());
    transfers
}

fn input(transfers: &mut Transfers, sequence: u32, length: usize) {
    assert!(transfers.request(Request::Submit(Submit {
        sequence: Sequence(sequence),
        endpoint: 1,
        direction: Direction::In,
        length,
        setup: [0; 8],
        data: Bytes::new(),
    })));
}

fn output(transfers: &mut Transfers, sequence: u32, data: &'static [u8]) {
    assert!(transfers.request(Request::Submit(Submit {
        sequence: Sequence(sequence),
        endpoint: 1,
        direction: Direction::Out,
        length: data.len(),
        setup: [0; 8],
        data: Bytes::from_static(data),
    })));
}

fn control(transfers: &mut Transfers, setup: [u8; 8]) -> Status {
    assert!(transfers.request(Request::Submit(Submit {
        sequence: Sequence(0xC0),
        endpoint: 0,
        direction: Direction::Out,
        length: 0,
        setup,
        data: Bytes::new(),
    })));
    match transfers.next_response() {
        Some(Response::Submit { status, .. }) => status,
        other => panic!("{other:?}"),
    }
}

/// All responses so far: sequence, status, actual length.
fn ended(transfers: &mut Transfers) -> Vec<(u32, Status, usize)> {
    std::iter::from_fn(|| transfers.next_response())
        .map(|response| match response {
            Response::Submit {
                sequence,
                status,
                actual_length,
                ..
            } => (sequence.0, status, actual_length),
            Response::Unlink { sequence, status } => (sequence.0, status, 0),
        })
        .collect()
}

fn reply(length: usize) -> Bytes {
    (0..length).map(|at| at as u8).collect()
}

#[test]
fn an_in_transfer_waits_for_a_reply_and_ends_at_its_short_packet() {
    let mut transfers = application();
    input(&mut transfers, 1, 512);
    assert_eq!(ended(&mut transfers), []);
    transfers.arm(reply(18));
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 18)]);
}

#[test]
fn a_small_transfer_takes_whole_packets_and_leaves_the_rest() {
    let mut transfers = application();
    transfers.arm(reply(274));
    input(&mut transfers, 1, 64);
    input(&mut transfers, 2, 512);
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::Ok, 64), (2, Status::Ok, 210)]
    );
}

#[test]
fn a_transfer_too_small_for_a_packet_babbles() {
    let mut transfers = application();
    input(&mut transfers, 1, 16);
    transfers.arm(reply(18));
    assert_eq!(ended(&mut transfers), [(1, Status::Babble, 16)]);
}

#[test]
fn a_reply_of_full_packets_only_leaves_the_transfer_open() {
    let mut transfers = application();
    input(&mut transfers, 1, 512);
    transfers.arm(reply(128));
    assert_eq!(ended(&mut transfers), []);
    transfers.arm(reply(10));
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 138)]);
}

#[test]
fn the_board_is_asked_for_one_reply_ahead_only() {
    let mut transfers = application();
    assert!(transfers.can_arm());
    transfers.arm(reply(18));
    assert!(!transfers.can_arm());
    // An OUT transfer on its way must not wait for the host to read.
    output(&mut transfers, 1, b"poll");
    assert!(transfers.next_out().is_some());
    assert!(transfers.can_arm());
}

#[test]
fn an_out_transfer_ends_when_the_board_took_it() {
    let mut transfers = application();
    output(&mut transfers, 1, b"first");
    output(&mut transfers, 2, b"second");
    assert_eq!(transfers.next_out().as_deref(), Some(&b"first"[..]));
    assert_eq!(transfers.next_out(), None);
    assert_eq!(ended(&mut transfers), []);
    transfers.out_taken();
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 5)]);
    assert_eq!(transfers.next_out().as_deref(), Some(&b"second"[..]));
}

#[test]
fn a_zero_length_packet_is_taken_without_the_board() {
    let mut transfers = application();
    output(&mut transfers, 1, b"");
    assert_eq!(transfers.next_out(), None);
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 0)]);
}

#[test]
fn unlinking_a_waiting_transfer_answers_once_and_never_the_transfer() {
    let mut transfers = application();
    input(&mut transfers, 1, 512);
    assert!(transfers.request(Request::Unlink {
        sequence: Sequence(2),
        victim: Sequence(1),
    }));
    transfers.arm(reply(18));
    assert_eq!(ended(&mut transfers), [(2, Status::Unlinked, 0)]);
}

#[test]
fn unlinking_a_finished_transfer_is_answered_too() {
    let mut transfers = application();
    input(&mut transfers, 1, 512);
    transfers.arm(reply(18));
    assert!(transfers.request(Request::Unlink {
        sequence: Sequence(2),
        victim: Sequence(1),
    }));
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::Ok, 18), (2, Status::Ok, 0)]
    );
}

#[test]
fn unlinking_what_the_board_is_taking_ends_it_once() {
    let mut transfers = application();
    output(&mut transfers, 1, b"token");
    transfers.next_out().unwrap();
    assert!(transfers.request(Request::Unlink {
        sequence: Sequence(2),
        victim: Sequence(1),
    }));
    transfers.out_taken();
    assert_eq!(ended(&mut transfers), [(2, Status::Unlinked, 0)]);
}

#[test]
fn a_stall_holds_until_the_host_clears_it() {
    let mut transfers = faulty("stall in");
    assert_eq!(control(&mut transfers, SET_CONFIGURATION), Status::Ok);
    transfers.arm(reply(18));
    input(&mut transfers, 1, 512);
    input(&mut transfers, 2, 512);
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::Stall, 0), (2, Status::Stall, 0)]
    );
    assert_eq!(control(&mut transfers, CLEAR_HALT_IN), Status::Ok);
    input(&mut transfers, 3, 512);
    assert_eq!(ended(&mut transfers), [(3, Status::Ok, 18)]);
}

#[test]
fn a_stall_ends_transfers_that_already_wait() {
    let mut transfers = application();
    output(&mut transfers, 1, b"one");
    output(&mut transfers, 2, b"two");
    transfers.set_fault(Fault::Stall(Direction::Out));
    assert_eq!(transfers.next_out(), None);
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::Stall, 0), (2, Status::Stall, 0)]
    );
    assert_eq!(control(&mut transfers, CLEAR_HALT_OUT), Status::Ok);
    output(&mut transfers, 3, b"three");
    assert!(transfers.next_out().is_some());
}

#[test]
fn nak_holds_both_directions_until_cleared() {
    let mut transfers = faulty("nak in");
    transfers.set_fault(Fault::Nak(Direction::Out));
    transfers.arm(reply(18));
    input(&mut transfers, 1, 512);
    output(&mut transfers, 2, b"token");
    assert_eq!(transfers.next_out(), None);
    assert_eq!(ended(&mut transfers), []);
    transfers.clear_faults();
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 18)]);
    assert!(transfers.next_out().is_some());
}

#[test]
fn a_short_reply_loses_its_rest_once() {
    for (bytes, carried) in [(0, 0), (5, 5), (64, 64), (100, 18)] {
        let mut transfers = faulty(&format!("short {bytes}"));
        let length = if bytes == 64 { 200 } else { 18 };
        input(&mut transfers, 1, 512);
        transfers.arm(reply(length));
        assert_eq!(ended(&mut transfers), [(1, Status::Ok, carried)]);
        input(&mut transfers, 2, 512);
        transfers.arm(reply(18));
        assert_eq!(ended(&mut transfers), [(2, Status::Ok, 18)]);
    }
}

#[test]
fn protocol_errors_happen_as_often_as_asked_and_lose_the_bytes() {
    let mut transfers = faulty("protocol-error out 2");
    output(&mut transfers, 1, b"one");
    output(&mut transfers, 2, b"two");
    output(&mut transfers, 3, b"three");
    assert_eq!(transfers.next_out().as_deref(), Some(&b"three"[..]));
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::ProtocolError, 0), (2, Status::ProtocolError, 0)]
    );
    let mut transfers = faulty("protocol-error in");
    input(&mut transfers, 1, 512);
    input(&mut transfers, 2, 512);
    transfers.arm(reply(18));
    transfers.arm(reply(6));
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::ProtocolError, 0), (2, Status::Ok, 6)]
    );
}

#[test]
fn babble_fails_one_transfer() {
    let mut transfers = faulty("babble");
    input(&mut transfers, 1, 512);
    input(&mut transfers, 2, 512);
    transfers.arm(reply(18));
    transfers.arm(reply(6));
    assert_eq!(
        ended(&mut transfers),
        [(1, Status::Babble, 0), (2, Status::Ok, 6)]
    );
}

#[test]
fn a_cut_lets_exactly_its_bytes_reach_the_board() {
    let mut transfers = faulty("cut out 8");
    output(&mut transfers, 1, b"12345");
    output(&mut transfers, 2, b"67890");
    assert_eq!(transfers.next_out().as_deref(), Some(&b"12345"[..]));
    transfers.out_taken();
    assert!(!transfers.is_cut());
    assert_eq!(transfers.next_out().as_deref(), Some(&b"678"[..]));
    assert!(transfers.is_cut());
    transfers.out_taken();
    assert_eq!(transfers.next_response(), None);
    assert_eq!(transfers.into_faults().list(), []);
}

#[test]
fn a_cut_in_the_middle_of_a_reply_ends_everything() {
    let mut transfers = faulty("cut in 10");
    input(&mut transfers, 1, 512);
    transfers.arm(reply(18));
    assert!(transfers.is_cut());
    assert_eq!(transfers.next_response(), None);
}

#[test]
fn a_stubborn_boot_loader_ignores_only_the_command_to_start() {
    let mut faults = Faults::default();
    faults.set(Fault::StayInBootLoader);
    let mut transfers = Transfers::new(Program::BootLoader, faults);
    let version = LoaderCommand::ReadVersion.transfer();
    for (sequence, data) in [(1, LoaderCommand::RunApplication.transfer()), (2, version)] {
        assert!(transfers.request(Request::Submit(Submit {
            sequence: Sequence(sequence),
            endpoint: 1,
            direction: Direction::Out,
            length: data.len(),
            setup: [0; 8],
            data,
        })));
    }
    let reached = transfers.next_out().unwrap();
    assert_eq!(
        LoaderCommand::decode(&reached),
        Ok(LoaderCommand::ReadVersion)
    );
    assert_eq!(ended(&mut transfers), [(1, Status::Ok, 64)]);
}

#[test]
fn a_runaway_host_is_cut_off_at_the_bound() {
    let mut transfers = application();
    for sequence in 0..MAX_WAITING as u32 {
        input(&mut transfers, sequence, 512);
    }
    assert!(!transfers.request(Request::Submit(Submit {
        sequence: Sequence(9999),
        endpoint: 1,
        direction: Direction::In,
        length: 512,
        setup: [0; 8],
        data: Bytes::new(),
    })));
}

/// Something that happens to a device on the bus.
#[derive(Debug, Clone)]
enum Step {
    In(usize),
    Out(usize),
    Unlink(u32),
    Arm(usize),
    Taken,
    Fault(&'static str),
    Clear,
    ClearHalts,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..9usize).prop_map(|packets| Step::In(64 * packets)),
        (0..394usize).prop_map(Step::Out),
        (0..40u32).prop_map(Step::Unlink),
        (1..300usize).prop_map(Step::Arm),
        Just(Step::Taken),
        prop_oneof![
            Just("stall in"),
            Just("stall out"),
            Just("nak in"),
            Just("nak out"),
            Just("short 7"),
            Just("protocol-error in 2"),
            Just("protocol-error out 2"),
            Just("babble"),
        ]
        .prop_map(Step::Fault),
        Just(Step::Clear),
        Just(Step::ClearHalts),
    ]
}

proptest! {
    #[test]
    fn every_transfer_ends_exactly_once_whatever_happens(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut transfers = application();
        let mut submitted = 0u32;
        let mut answers = std::collections::BTreeMap::<u32, u32>::new();
        let mut unlinked = std::collections::BTreeSet::new();
        let mut note = |transfers: &mut Transfers, answers: &mut std::collections::BTreeMap<u32, u32>| {
            while let Some(response) = transfers.next_response() {
                match response {
                    Response::Submit { sequence, actual_length, data, .. } => {
                        assert!(data.is_empty() || data.len() == actual_length);
                        if sequence.0 < 0xC000 {
                            *answers.entry(sequence.0).or_default() += 1;
                        }
                    }
                    Response::Unlink { sequence, status } => {
                        if status == Status::Unlinked {
                            unlinked.insert(sequence.0 - 0xD000);
                        }
                    }
                }
            }
        };
        let halts = |transfers: &mut Transfers| {
            for setup in [CLEAR_HALT_IN, CLEAR_HALT_OUT] {
                assert!(transfers.request(Request::Submit(Submit {
                    sequence: Sequence(0xC000),
                    endpoint: 0,
                    direction: Direction::Out,
                    length: 0,
                    setup,
                    data: Bytes::new(),
                })));
            }
        };
        for step in steps {
            match step {
                Step::In(length) => {
                    input(&mut transfers, submitted, length);
                    submitted += 1;
                }
                Step::Out(length) => {
                    assert!(transfers.request(Request::Submit(Submit {
                        sequence: Sequence(submitted),
                        endpoint: 1,
                        direction: Direction::Out,
                        length,
                        setup: [0; 8],
                        data: reply(length),
                    })));
                    submitted += 1;
                }
                Step::Unlink(victim) if victim < submitted => {
                    assert!(transfers.request(Request::Unlink {
                        sequence: Sequence(0xD000 + victim),
                        victim: Sequence(victim),
                    }));
                }
                Step::Unlink(_) => {}
                Step::Arm(length) if transfers.can_arm() => transfers.arm(reply(length)),
                Step::Arm(_) => {}
                Step::Taken => {
                    transfers.next_out();
                    transfers.out_taken();
                }
                Step::Fault(fault) => transfers.set_fault(fault.parse().unwrap()),
                Step::Clear => transfers.clear_faults(),
                Step::ClearHalts => halts(&mut transfers),
            }
            note(&mut transfers, &mut answers);
        }
        // The board now answers and takes everything.
        transfers.clear_faults();
        halts(&mut transfers);
        for _ in 0..3 * submitted {
            transfers.next_out();
            transfers.out_taken();
            if transfers.can_arm() {
                transfers.arm(reply(18));
            }
        }
        note(&mut transfers, &mut answers);
        for sequence in 0..submitted {
            let times = answers.get(&sequence).copied().unwrap_or(0)
                + u32::from(unlinked.contains(&sequence));
            prop_assert_eq!(times, 1, "transfer {}", sequence);
        }
    }
}
