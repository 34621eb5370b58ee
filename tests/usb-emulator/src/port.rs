//! Where a cable ends, and what travels on it while it is in.
//!
//! Owns the choice between the two front ends: the kernel's virtual host controller
//! ([`crate::vhci`]) and a device controller that plays the board for a real host
//! ([`crate::gadget`]). Both give a [`Wire`]: requests of the host come out, responses
//! go in.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::descriptors::Program;
use crate::fault::Fault;
use crate::gadget::{GadgetError, GadgetPort, GadgetWire};
use crate::usbip::{Request, Response};
use crate::vhci::{PORTS, UsbipWire, VhciError, VhciPort};

/// How long a port may take to become free after an unplug; the kernel needs some
/// tens of milliseconds, more on a busy machine.
const FREE_WITHIN: Duration = Duration::from_secs(5);

/// Pause between two looks at a port that is not free yet.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// Where a cable can be plugged in.
#[derive(Debug, Clone)]
pub enum Port {
    /// A port of the kernel's virtual host controller.
    Vhci(VhciPort),
    /// This machine's USB device controller, behind gadgetfs.
    Gadget(GadgetPort),
}

impl Port {
    /// Reads the text of a port: a number, or the directory where gadgetfs is mounted.
    ///
    /// # Errors
    /// A text for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Gadget(GadgetPort::new(text)));
        }
        text.parse()
            .ok()
            .filter(|number| *number < PORTS)
            .map(|number| Self::Vhci(VhciPort::new(number)))
            .ok_or_else(|| {
                format!(
                    "\"{text}\" is no port; there are 0 to {} and directories of gadgetfs",
                    PORTS - 1
                )
            })
    }

    /// The name of the device below `/sys/bus/usb/devices`, where this machine is the
    /// host.
    pub fn device_name(&self) -> Option<String> {
        match self {
            Self::Vhci(port) => port.device_name().ok(),
            Self::Gadget(_) => None,
        }
    }

    /// Waits until something can be plugged in.
    ///
    /// # Errors
    /// A text when nothing ever can, or not within five seconds.
    pub async fn wait_until_free(&self) -> Result<(), String> {
        self.patiently(|| match self {
            Self::Vhci(port) => port.check_free().map_err(Refusal::from),
            Self::Gadget(port) => port.check().map_err(Refusal::from),
        })
        .await
    }

    /// Puts the plug in, as soon as the port is free.
    ///
    /// # Errors
    /// A text that names what the system refused, or that the port did not become free
    /// within five seconds.
    pub async fn plug(&self, program: Program) -> Result<Wire, String> {
        self.patiently(|| match self {
            Self::Vhci(port) => {
                port.check_free()?;
                Ok(Wire::Usbip(port.plug()?))
            }
            Self::Gadget(port) => Ok(Wire::Gadget(Box::new(port.plug(program)?))),
        })
        .await
    }

    /// Tries again while the kernel still takes down what was plugged in before.
    async fn patiently<T>(&self, step: impl Fn() -> Result<T, Refusal>) -> Result<T, String> {
        let deadline = Instant::now() + FREE_WITHIN;
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(refusal) if refusal.is_busy && Instant::now() < deadline => {
                    sleep(RETRY_EVERY).await;
                }
                Err(refusal) => return Err(refusal.text),
            }
        }
    }

    /// Why a fault cannot be made here, if it cannot.
    pub fn refuses(&self, fault: Fault) -> Option<String> {
        match (self, fault) {
            (Self::Gadget(_), Fault::ProtocolError(..) | Fault::Babble) => Some(format!(
                "a device controller cannot be told to do \"{fault}\"; use a numbered port"
            )),
            _ => None,
        }
    }
}

struct Refusal {
    is_busy: bool,
    text: String,
}

impl From<VhciError> for Refusal {
    fn from(error: VhciError) -> Self {
        Self {
            is_busy: matches!(error, VhciError::InUse(_)),
            text: error.to_string(),
        }
    }
}

impl From<GadgetError> for Refusal {
    fn from(error: GadgetError) -> Self {
        Self {
            is_busy: error.is_busy(),
            text: error.to_string(),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vhci(port) => port.number().fmt(f),
            Self::Gadget(port) => f.write_str(port.directory()),
        }
    }
}

/// A cable that is plugged in; dropping it pulls the plug.
#[derive(Debug)]
pub enum Wire {
    /// To the virtual host controller.
    Usbip(UsbipWire),
    /// To a host behind a device controller.
    Gadget(Box<GadgetWire>),
}

impl Wire {
    /// The host's next request. Cancel-safe.
    ///
    /// # Errors
    /// A text that says why the cable is out.
    pub async fn next_request(&mut self) -> Result<Request, String> {
        match self {
            Self::Usbip(wire) => wire.next_request().await,
            Self::Gadget(wire) => wire.next_request().await,
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// A text that says why the cable is out.
    pub async fn respond(&mut self, response: Response) -> Result<(), String> {
        match self {
            Self::Usbip(wire) => wire.respond(&response).await,
            Self::Gadget(wire) => wire.respond(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_back_from_their_own_text() {
        for text in ["0", "14", "/dev/gadget"] {
            assert_eq!(Port::parse(text).unwrap().to_string(), text);
        }
        assert!(Port::parse("15").unwrap_err().contains("0 to 14"));
        assert!(Port::parse("usb").is_err());
    }

    #[test]
    fn a_gadget_refuses_what_only_the_bus_itself_can_do() {
        let gadget = Port::parse("/dev/gadget").unwrap();
        let bus = Port::parse("0").unwrap();
        for fault in ["babble", "protocol-error in"] {
            assert!(gadget.refuses(fault.parse().unwrap()).is_some());
            assert!(bus.refuses(fault.parse().unwrap()).is_none());
        }
        assert!(gadget.refuses("stall in".parse().unwrap()).is_none());
    }
}
