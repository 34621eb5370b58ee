//! One device on one cable: what becomes of every transfer.
//!
//! Owns the transfers that wait on the three endpoints, the reply that the board has
//! armed, and the faults of the bus. A pure state machine: requests of the kernel and
//! news of the board go in, responses for the kernel and OUT bytes for the board come
//! out. [`crate::cable`] carries them; nothing here waits or does I/O.
//!
//! Transfers arrive whole, not as packets, so this is also where an IN transfer learns
//! that it ends at a short packet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use hasher_driver::boot_loader::LoaderCommand;

use crate::descriptors::{Answer, EndpointZero, PACKET_BYTES, Program};
use crate::fault::{Fault, Faults};
use crate::usbip::{Direction, Request, Response, Sequence, Status, Submit};

/// Transfers that may wait on one endpoint. A host driver keeps a handful; usbfs
/// itself sets no number, so a runaway program is cut off here.
pub const MAX_WAITING: usize = 256;

/// Replies kept while an OUT transfer is on its way to the board. The controller arms
/// one; the others bridge the moment in which both directions move at once.
const MAX_ARMED: usize = 16;

/// The transfers of one device from plug to unplug.
#[derive(Debug)]
pub struct Transfers {
    zero: EndpointZero,
    faults: Faults,
    waiting_in: VecDeque<WaitingIn>,
    waiting_out: VecDeque<Submit>,
    at_board: Option<AtBoard>,
    armed: VecDeque<Bytes>,
    responses: VecDeque<Response>,
    is_cut: bool,
}

#[derive(Debug)]
struct WaitingIn {
    sequence: Sequence,
    length: usize,
    data: BytesMut,
}

#[derive(Debug)]
struct AtBoard {
    sequence: Sequence,
    length: usize,
    is_wanted: bool,
}

impl Transfers {
    /// A device that was just plugged in, with the faults that wait for it.
    pub fn new(program: Program, faults: Faults) -> Self {
        Self {
            zero: EndpointZero::new(program),
            faults,
            waiting_in: VecDeque::new(),
            waiting_out: VecDeque::new(),
            at_board: None,
            armed: VecDeque::new(),
            responses: VecDeque::new(),
            is_cut: false,
        }
    }

    /// The device is unplugged: what waited is gone, the faults that have not
    /// happened yet remain.
    pub fn into_faults(self) -> Faults {
        self.faults
    }

    /// The faults that have not happened yet.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Which program of the controller is plugged in.
    pub const fn program(&self) -> Program {
        self.zero.program()
    }

    /// Whether the cable is cut: nothing more may be sent to the kernel.
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Begins a fault.
    pub fn set_fault(&mut self, fault: Fault) {
        self.faults.set(fault);
        self.apply_stalls();
        self.deliver();
    }

    /// Ends all faults. A halted endpoint stays halted: only the host clears it.
    pub fn clear_faults(&mut self) {
        self.faults = Faults::default();
        self.deliver();
    }

    /// A stall happens to the first transfer that waits.
    fn apply_stalls(&mut self) {
        if !self.waiting_in.is_empty() && std::mem::take(&mut self.faults.stall_in) {
            self.halt(Direction::In);
        }
        if !self.waiting_out.is_empty() && std::mem::take(&mut self.faults.stall_out) {
            self.halt(Direction::Out);
        }
    }

    fn halt(&mut self, direction: Direction) {
        self.zero.halt(direction);
        match direction {
            Direction::In => {
                for transfer in std::mem::take(&mut self.waiting_in) {
                    self.end_in(transfer, Status::Stall);
                }
            }
            Direction::Out => {
                for transfer in std::mem::take(&mut self.waiting_out) {
                    self.end_out(transfer.sequence, 0, Status::Stall);
                }
            }
        }
    }

