use proptest::prelude::*;

use super::*;

fn sim(text: &str) -> SimSpec {
    match text.parse() {
        Ok(DeviceSpec::Sim(spec)) => spec,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_examples_of_the_documentation_are_understood() {
    let spec = sim("sim:s3,zero-bits=12,script=unplug@2s+1s;garbage@3s");
    assert_eq!(spec.image, Image::S3Version7);
    assert_eq!(spec.zero_bits, 12);
    assert_eq!(spec.script.events.len(), 2);
    let spec = sim("sim:s1");
    assert_eq!((spec.image, spec.zero_bits), (Image::S1Of2013, 14));
    assert!(spec.boot_loader);
    assert_eq!(
        "cpu".parse::<DeviceSpec>().unwrap(),
        DeviceSpec::Cpu { threads: None }
    );
    assert_eq!(
        "cpu,threads=2".parse::<DeviceSpec>().unwrap(),
        DeviceSpec::Cpu { threads: Some(2) }
    );
}

#[test]
fn every_key_is_obeyed() {
    let spec = sim(
        "sim:s1,image=2014,mhz=200,script=fan-stop@1s,seed=7,boot-loader=no,hashing=inline,zero-bits=32,book=a b.txt",
    );
    assert_eq!(spec.image, Image::S1Of2014);
    assert_eq!(spec.clock.unwrap().mhz(), 200.0);
    assert_eq!((spec.rng_seed, spec.boot_loader), (7, false));
    assert_eq!(spec.hashing, Hashing::Inline);
    assert_eq!(spec.book, Some(PathBuf::from("a b.txt")));
    assert_eq!(sim("sim:s3,book=x").zero_bits, 32);
}

#[test]
fn a_wrong_device_gets_an_error_that_lists_what_is_legal() {
    for (text, why) in [
        (
            "",
            "device \"\": no such device; there are usb, sim:s1, sim:s3 and cpu",
        ),
        (
            "sim:s2",
            "device \"sim:s2\": no such device; there are usb, sim:s1, sim:s3 and cpu",
        ),
        (
            "sim:s3,speed=1",
            "device \"sim:s3,speed=1\": unknown key \"speed\" of sim:s3; there are zero-bits, mhz, book, script, seed, boot-loader, hashing",
        ),
        ("sim:s3,image=2013", "unknown key \"image\" of sim:s3"),
        (
            "sim:s3,zero-bits",
            "\"zero-bits\" is not of the form key=value",
        ),
        ("sim:s3,", "\"\" is not of the form key=value"),
        (
            "sim:s3,zero-bits=33",
            "zero-bits: \"33\" is no whole number from 8 to 32",
        ),
        (
            "sim:s3,zero-bits=+9",
            "zero-bits: \"+9\" is no whole number from 8 to 32",
        ),
        ("sim:s3,seed=1,seed=2", "key \"seed\" is given twice"),
        (
            "sim:s1,image=2015",
            "image: \"2015\" is not one of 2013, 2014",
        ),
        (
            "sim:s1,boot-loader=on",
            "boot-loader: \"on\" is not one of yes, no",
        ),
        (
            "sim:s1,hashing=gpu",
            "hashing: \"gpu\" is not one of thread, inline",
        ),
        ("sim:s1,mhz=351", "mhz: "),
        ("sim:s3,mhz=300", "mhz: "),
        ("sim:s3,mhz=fast", "mhz: \"fast\" is no number of MHz"),
        ("sim:s3,book=", "book: no file is named"),
        ("sim:s3,book=x,zero-bits=14", "leave out zero-bits=14"),
        (
            "sim:s3,script=boom@1s",
            "script: script event \"boom@1s\": unknown action",
        ),
        (
            "cpu,threads=0",
            "threads: \"0\" is no whole number from 1 to 256",
        ),
        (
            "cpu,seed=1",
            "unknown key \"seed\" of cpu; there are threads",
        ),
    ] {
        let error = text.parse::<DeviceSpec>().unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
    let long = format!("sim:s3,book={}", "x".repeat(SPEC_BYTES_MAX));
    assert!(long.parse::<DeviceSpec>().is_err());
}

proptest! {
    #[test]
    fn any_text_is_refused_or_printed_as_the_same_device(
        kind in prop_oneof![Just("sim:s1"), Just("sim:s3"), Just("cpu")],
        parts in proptest::collection::vec("(zero-bits=[0-9]{1,2}|image=201[345]|mhz=(350|218.75|100)|book=[a-z /]{0,9}|script=(heat=4[0-9]@[0-9]s|silence@in:9)|seed=[0-9]{1,19}|boot-loader=(yes|no)|hashing=(inline|thread)|threads=[0-9]{1,3}|[a-z=]{0,9})", 0..6),
    ) {
        let text = [vec![kind.to_owned()], parts].concat().join(",");
        if let Ok(spec) = text.parse::<DeviceSpec>() {
            prop_assert_eq!(spec.to_string().parse::<DeviceSpec>().unwrap(), spec);
        }
    }
}
