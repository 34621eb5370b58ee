//! What a board says about itself on endpoint 0.
//!
//! Owns the descriptors of both programs of the controller and the standard requests
//! of USB 2.0 chapter 9 that they answer. Never touches the data endpoints; never does
//! I/O. Both front ends use it.
//!
//! The descriptor bytes were *observed* on controller images; they are the `usb` part
//! of the vector file under `tests/fixtures`. The loader's are known from an S1 image
//! only.

use std::borrow::Cow;

use crate::usbip::Direction;

/// Which program of the controller is on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// Where the controller stops after power-up, `4254:424c`.
    BootLoader,
    /// What drives the chips, `4254:4153`.
    Application,
}

impl Program {
    /// The word that the control socket uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BootLoader => "boot-loader",
            Self::Application => "application",
        }
    }

    /// The 18 bytes of the device descriptor.
    pub const fn device_descriptor(self) -> &'static [u8; 18] {
        match self {
            Self::BootLoader => &[
                0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x40, 0x54, 0x42, 0x4C, 0x42, 0x02, 0x00,
                0x01, 0x02, 0x00, 0x01,
            ],
            Self::Application => &[
                0x12, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x08, 0x54, 0x42, 0x53, 0x41, 0x01, 0x00,
                0x01, 0x02, 0x00, 0x01,
            ],
        }
    }

    /// The configuration descriptor with its interface and two endpoints.
    pub const fn configuration_descriptor(self) -> &'static [u8; 32] {
        match self {
            Self::BootLoader => &[
                0x09, 0x02, 0x20, 0x00, 0x01, 0x01, 0x00, 0xC0, 0x32, 0x09, 0x04, 0x00, 0x00, 0x02,
                0xFF, 0xFF, 0xFF, 0x00, 0x07, 0x05, 0x81, 0x03, 0x40, 0x00, 0x01, 0x07, 0x05, 0x01,
                0x03, 0x40, 0x00, 0x01,
            ],
            Self::Application => &[
                0x09, 0x02, 0x20, 0x00, 0x01, 0x01, 0x00, 0xC0, 0x32, 0x09, 0x04, 0x00, 0x00, 0x02,
                0xFF, 0xFF, 0xFF, 0x00, 0x07, 0x05, 0x81, 0x02, 0x40, 0x00, 0x00, 0x07, 0x05, 0x01,
                0x02, 0x40, 0x00, 0x00,
            ],
        }
    }

    /// The text of a string descriptor. The texts of the application were observed;
    /// the loader has a table of its own that is *unknown*, so its product text is
    /// ours.
    const fn text(self, index: u8) -> Option<&'static str> {
        match (self, index) {
            (_, 1) => Some("BitMain Technology Inc."),
            (Self::Application, 2) => Some("Asic Control"),
            (Self::BootLoader, 2) => Some("Boot loader (emulated)"),
            _ => None,
        }
    }

    /// A string descriptor, or nothing where the controller stalls. Index 0 lists the
    /// languages: US English.
    pub fn string_descriptor(self, index: u8) -> Option<Vec<u8>> {
        if index == 0 {
            return Some(vec![4, STRING, 0x09, 0x04]);
        }
        let text = self.text(index)?;
        // The controller pads with NUL characters; how many is unknown, one shows that
        // hosts must cope.
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let length = 2 + 2 * units.len();
        let mut bytes = vec![length as u8, STRING];
        bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
        Some(bytes)
    }
}

const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;

/// Largest packet of both data endpoints in bytes; the descriptors say the same.
pub const PACKET_BYTES: usize = 64;

/// The IN endpoint's address.
pub const IN_ADDRESS: u8 = 0x81;
/// The OUT endpoint's address.
pub const OUT_ADDRESS: u8 = 0x01;

/// The eight bytes that open a control transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`.
    pub request_type: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
}

impl From<[u8; 8]> for Setup {
    fn from(bytes: [u8; 8]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Self {
            request_type: bytes[0],
            request: bytes[1],
            value: word(2),
            index: word(4),
            length: word(6),
        }
    }
}