    /// Takes one request of the kernel. `false` means that it keeps more transfers
    /// waiting than [`MAX_WAITING`]; the caller then drops the cable.
    #[must_use]
    pub fn request(&mut self, request: Request) -> bool {
        match request {
            Request::Unlink { sequence, victim } => self.unlink(sequence, victim),
            Request::Submit(submit) => match (submit.endpoint, submit.direction) {
                (0, _) => self.control(&submit),
                (1, direction) if self.zero.is_halted(direction) => {
                    self.end_out(submit.sequence, 0, Status::Stall);
                }
                (1, Direction::In) => {
                    self.waiting_in.push_back(WaitingIn {
                        sequence: submit.sequence,
                        length: submit.length,
                        data: BytesMut::new(),
                    });
                }
                (1, Direction::Out) => self.waiting_out.push_back(submit),
                _ => self.end_out(submit.sequence, 0, Status::Stall),
            },
        }
        self.apply_stalls();
        self.deliver();
        self.waiting_in.len() <= MAX_WAITING && self.waiting_out.len() <= MAX_WAITING
    }

    fn control(&mut self, submit: &Submit) {
        let (status, data) = match self.zero.answer(submit.setup.into()) {
            Answer::Accepted => (Status::Ok, Bytes::new()),
            Answer::Data(bytes) => (Status::Ok, Bytes::from(bytes.into_owned())),
            Answer::Stall => (Status::Stall, Bytes::new()),
        };
        let data = data.slice(..data.len().min(submit.length));
        let actual_length = match submit.direction {
            Direction::In => data.len(),
            Direction::Out if status == Status::Ok => submit.data.len(),
            Direction::Out => 0,
        };
        self.responses.push_back(Response::Submit {
            sequence: submit.sequence,
            status,
            actual_length,
            data,
        });
    }

    fn unlink(&mut self, sequence: Sequence, victim: Sequence) {
        let before = self.waiting_in.len() + self.waiting_out.len();
        self.waiting_in
            .retain(|transfer| transfer.sequence != victim);
        self.waiting_out
            .retain(|transfer| transfer.sequence != victim);
        let mut found = self.waiting_in.len() + self.waiting_out.len() < before;
        if let Some(transfer) = self.at_board.as_mut()
            && transfer.sequence == victim
            && transfer.is_wanted
        {
            // The board may have it already; the host cannot know either way.
            transfer.is_wanted = false;
            found = true;
        }
        let status = if found { Status::Unlinked } else { Status::Ok };
        self.responses
            .push_back(Response::Unlink { sequence, status });
    }

    /// The OUT transfer that the board should take now. It keeps the endpoint busy
    /// until [`out_taken`](Self::out_taken).
    pub fn next_out(&mut self) -> Option<Bytes> {
        loop {
            if self.at_board.is_some() || self.faults.nak_out || self.is_cut {
                return None;
            }
            let transfer = self.waiting_out.pop_front()?;
            if self.faults.errors_out > 0 {
                self.faults.errors_out -= 1;
                self.end_out(transfer.sequence, 0, Status::ProtocolError);
                continue;
            }
            let mut data = transfer.data;
            let carried = self.before_cut(Direction::Out, data.len());
            data.truncate(carried);
            let is_ignored = self.faults.stay_in_boot_loader
                && self.program() == Program::BootLoader
                && LoaderCommand::decode(&data) == Ok(LoaderCommand::RunApplication);
            if is_ignored || data.is_empty() {
                // A zero-length packet carries nothing to a controller.
                self.end_out(transfer.sequence, carried, Status::Ok);
                continue;
            }
            self.at_board = Some(AtBoard {
                sequence: transfer.sequence,
                length: carried,
                is_wanted: true,
            });
            return Some(data);
        }
    }

    /// Whether the board still has to take a transfer.
    pub const fn is_board_busy(&self) -> bool {
        self.at_board.is_some()
    }

    /// The board took the transfer that [`next_out`](Self::next_out) gave.
    pub fn out_taken(&mut self) {
        if let Some(transfer) = self.at_board.take()
            && transfer.is_wanted
        {
            self.end_out(transfer.sequence, transfer.length, Status::Ok);
        }
    }

