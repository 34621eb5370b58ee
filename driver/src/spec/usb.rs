//! Real boards as users describe them: `usb`, `usb:PORT,s3-mhz=200`.

use std::fmt;
use std::time::Duration;

use super::{YES_NO, choice, number, pairs, word_of};
use crate::host::{BoardSettings, REST_AFTER};
use crate::sim::{SILICON_ZERO_BITS, SimSettings};
use crate::usb::{Opening, PORT_PATH_BYTES_MAX, Via};
use crate::{Clock, DeviceId, DeviceKind, DriverError, Model};

const KEYS: [&str; 7] = [
    "s1-mhz",
    "s3-mhz",
    "beyond-limit",
    "rest",
    "give-back",
    "zero-bits",
    "via",
];

#[cfg(not(feature = "libusb"))]
const VIA: [(&str, Via); 1] = [("nusb", Via::Nusb)];
#[cfg(feature = "libusb")]
const VIA: [(&str, Via); 2] = [("nusb", Via::Nusb), ("libusb", Via::Libusb)];

/// Longest rest time: a day.
const REST_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Boards on USB: all of them, or the one at a port.
#[derive(Debug, Clone, PartialEq)]
pub struct UsbSpec {
    port: Option<DeviceId>,
    /// For an S1 and for an S3. Which it is shows only when it answers.
    clocks: [Option<Clock>; 2],
    beyond_limit: bool,
    rest_after: Option<Duration>,
    gives_back: bool,
    zero_bits: u32,
    via: Via,
}

impl Default for UsbSpec {
    /// All boards, at their stock clocks.
    fn default() -> Self {
        Self {
            port: None,
            clocks: [None; 2],
            beyond_limit: false,
            rest_after: Some(REST_AFTER),
            gives_back: true,
            zero_bits: SILICON_ZERO_BITS,
            via: Via::default(),
        }
    }
}

impl UsbSpec {
    /// `port` is what stands between `usb:` and the first comma, if anything does.
    pub(super) fn parse(
        port: Option<&str>,
        parts: std::str::Split<'_, char>,
    ) -> Result<Self, String> {
        let pairs = pairs(parts, "usb", &KEYS)?;
        let mut spec = Self {
            port: port.map(port_id).transpose()?,
            ..Self::default()
        };
        for (key, value) in &pairs {
            let error = |why: String| format!("{key}: {why}");
            match *key {
                "beyond-limit" => spec.beyond_limit = choice(value, &YES_NO).map_err(error)?,
                "give-back" => spec.gives_back = choice(value, &YES_NO).map_err(error)?,
                "via" => spec.via = choice(value, &VIA).map_err(error)?,
                "zero-bits" => {
                    let legal = SimSettings::ZERO_BITS;
                    let bits = number(value, u64::from(*legal.start()), u64::from(*legal.end()));
                    spec.zero_bits = bits.map_err(error)? as u32;
                }
                "rest" => {
                    let seconds = number(value, 0, REST_SECONDS_MAX).map_err(error)?;
                    spec.rest_after = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                _ => {}
            }
        }
        // Clocks last: whether the limit holds is known now.
        for (key, value) in &pairs {
            let at = match *key {
                "s1-mhz" => 0,
                "s3-mhz" => 1,
                _ => continue,
            };
            let clock = clock(MODELS[at], value, spec.beyond_limit);
            spec.clocks[at] = Some(clock.map_err(|why| format!("{key}: {why}"))?);
        }
        Ok(spec)
    }

    /// The board at one port, at its stock clock.
    ///
    /// # Errors
    /// [`DriverError::BadSpec`] when the text names no port.
    pub fn at(port: &str) -> Result<Self, DriverError> {
        Ok(Self {
            port: Some(port_id(port).map_err(DriverError::BadSpec)?),
            ..Self::default()
        })
    }

    /// The clock of boards that turn out to be of the clock's model.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.beyond_limit |= Clock::new(clock.model(), clock.mhz()).is_err();
        for (slot, model) in self.clocks.iter_mut().zip(MODELS) {
            if model == clock.model() {
                *slot = Some(clock);
            }
        }
        self
    }

    /// How long an S3 may be without work before it rests; nothing means for ever.
    #[must_use]
    pub const fn with_rest_after(mut self, rest_after: Option<Duration>) -> Self {
        self.rest_after = rest_after;
        self
    }

