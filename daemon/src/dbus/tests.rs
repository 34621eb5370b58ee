//! What needs no bus: names, arguments, and the description of the interfaces.

use std::path::{Path, PathBuf};

use hasher_wire::{DigestAlgorithm, Frame, Priority, Status};
use hasher_work::{Nonce, NonceRange, SearchMode, Target};
use tokio_util::task::TaskTracker;
use zbus::object_server::Interface;
use zbus::wire::serialized::Context as WireContext;
use zbus::wire::{LE, to_bytes};
use zbus::{Type, Variant};

use super::device::{self, Device};
use super::manager::{self, Manager};
use super::options::{self, DigestOptions, Messages, SearchOptions, SessionOptions};
use super::session::{self, Session};
use super::*;
use crate::core::SessionId;

fn context() -> Arc<Context> {
    let hub = Hub::new();
    let stop = CancellationToken::new();
    Arc::new(Context {
        bus: MessageBus::System,
        hub: Arc::clone(&hub),
        door: Door::new(hub, TaskTracker::new(), stop),
        reloader: None,
        socket: String::new(),
        started_at: 0,
        calls: Calls::default(),
    })
}

#[test]
fn buses_are_named_by_their_words() {
    for bus in [MessageBus::System, MessageBus::Session, MessageBus::None] {
        assert_eq!(bus.to_string().parse(), Ok(bus));
    }
    let error = "sys".parse::<MessageBus>().unwrap_err();
    assert_eq!(
        error,
        "no such bus: \"sys\"; there are system, session and none"
    );
}

#[test]
fn every_name_of_a_device_has_a_path_of_its_own() {
    assert_eq!(device_path("cpu0"), "/org/hasher/Hasher1/devices/cpu0");
    let port = device_path("pci-0000:00:14.0-usb-0:2.3");
    let escaped = "pci_2d0000_3a00_3a14_2e0_2dusb_2d0_3a2_2e3";
    assert_eq!(port, format!("/org/hasher/Hasher1/devices/{escaped}"));
    assert_eq!(device_path("a_b"), "/org/hasher/Hasher1/devices/a_5fb");
    for path in [port, device_path("ü"), session_path(u64::MAX)] {
        zbus::ObjectPath::try_from(path).unwrap();
    }
}

// ---- the description of the interfaces ----

/// An interface as a file in `/usr/share/dbus-1/interfaces` describes it.
fn description<I: Interface>(interface: &I) -> String {
    let mut text = String::from(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
    );
    interface.introspect_to_writer(&mut text, 2);
    text.push_str("</node>\n");
    text
}

/// Compares with the file that is shipped, or writes it if `HASHER_WRITE_GOLDEN` is set.
fn is_shipped<I: Interface>(interface: &I) -> String {
    let text = description(interface);
    let file = format!("{}.xml", I::name());
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../systemd")
        .join(&file);
    if std::env::var_os("HASHER_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, shipped,
        "systemd/{file} differs; if the change adds something, write it with HASHER_WRITE_GOLDEN=1"
    );
    text
}

/// Properties that the description says are told by no signal.
fn silent(description: &str) -> Vec<&str> {
    let mut properties = description.split("<property name=\"").skip(1);
    let mut silent = Vec::new();
    for property in properties.by_ref() {
        let (name, rest) = property.split_once('"').unwrap();
        let own = rest.split("<property").next().unwrap();
        if own.contains("EmitsChangedSignal\" value=\"false\"") {
            silent.push(name);
        }
    }
    silent
}

#[test]
fn the_shipped_descriptions_are_what_the_daemon_says_of_itself() {
    let context = context();
    let manager = is_shipped(&Manager::new(Arc::clone(&context)));
    let device = is_shipped(&Device::new("cpu-0", Arc::clone(&context)));
    let session = is_shipped(&Session::new(SessionId(1), context));
    assert_eq!(silent(&manager), manager::SILENT);
    assert_eq!(silent(&device), device::SILENT);
    assert_eq!(silent(&session), session::SILENT);
    for description in [&manager, &device, &session] {
        assert!(
            !description.contains("access=\"readwrite\""),
            "nothing can be set"
        );
    }
}

// ---- arguments ----

