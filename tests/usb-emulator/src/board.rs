//! What a front end needs from a board: bytes in, bytes out, and which program of its
//! controller is on the bus.
//!
//! Owns the trait [`UsbBoard`]; the boards themselves live elsewhere. A board keeps its
//! power and state while it is unplugged.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::descriptors::Program;
use crate::usbip::Direction;

/// What a board does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoardEvent {
    /// It took the OUT transfer in flight.
    OutTaken,
    /// It stalled: the OUT transfer in flight, or the next IN transfer.
    Stalled(Direction),
    /// It armed a reply: the bytes of one IN transfer, at least one.
    In(Bytes),
    /// [`UsbBoard::program`] changed: it left the bus or came back.
    ProgramChanged,
}

/// The device side of a cable.
pub trait UsbBoard: Send {
    /// Which program would be seen if the cable were plugged in; nothing while the
    /// controller is off the bus, as between boot loader and application.
    fn program(&self) -> Option<Program>;

    /// Tells it that it is on the bus now, or no more. Off the bus its only event is
    /// [`BoardEvent::ProgramChanged`].
    fn set_plugged(&mut self, is_plugged: bool);

    /// Gives it the bytes of one OUT transfer, at least one; the next may follow after
    /// [`BoardEvent::OutTaken`] or [`BoardEvent::Stalled`].
    fn start_out(&mut self, transfer: Bytes);

    /// The next thing it does. Drives the board. Cancel-safe: an event that was not
    /// returned is kept.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BoardEvent>;

    /// Takes its power away and gives it back: the controller starts in its boot
    /// loader. [`program`](Self::program) is right at once.
    ///
    /// # Errors
    /// A text for whoever asked, if it could not start again.
    fn power_cycle(&mut self) -> Result<(), String>;
}