    /// Whether a kernel driver gets its board back at the end.
    #[must_use]
    pub const fn with_give_back(mut self, gives_back: bool) -> Self {
        self.gives_back = gives_back;
        self
    }

    /// The port it names; nothing if it means every board.
    pub const fn port(&self) -> Option<&DeviceId> {
        self.port.as_ref()
    }

    /// Whether a board at this port is meant.
    pub fn covers(&self, port: &DeviceId) -> bool {
        self.port.as_ref().is_none_or(|own| own == port)
    }

    /// How a board is opened.
    pub(crate) const fn opening(&self, reset_first: bool) -> Opening {
        Opening {
            via: self.via,
            reset_first,
            gives_back: self.gives_back,
        }
    }

    /// What does the hashing. Silicon filters for 32 zero bits; a board that filters for
    /// fewer is an emulated one, whatever its cable.
    pub(crate) const fn kind(&self) -> DeviceKind {
        if self.zero_bits < SILICON_ZERO_BITS {
            DeviceKind::Simulated
        } else {
            DeviceKind::Usb
        }
    }

    /// What the host of the board at `port` is told.
    pub(crate) fn settings(&self, port: DeviceId) -> BoardSettings {
        let settings = BoardSettings::new(port, self.kind())
            .with_filter_zero_bits(self.zero_bits)
            .with_rest_after(self.rest_after);
        self.clocks
            .iter()
            .flatten()
            .fold(settings, |settings, clock| settings.with_clock(*clock))
    }
}

const MODELS: [Model; 2] = [Model::AntminerS1, Model::AntminerS3];

fn port_id(text: &str) -> Result<DeviceId, String> {
    let is_name = text.bytes().all(|b| b.is_ascii_graphic());
    if is_name && (1..=PORT_PATH_BYTES_MAX).contains(&text.len()) {
        return Ok(DeviceId(text.to_owned()));
    }
    Err(format!(
        "{text:?} is no port; `hasher doctor` and udev's ID_PATH name them, such as pci-0000:00:14.0-usb-0:2"
    ))
}

fn clock(model: Model, text: &str, beyond_limit: bool) -> Result<Clock, String> {
    if !beyond_limit {
        return super::clock(model, text).map_err(|why| {
            if super::clock_beyond_limit(model, text).is_ok() {
                format!("{why}; beyond-limit=yes is that wish")
            } else {
                why
            }
        });
    }
    super::clock_beyond_limit(model, text)
}

