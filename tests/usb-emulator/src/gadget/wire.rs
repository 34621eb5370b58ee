//! A gadget that is plugged in, seen as requests and responses.
//!
//! Owns the control file, whose closing pulls the plug, and says its events and the
//! endpoints' news as the [`Request`]s that the virtual host controller would send.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::GadgetPort;
use super::endpoint::{Endpoints, Job, News};
use crate::descriptors::{IN_ADDRESS, OUT_ADDRESS, Program};
use crate::usbip::{Direction, Request, Response, Sequence, Status, Submit};

/// How often the control file is asked for events. It can be polled by epoll, but tells
/// an aborted request as a hang-up, after which it would be ready for ever. A host
/// waits seconds for an answer.
const EVENTS_EVERY: Duration = Duration::from_millis(2);

/// Room of the one IN transfer that always waits: any reply fits, and its end is the
/// host's business.
const IN_BYTES: usize = 4096;

// One transfer of each kind is under way at most, so constant numbers suffice.
const CONTROL: Sequence = Sequence(0);
const INPUT: Sequence = Sequence(1);
const OUTPUT: Sequence = Sequence(2);
const INTERNAL: Sequence = Sequence(3);

/// One event of the control file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Disconnect,
    Setup([u8; 8]),
    /// Connected, suspended: nothing to do.
    Other,
}

/// Length of `struct usb_gadgetfs_event`.
const EVENT_BYTES: usize = 12;

fn parse_event(bytes: [u8; EVENT_BYTES]) -> Event {
    let [setup @ .., a, b, c, d] = bytes;
    match u32::from_ne_bytes([a, b, c, d]) {
        2 => Event::Disconnect,
        3 => Event::Setup(setup),
        _ => Event::Other,
    }
}

/// A device on the bus of the host behind the controller; dropping it unplugs.
#[derive(Debug)]
pub struct GadgetWire {
    port: GadgetPort,
    program: Program,
    /// Stands before the control file: fields are dropped in order.
    endpoints: Option<Endpoints>,
    control: File,
    events: Interval,
    requests: VecDeque<Request>,
    is_control_in: bool,
}