/// How the controller answers on endpoint 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, nothing to send.
    Accepted,
    /// These bytes, cut to the length that the host asked for.
    Data(Cow<'static, [u8]>),
    /// A stall: the request is not known.
    Stall,
}

/// The state that standard requests read and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointZero {
    program: Program,
    configuration: u8,
    halted_in: bool,
    halted_out: bool,
}

// Standard requests by (bmRequestType, bRequest); USB 2.0, table 9-3.
const GET_STATUS_DEVICE: (u8, u8) = (0x80, 0);
const GET_STATUS_INTERFACE: (u8, u8) = (0x81, 0);
const GET_STATUS_ENDPOINT: (u8, u8) = (0x82, 0);
const CLEAR_FEATURE_ENDPOINT: (u8, u8) = (0x02, 1);
const SET_FEATURE_ENDPOINT: (u8, u8) = (0x02, 3);
const GET_DESCRIPTOR: (u8, u8) = (0x80, 6);
const GET_CONFIGURATION: (u8, u8) = (0x80, 8);
const SET_CONFIGURATION: (u8, u8) = (0x00, 9);
const GET_INTERFACE: (u8, u8) = (0x81, 10);
const SET_INTERFACE: (u8, u8) = (0x01, 11);

const ENDPOINT_HALT: u16 = 0;
/// Bit 0 of the device status: self-powered.
const SELF_POWERED: [u8; 2] = [1, 0];

impl EndpointZero {
    /// A device that was just plugged in.
    pub const fn new(program: Program) -> Self {
        Self {
            program,
            configuration: 0,
            halted_in: false,
            halted_out: false,
        }
    }

    /// Which program answers.
    pub const fn program(&self) -> Program {
        self.program
    }

    /// Whether an endpoint answers every transfer with a stall.
    pub const fn is_halted(&self, direction: Direction) -> bool {
        match direction {
            Direction::In => self.halted_in,
            Direction::Out => self.halted_out,
        }
    }

    /// Makes an endpoint stall until the host clears it.
    pub const fn halt(&mut self, direction: Direction) {
        match direction {
            Direction::In => self.halted_in = true,
            Direction::Out => self.halted_out = true,
        }
    }

    fn endpoint(&mut self, address: u16) -> Option<&mut bool> {
        match u8::try_from(address).ok()? {
            IN_ADDRESS => Some(&mut self.halted_in),
            OUT_ADDRESS => Some(&mut self.halted_out),
            _ => None,
        }
    }

    /// Answers one request. Anything that chapter 9 does not ask of this device is
    /// stalled, as the controller's empty event hooks do.
    pub fn answer(&mut self, setup: Setup) -> Answer {
        match (setup.request_type, setup.request) {
            GET_DESCRIPTOR => self.descriptor(setup),
            GET_STATUS_DEVICE => data(setup, SELF_POWERED.to_vec()),
            GET_STATUS_INTERFACE => data(setup, vec![0, 0]),
            GET_STATUS_ENDPOINT => match self.endpoint(setup.index) {
                Some(halted) => {
                    let status = vec![u8::from(*halted), 0];
                    data(setup, status)
                }
                // Endpoint 0 is never halted for longer than one request.
                None if setup.index & 0x7F == 0 => data(setup, vec![0, 0]),
                None => Answer::Stall,
            },
            CLEAR_FEATURE_ENDPOINT if setup.value == ENDPOINT_HALT => {
                self.set_halted(setup.index, false)
            }
            SET_FEATURE_ENDPOINT if setup.value == ENDPOINT_HALT => {
                self.set_halted(setup.index, true)
            }
            GET_CONFIGURATION => data(setup, vec![self.configuration]),
            SET_CONFIGURATION if setup.value <= 1 => {
                self.configuration = u8::from(setup.value == 1);
                self.halted_in = false;
                self.halted_out = false;
                Answer::Accepted
            }
            GET_INTERFACE if setup.index == 0 => data(setup, vec![0]),
            SET_INTERFACE if setup.index == 0 && setup.value == 0 => Answer::Accepted,
            _ => Answer::Stall,
        }
    }

    fn set_halted(&mut self, address: u16, halted: bool) -> Answer {
        match self.endpoint(address) {
            Some(state) => {
                *state = halted;
                Answer::Accepted
            }
            None => Answer::Stall,
        }
    }