    /// The board stalled: the transfer it was taking, or the next IN transfer.
    pub fn stalled(&mut self, direction: Direction) {
        if direction == Direction::Out
            && let Some(transfer) = self.at_board.take()
            && transfer.is_wanted
        {
            self.end_out(transfer.sequence, 0, Status::Stall);
        }
        self.halt(direction);
    }

    /// Whether the board may be asked for its next event: the controller arms its next
    /// reply only when the last one was collected.
    pub fn can_arm(&self) -> bool {
        let room = if self.at_board.is_some() {
            MAX_ARMED
        } else {
            1
        };
        self.armed.len() < room
    }

    /// The board armed a reply.
    pub fn arm(&mut self, reply: Bytes) {
        self.armed.push_back(reply);
        self.deliver();
    }

    /// The next response for the kernel.
    pub fn next_response(&mut self) -> Option<Response> {
        if self.is_cut {
            return None;
        }
        self.responses.pop_front()
    }

    /// Fills waiting IN transfers from armed replies.
    fn deliver(&mut self) {
        while !self.faults.nak_in
            && !self.is_cut
            && !self.zero.is_halted(Direction::In)
            && !self.waiting_in.is_empty()
            && let Some(mut reply) = self.armed.pop_front()
        {
            let Some(mut transfer) = self.waiting_in.pop_front() else {
                return;
            };
            if self.faults.errors_in > 0 {
                self.faults.errors_in -= 1;
                self.end_in(transfer, Status::ProtocolError);
                continue;
            }
            if std::mem::take(&mut self.faults.babble) {
                self.end_in(transfer, Status::Babble);
                continue;
            }
            let is_shortened = match self.faults.short.take() {
                Some(bytes) => {
                    reply.truncate(bytes);
                    true
                }
                None => false,
            };
            let carried = self.before_cut(Direction::In, reply.len());
            if self.is_cut {
                // What the host controller had of the transfer dies with the device.
                reply.truncate(carried);
            }
            let end = fill(&mut transfer, &mut reply);
            if !reply.is_empty() && !is_shortened {
                self.armed.push_front(reply);
            }
            match end {
                Some(status) => self.end_in(transfer, status),
                None if is_shortened => self.end_in(transfer, Status::Ok),
                None => self.waiting_in.push_front(transfer),
            }
        }
    }

    /// How many of `bytes` pass before the cut, if one is due in this direction.
    fn before_cut(&mut self, direction: Direction, bytes: usize) -> usize {
        match self.faults.cut {
            Some((cut, left)) if cut == direction && bytes < left => {
                self.faults.cut = Some((cut, left - bytes));
                bytes
            }
            Some((cut, left)) if cut == direction => {
                self.faults.cut = None;
                self.is_cut = true;
                left
            }
            _ => bytes,
        }
    }

    fn end_in(&mut self, transfer: WaitingIn, status: Status) {
        self.responses.push_back(Response::Submit {
            sequence: transfer.sequence,
            status,
            actual_length: transfer.data.len(),
            data: transfer.data.freeze(),
        });
    }

    fn end_out(&mut self, sequence: Sequence, actual_length: usize, status: Status) {
        self.responses.push_back(Response::Submit {
            sequence,
            status,
            actual_length,
            data: Bytes::new(),
        });
    }
}

/// Moves packets of `reply` into `transfer`; says how the transfer ended, or nothing
/// if it goes on with the next reply.
fn fill(transfer: &mut WaitingIn, reply: &mut Bytes) -> Option<Status> {
    loop {
        let packet = reply.split_to(reply.len().min(PACKET_BYTES));
        let room = transfer.length - transfer.data.len();
        if packet.len() > room {
            transfer.data.extend_from_slice(&packet[..room]);
            return Some(Status::Babble);
        }
        transfer.data.extend_from_slice(&packet);
        if packet.len() < PACKET_BYTES || transfer.data.len() == transfer.length {
            return Some(Status::Ok);
        }
        if reply.is_empty() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