impl fmt::Display for UsbSpec {
    /// What differs from the defaults.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("usb")?;
        if let Some(port) = &self.port {
            write!(f, ":{port}")?;
        }
        for (key, clock) in ["s1-mhz", "s3-mhz"].iter().zip(self.clocks) {
            if let Some(clock) = clock {
                write!(f, ",{key}={}", clock.mhz())?;
            }
        }
        let default = Self::default();
        if self.beyond_limit != default.beyond_limit {
            write!(f, ",beyond-limit={}", word_of(&self.beyond_limit, &YES_NO))?;
        }
        if self.rest_after != default.rest_after {
            let seconds = self.rest_after.map_or(0, |rest| rest.as_secs());
            write!(f, ",rest={seconds}")?;
        }
        if self.zero_bits != default.zero_bits {
            write!(f, ",zero-bits={}", self.zero_bits)?;
        }
        if self.gives_back != default.gives_back {
            write!(f, ",give-back={}", word_of(&self.gives_back, &YES_NO))?;
        }
        if self.via != default.via {
            write!(f, ",via={}", word_of(&self.via, &VIA))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DeviceSpec;

    fn usb(text: &str) -> UsbSpec {
        match text.parse() {
            Ok(DeviceSpec::Usb(spec)) => spec,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn all_boards_or_the_one_at_a_port_can_be_meant() {
        let port = DeviceId("pci-0000:00:14.0-usb-0:2.3".into());
        assert_eq!(usb("usb"), UsbSpec::default());
        assert!(usb("usb").covers(&port));
        let one = usb("usb:pci-0000:00:14.0-usb-0:2.3");
        assert_eq!(one.port(), Some(&port));
        assert!(one.covers(&port));
        assert!(!one.covers(&DeviceId("pci-0000:00:14.0-usb-0:2".into())));
    }

    #[test]
    fn every_key_is_obeyed() {
        let spec = usb("usb,s1-mhz=200,s3-mhz=100,rest=5,give-back=no");
        assert_eq!(
            spec.clocks.map(|clock| clock.unwrap().mhz()),
            [200.0, 100.0]
        );
        assert_eq!(spec.rest_after, Some(Duration::from_secs(5)));
        assert!(!spec.opening(false).gives_back);
        assert_eq!(usb("usb,rest=0").rest_after, None);
    }

    #[test]
    fn a_spec_can_be_built_without_a_text() {
        let clock = Clock::beyond_default_limit(Model::AntminerS3, 300.0).unwrap();
        let spec = UsbSpec::at("usb-0:2")
            .unwrap()
            .with_clock(clock)
            .with_clock(Clock::stock(Model::AntminerS1))
            .with_rest_after(None)
            .with_give_back(false);
        let text = "usb:usb-0:2,s1-mhz=350,s3-mhz=300,beyond-limit=yes,rest=0,give-back=no";
        assert_eq!(spec.to_string(), text);
        assert_eq!(spec, usb(text));
        assert_eq!(UsbSpec::at("usb-0:2").unwrap(), usb("usb:usb-0:2"));
        assert!(UsbSpec::at("a b").is_err());
    }

    #[test]
    fn libusb_can_be_chosen_where_it_is_built_in() {
        let chosen = "usb,via=libusb".parse::<DeviceSpec>();
        #[cfg(feature = "libusb")]
        assert_eq!(chosen.unwrap().to_string(), "usb,via=libusb");
        #[cfg(not(feature = "libusb"))]
        assert_eq!(
            chosen.unwrap_err().to_string(),
            "device \"usb,via=libusb\": via: \"libusb\" is not one of nusb"
        );
        assert_eq!(usb("usb,via=nusb"), UsbSpec::default());
    }

    #[test]
    fn a_board_that_filters_for_less_than_silicon_is_called_simulated() {
        let spec = usb("usb,zero-bits=8");
        assert_eq!((spec.zero_bits, spec.kind()), (8, DeviceKind::Simulated));
        assert_eq!(usb("usb,zero-bits=32").kind(), DeviceKind::Usb);
        assert_eq!(usb("usb").kind(), DeviceKind::Usb);
        assert!("usb,zero-bits=7".parse::<DeviceSpec>().is_err());
    }

    #[test]
    fn a_clock_beyond_the_limit_needs_the_explicit_wish() {
        assert_eq!(
            "usb,s3-mhz=300"
                .parse::<DeviceSpec>()
                .unwrap_err()
                .to_string(),
            "device \"usb,s3-mhz=300\": s3-mhz: refused setting: 300 MHz is above the 250 MHz \
             that an Antminer S3 may run without an explicit wish; beyond-limit=yes is that wish"
        );
        let spec = usb("usb,s3-mhz=300,beyond-limit=yes");
        assert_eq!(spec.clocks[1].unwrap().mhz(), 300.0);
        for impossible in [
            "usb,s3-mhz=301,beyond-limit=yes",
            "usb,s1-mhz=500,beyond-limit=yes",
        ] {
            let error = impossible.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains("not in the clock table"), "{error}");
        }
    }

    #[test]
    fn wrong_texts_are_refused_with_the_reason() {
        for (text, why) in [
            ("usb:", "\"\" is no port"),
            ("usb:a b", "\"a b\" is no port"),
            ("usb,mhz=200", "unknown key \"mhz\" of usb"),
            ("usb,rest=-1", "rest: \"-1\" is no whole number"),
            ("usb,give-back=1", "give-back: \"1\" is not one of yes, no"),
            ("usbx", "no such device"),
        ] {
            let error = text.parse::<DeviceSpec>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_printed_as_the_same_device(
            port in "(:[a-z0-9:.-]{0,9})?",
            parts in proptest::collection::vec("(s1-mhz=(350|200)|s3-mhz=(218.75|300)|beyond-limit=(yes|no)|rest=[0-9]{1,3}|zero-bits=[0-9]{1,2}|give-back=(yes|no))", 0..5),
        ) {
            let text = [vec![format!("usb{port}")], parts].concat().join(",");
            if let Ok(spec) = text.parse::<DeviceSpec>() {
                prop_assert_eq!(spec.to_string().parse::<DeviceSpec>().unwrap(), spec);
            }
        }
    }
}