fn options<T>(options: &[(&str, Variant<'_>)]) -> Result<T, String>
where
    T: Type + for<'de> serde::Deserialize<'de>,
{
    let options: std::collections::HashMap<&str, &Variant<'_>> =
        options.iter().map(|(name, value)| (*name, value)).collect();
    let bytes = to_bytes(WireContext::new(LE, 0), &options).unwrap();
    let read = bytes.deserialize().map(|(options, _)| options);
    read.map_err(|error| error.to_string())
}

fn search(given: &[(&str, Variant<'_>)]) -> Result<hasher_wire::JobRequest, String> {
    let options: SearchOptions = options(given)?;
    let frame = options::search(&[7; 80], options).map_err(|error| {
        assert_eq!(error.name(), "org.hasher.Hasher1.Error.Invalid");
        error.to_string()
    })?;
    let Frame::Search(search) = frame else {
        panic!("{frame:?}");
    };
    Ok(search.jobs[0])
}

#[test]
fn a_search_without_options_asks_for_one_hit_of_silicons_difficulty() {
    let request = search(&[]).unwrap();
    let job = request.job;
    assert_eq!(job.header.0, [7; 80]);
    assert_eq!(job.target, Target::from_zero_bits(32).unwrap());
    assert_eq!(job.range, NonceRange::WHOLE);
    assert_eq!((job.mode, job.rolls), (SearchMode::FirstFound(1), 0));
    assert_eq!(
        (request.deadline_ms, request.priority),
        (0, Priority::Batch)
    );
}

#[test]
fn every_option_of_a_search_is_heard() {
    let request = search(&[
        ("zero-bits", 12u32.into()),
        ("hits", 0u16.into()),
        ("rolls", 3u16.into()),
        ("first-nonce", 5u32.into()),
        ("last-nonce", 9u32.into()),
        ("deadline-ms", 100u32.into()),
        ("priority", "interactive".into()),
    ])
    .unwrap();
    let job = request.job;
    assert_eq!(job.target, Target::from_zero_bits(12).unwrap());
    assert_eq!(job.range, NonceRange::new(Nonce(5), Nonce(9)).unwrap());
    assert_eq!((job.mode, job.rolls), (SearchMode::Exhaust, 3));
    assert_eq!(
        (request.deadline_ms, request.priority),
        (100, Priority::Interactive)
    );
    let mut target = [0; 32];
    target[30] = 1;
    let request = search(&[("target", target.to_vec().into())]).unwrap();
    assert_eq!(request.job.target, Target::from_le_bytes(target));
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    for (given, why) in [
        (
            vec![("zero-bits", 257u32.into())],
            "zero bits must be 0 to 256, got 257",
        ),
        (
            vec![("target", vec![0u8; 31].into())],
            "target must be 32 bytes long, got 31",
        ),
        (
            vec![("zero-bits", 1u32.into()), ("target", vec![0u8; 32].into())],
            "either zero-bits or target",
        ),
        (
            vec![("first-nonce", 2u32.into()), ("last-nonce", 1u32.into())],
            "nonce range is empty",
        ),
        (
            vec![("priority", "high".into())],
            "there are interactive, batch and background",
        ),
        (vec![("rolls", u16::MAX.into())], "roll"),
        (vec![("zerobits", 1u32.into())], "unknown field `zerobits`"),
        (
            vec![("zero-bits", 1u16.into())],
            "expected a value of signature `u`",
        ),
    ] {
        let error = search(&given).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let error = options::search(&[0; 79], SearchOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "header must be 80 bytes long, got 79");
    assert!(options::<SessionOptions>(&[]).is_ok());
    let error = options::<SessionOptions>(&[("x", 1u32.into())]).unwrap_err();
    assert!(error.contains("unknown field `x`"), "{error}");
}

fn messages(messages: &[Vec<u8>]) -> Result<Messages, String> {
    let bytes = to_bytes(WireContext::new(LE, 0), &messages).unwrap();
    let read = bytes.deserialize().map(|(messages, _)| messages);
    read.map_err(|error| error.to_string())
}

fn digest(given: &[Vec<u8>], algorithm: Option<&str>) -> Result<Frame, String> {
    let algorithm: Vec<(&str, Variant<'_>)> = algorithm
        .map(|word| ("algorithm", word.into()))
        .into_iter()
        .collect();
    let options: DigestOptions = options(&algorithm)?;
    options::digest(messages(given)?, &options).map_err(|error| {
        assert!(matches!(
            error,
            CallError::Failed {
                status: Status::Invalid,
                ..
            }
        ));
        error.to_string()
    })
}

#[test]
fn digests_are_asked_for_with_either_algorithm() {
    for (word, expected) in [
        (None, DigestAlgorithm::Sha256),
        (Some("sha256"), DigestAlgorithm::Sha256),
        (Some("sha256d"), DigestAlgorithm::Sha256d),
    ] {
        let Frame::DigestBatch(batch) = digest(&[b"abc".to_vec(), Vec::new()], word).unwrap()
        else {
            panic!("no batch");
        };
        assert_eq!(batch.algorithm, expected);
        assert!(batch.messages.iter().eq([&b"abc"[..], b""]));
    }
    let error = digest(&[vec![1]], Some("md5")).unwrap_err();
    assert_eq!(error, "no algorithm \"md5\"; there are sha256 and sha256d");
    assert_eq!(digest(&[], None).unwrap_err(), "give at least one message");
}

#[test]
fn messages_beyond_one_frame_are_refused_before_they_are_kept() {
    let most = hasher_wire::MAX_CHUNK_BYTES;
    assert!(digest(&[vec![1; most]], None).is_ok());
    let too_long = digest(&[vec![1; most], vec![1]], None).unwrap_err();
    assert!(too_long.contains("use a session for more"), "{too_long}");
    let too_many = digest(&vec![vec![]; hasher_wire::MAX_MESSAGES + 1], None).unwrap_err();
    assert!(too_many.contains("at most 1024 messages"), "{too_many}");
    // What is within both bounds fits into a frame.
    let largest = digest(&vec![vec![1; 60]; hasher_wire::MAX_MESSAGES], None).unwrap();
    assert_eq!(60 * hasher_wire::MAX_MESSAGES, most);
    hasher_wire::Codec
        .encode(&largest, &mut bytes::BytesMut::new())
        .unwrap();
}