impl GadgetWire {
    pub(super) fn new(port: GadgetPort, program: Program, control: File) -> Self {
        let mut events = interval(EVENTS_EVERY);
        events.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            port,
            program,
            endpoints: None,
            control,
            events,
            requests: VecDeque::new(),
            is_control_in: false,
        }
    }

    /// The host's next request. Cancel-safe.
    ///
    /// # Errors
    /// A text when the gadget's files fail.
    pub async fn next_request(&mut self) -> Result<Request, String> {
        loop {
            if let Some(request) = self.requests.pop_front() {
                return Ok(request);
            }
            tokio::select! {
                _ = self.events.tick() => self.take_event()?,
                news = next_news(&mut self.endpoints) => match news {
                    Some(news) => self.take_news(news),
                    // Both threads ended; the control file will say why.
                    None => self.endpoints = None,
                },
            }
        }
    }

    fn take_event(&mut self) -> Result<(), String> {
        let mut bytes = [0; EVENT_BYTES];
        match (&self.control).read(&mut bytes) {
            Ok(_) => {}
            // Nothing there, or the host gave up a request that was under way.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IDRM.raw_os_error()) => {
                return Ok(());
            }
            Err(error) => return Err(format!("control file failed: {error}")),
        }
        match parse_event(bytes) {
            Event::Other => {}
            Event::Disconnect => {
                self.endpoints = None;
                self.requests.push_back(Request::Unlink {
                    sequence: INTERNAL,
                    victim: INPUT,
                });
            }
            Event::Setup(setup) => self.take_setup(setup)?,
        }
        Ok(())
    }

    fn take_setup(&mut self, setup: [u8; 8]) -> Result<(), String> {
        let [request_type, request, value, ..] = setup;
        self.is_control_in = request_type & 0x80 != 0;
        let length = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        self.requests
            .push_back(control(CONTROL, self.is_control_in, setup, length));
        const SET_CONFIGURATION: u8 = 9;
        if (request_type, request) == (0, SET_CONFIGURATION) {
            self.endpoints = None;
            if value != 0 {
                let endpoints = Endpoints::open(&self.port, self.program);
                self.endpoints = Some(endpoints.map_err(|error| error.to_string())?);
                self.requests.push_back(input());
            }
        }
        Ok(())
    }

    fn take_news(&mut self, news: News) {
        self.requests.push_back(match news {
            News::Sent => input(),
            News::Received(data) => Request::Submit(Submit {
                sequence: OUTPUT,
                endpoint: 1,
                direction: Direction::Out,
                length: data.len(),
                setup: [0; 8],
                data,
            }),
            News::Halted(direction) => {
                // From here on the stack keeps the halt and clears it for the host.
                let address = match direction {
                    Direction::In => {
                        self.requests.push_back(input());
                        IN_ADDRESS
                    }
                    Direction::Out => {
                        self.order(Direction::Out, Job::Receive);
                        OUT_ADDRESS
                    }
                };
                self.requests.push_front(control(
                    INTERNAL,
                    false,
                    [0x02, 1, 0, 0, address, 0, 0, 0],
                    0,
                ));
                return;
            }
        });
    }

    fn order(&self, direction: Direction, job: Job) {
        if let Some(endpoints) = &self.endpoints {
            endpoints.order(direction, job);
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// None at present: what fails here is told by the control file.
    pub fn respond(&mut self, response: Response) -> Result<(), String> {
        let Response::Submit {
            sequence,
            status,
            data,
            ..
        } = response
        else {
            return Ok(());
        };
        match (sequence, status) {
            (CONTROL, status) => self.answer_control(status, &data),
            (INPUT, Status::Stall) => self.order(Direction::In, Job::Halt),
            (INPUT, _) => self.order(Direction::In, Job::Send(data)),
            (OUTPUT, Status::Stall) => self.order(Direction::Out, Job::Halt),
            (OUTPUT, _) => self.order(Direction::Out, Job::Receive),
            _ => {}
        }
        Ok(())
    }

    /// A call in the direction of the data stage answers, in the other it stalls. The
    /// host may have given up meanwhile, so failures mean nothing.
    fn answer_control(&self, status: Status, data: &[u8]) {
        let mut control = &self.control;
        let _ = match (self.is_control_in, status) {
            (true, Status::Ok) => control.write(data),
            (true, _) => control.read(&mut [0; 1]),
            (false, Status::Ok) => control.read(&mut []),
            (false, _) => control.write(&[0; 1]),
        };
    }
}

async fn next_news(endpoints: &mut Option<Endpoints>) -> Option<News> {
    match endpoints {
        Some(endpoints) => endpoints.news().await,
        None => std::future::pending().await,
    }
}

fn input() -> Request {
    Request::Submit(Submit {
        sequence: INPUT,
        endpoint: 1,
        direction: Direction::In,
        length: IN_BYTES,
        setup: [0; 8],
        data: Bytes::new(),
    })
}

fn control(sequence: Sequence, is_in: bool, setup: [u8; 8], length: usize) -> Request {
    Request::Submit(Submit {
        sequence,
        endpoint: 0,
        direction: if is_in { Direction::In } else { Direction::Out },
        length,
        setup,
        data: Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_carry_their_set_up_packet_before_their_type() {
        let mut bytes = [0; EVENT_BYTES];
        bytes[..8].copy_from_slice(&[0x80, 6, 0, 3, 0, 0, 255, 0]);
        bytes[8..].copy_from_slice(&3u32.to_ne_bytes());
        assert_eq!(
            parse_event(bytes),
            Event::Setup([0x80, 6, 0, 3, 0, 0, 255, 0])
        );
        bytes[8..].copy_from_slice(&2u32.to_ne_bytes());
        assert_eq!(parse_event(bytes), Event::Disconnect);
        bytes[8..].copy_from_slice(&1u32.to_ne_bytes());
        assert_eq!(parse_event(bytes), Event::Other);
    }
}
