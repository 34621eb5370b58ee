//! The ways a USB device can misbehave, and how a script names them.
//!
//! Owns the values and their text form. What each does to a transfer is in
//! [`crate::transfers`]; what it does to the cable, in [`crate::cable`].
//!
//! Faults of the *board* (bad CRC, heat, lost nonces) belong to the simulator and are
//! part of the board's own text; these here are faults of the bus.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::usbip::Direction;

/// The faults that wait for their moment. Most happen once and are then over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    pub(crate) stall_in: bool,
    pub(crate) stall_out: bool,
    pub(crate) nak_in: bool,
    pub(crate) nak_out: bool,
    pub(crate) short: Option<usize>,
    pub(crate) errors_in: u32,
    pub(crate) errors_out: u32,
    pub(crate) babble: bool,
    pub(crate) cut: Option<(Direction, usize)>,
    pub(crate) stay_in_boot_loader: bool,
}

impl Faults {
    /// Adds a fault, in place of an older one of its kind. [`Fault::Reenumerate`]
    /// happens to the cable at once and leaves nothing here.
    pub fn set(&mut self, fault: Fault) {
        match fault {
            Fault::Stall(Direction::In) => self.stall_in = true,
            Fault::Stall(Direction::Out) => self.stall_out = true,
            Fault::Nak(Direction::In) => self.nak_in = true,
            Fault::Nak(Direction::Out) => self.nak_out = true,
            Fault::Short(bytes) => self.short = Some(bytes),
            Fault::ProtocolError(Direction::In, times) => self.errors_in = times,
            Fault::ProtocolError(Direction::Out, times) => self.errors_out = times,
            Fault::Babble => self.babble = true,
            Fault::Cut(direction, bytes) => self.cut = Some((direction, bytes)),
            Fault::StayInBootLoader => self.stay_in_boot_loader = true,
            Fault::Reenumerate(_) => {}
        }
    }

    /// The faults one by one.
    pub fn list(&self) -> Vec<Fault> {
        let mut list = Vec::new();
        let mut add = |is_set: bool, fault: Fault| {
            if is_set {
                list.push(fault);
            }
        };
        add(self.stall_in, Fault::Stall(Direction::In));
        add(self.stall_out, Fault::Stall(Direction::Out));
        add(self.nak_in, Fault::Nak(Direction::In));
        add(self.nak_out, Fault::Nak(Direction::Out));
        add(
            self.errors_in > 0,
            Fault::ProtocolError(Direction::In, self.errors_in),
        );
        add(
            self.errors_out > 0,
            Fault::ProtocolError(Direction::Out, self.errors_out),
        );
        add(self.babble, Fault::Babble);
        add(self.stay_in_boot_loader, Fault::StayInBootLoader);
        list.extend(self.short.map(Fault::Short));
        list.extend(
            self.cut
                .map(|(direction, bytes)| Fault::Cut(direction, bytes)),
        );
        list
    }
}

/// Longest time off the bus that a script may ask for; longer is an unplug.
pub const MAX_ABSENCE: Duration = Duration::from_secs(600);

/// One misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The endpoint halts at the next transfer, or at one that waits already: every
    /// transfer stalls until the host clears it.
    Stall(Direction),
    /// Transfers in this direction stay unanswered until the fault is cleared.
    Nak(Direction),
    /// The next IN transfer ends after so many bytes; the rest is lost.
    Short(usize),
    /// The next transfers in this direction fail with a protocol error, so often. An
    /// OUT transfer's bytes do not reach the board; an IN transfer loses one reply.
    ProtocolError(Direction, u32),
    /// The next IN transfer fails because the device sent more than fits.
    Babble,
    /// The cable is cut after so many more bytes in this direction; a transfer may be
    /// cut in its middle, and the part before the cut reaches its end.
    Cut(Direction, usize),
    /// The device leaves the bus at once and comes back after this time. The board
    /// keeps its power and its state.
    Reenumerate(Duration),
    /// The boot loader ignores the command to run the application.
    StayInBootLoader,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |direction: &Direction| match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        match self {
            Self::Stall(direction) => write!(f, "stall {}", word(direction)),
            Self::Nak(direction) => write!(f, "nak {}", word(direction)),
            Self::Short(bytes) => write!(f, "short {bytes}"),
            Self::ProtocolError(direction, times) => {
                write!(f, "protocol-error {} {times}", word(direction))
            }
            Self::Babble => f.write_str("babble"),
            Self::Cut(direction, bytes) => write!(f, "cut {} {bytes}", word(direction)),
            Self::Reenumerate(absence) => write!(f, "re-enumerate {}", absence.as_millis()),
            Self::StayInBootLoader => f.write_str("stay-in-boot-loader"),
        }
    }
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no fault; there are: stall in|out, nak in|out, short BYTES, \
     protocol-error in|out [TIMES], babble, cut in|out BYTES, re-enumerate MILLISECONDS, \
     stay-in-boot-loader"
)]
pub struct BadFault(String);

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        parse(&words).ok_or_else(|| BadFault(text.to_owned()))
    }
}

fn parse(words: &[&str]) -> Option<Fault> {
    Some(match words {
        ["stall", way] => Fault::Stall(direction(way)?),
        ["nak", way] => Fault::Nak(direction(way)?),
        ["short", bytes] => Fault::Short(bytes.parse().ok()?),
        ["protocol-error", way] => Fault::ProtocolError(direction(way)?, 1),
        ["protocol-error", way, times] => Fault::ProtocolError(
            direction(way)?,
            times.parse().ok().filter(|times| *times > 0)?,
        ),
        ["babble"] => Fault::Babble,
        ["cut", way, bytes] => Fault::Cut(direction(way)?, bytes.parse().ok()?),
        ["re-enumerate", absence] => {
            let absence = Duration::from_millis(absence.parse().ok()?);
            Fault::Reenumerate(Some(absence).filter(|absence| *absence <= MAX_ABSENCE)?)
        }
        ["stay-in-boot-loader"] => Fault::StayInBootLoader,
        _ => return None,
    })
}

fn direction(word: &str) -> Option<Direction> {
    match word {
        "in" => Some(Direction::In),
        "out" => Some(Direction::Out),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_fault_that_was_set_is_listed_until_cleared() {
        let texts = [
            "stall in",
            "nak out",
            "protocol-error out 3",
            "babble",
            "stay-in-boot-loader",
            "short 17",
            "cut in 5",
        ];
        let mut faults = Faults::default();
        for text in texts {
            faults.set(text.parse().unwrap());
        }
        let listed: Vec<_> = faults.list().iter().map(Fault::to_string).collect();
        assert_eq!(listed, texts);
    }

    #[test]
    fn every_fault_reads_back_from_its_own_text() {
        for text in [
            "stall in",
            "stall out",
            "nak in",
            "nak out",
            "short 0",
            "short 17",
            "protocol-error out 3",
            "babble",
            "cut in 5",
            "cut out 0",
            "re-enumerate 250",
            "stay-in-boot-loader",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_fault_is_refused_with_the_list_of_faults() {
        for text in [
            "",
            "stall",
            "stall up",
            "short -1",
            "protocol-error in 0",
            "re-enumerate 600001",
            "babble 3",
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains("re-enumerate MILLISECONDS"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Fault>();
        }
    }
}