    fn descriptor(&self, setup: Setup) -> Answer {
        let [index, kind] = setup.value.to_le_bytes();
        let bytes: Cow<'static, [u8]> = match (kind, index) {
            (DEVICE, _) => self.program.device_descriptor().as_slice().into(),
            (CONFIGURATION, 0) => self.program.configuration_descriptor().as_slice().into(),
            (STRING, index) => match self.program.string_descriptor(index) {
                Some(bytes) => bytes.into(),
                None => return Answer::Stall,
            },
            // Among them the device qualifier: a full-speed-only device stalls it.
            _ => return Answer::Stall,
        };
        data(setup, bytes)
    }
}

fn data(setup: Setup, bytes: impl Into<Cow<'static, [u8]>>) -> Answer {
    let wanted = usize::from(setup.length);
    Answer::Data(match bytes.into() {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..bytes.len().min(wanted)]),
        Cow::Owned(mut bytes) => {
            bytes.truncate(wanted);
            Cow::Owned(bytes)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setup(request: (u8, u8), value: u16, index: u16, length: u16) -> Setup {
        Setup {
            request_type: request.0,
            request: request.1,
            value,
            index,
            length,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn descriptors_are_those_of_the_vector_file() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../fixtures/bitmain-vectors.json")).unwrap();
        for (program, prefix) in [
            (Program::Application, "app"),
            (Program::BootLoader, "bootloader"),
        ] {
            let expected = |kind: &str| {
                vectors["usb"][format!("{prefix}_{kind}_descriptor")]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            assert_eq!(hex(program.device_descriptor()), expected("device"));
            assert_eq!(hex(program.configuration_descriptor()), expected("config"));
        }
    }

    #[test]
    fn a_short_request_gets_the_beginning_of_a_descriptor() {
        let mut zero = EndpointZero::new(Program::Application);
        let answer = zero.answer(setup(GET_DESCRIPTOR, 0x0200, 0, 9));
        assert_eq!(
            answer,
            Answer::Data(Program::Application.configuration_descriptor()[..9].into())
        );
    }

    #[test]
    fn the_device_qualifier_is_stalled_as_by_a_full_speed_device() {
        let mut zero = EndpointZero::new(Program::Application);
        assert_eq!(
            zero.answer(setup(GET_DESCRIPTOR, 0x0600, 0, 10)),
            Answer::Stall
        );
    }

    #[test]
    fn a_halt_lasts_until_the_host_clears_it() {
        let mut zero = EndpointZero::new(Program::Application);
        zero.halt(Direction::In);
        let status = setup(GET_STATUS_ENDPOINT, 0, 0x81, 2);
        assert_eq!(zero.answer(status), Answer::Data(vec![1, 0].into()));
        assert_eq!(
            zero.answer(setup(CLEAR_FEATURE_ENDPOINT, 0, 0x81, 0)),
            Answer::Accepted
        );
        assert!(!zero.is_halted(Direction::In));
        assert_eq!(zero.answer(status), Answer::Data(vec![0, 0].into()));
    }

    #[test]
    fn vendor_requests_are_stalled() {
        let mut zero = EndpointZero::new(Program::Application);
        assert_eq!(zero.answer(setup((0xC0, 0x01), 0, 0, 64)), Answer::Stall);
    }

    #[test]
    fn texts_of_the_application_carry_a_trailing_nul() {
        let bytes = Program::Application.string_descriptor(2).unwrap();
        assert_eq!(bytes.len(), usize::from(bytes[0]));
        assert_eq!(&bytes[2..6], b"A\0s\0");
        assert_eq!(&bytes[bytes.len() - 4..], b"l\0\0\0");
    }

    proptest! {
        #[test]
        fn no_answer_is_longer_than_asked(bytes in any::<[u8; 8]>(), loader in any::<bool>()) {
            let program = if loader { Program::BootLoader } else { Program::Application };
            let setup = Setup::from(bytes);
            if let Answer::Data(data) = EndpointZero::new(program).answer(setup) {
                prop_assert!(data.len() <= usize::from(setup.length));
            }
        }
    }
}
