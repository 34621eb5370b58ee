//! The simulated controller as a board with a USB plug.
//!
//! Owns the bridge from [`SimTransport`] to [`UsbBoard`] and nothing of the board's
//! behaviour, which is in `hasher_driver::sim`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hasher_driver::sim::{Presence, SimBoard, SimSettings, SimTransport};
use hasher_driver::transport::{Transport, TransportError, TransportEvent};
use hasher_driver::{DeviceId, DeviceSpec, DriverError};
use tokio::time::{Instant, Sleep, sleep};

use crate::board::{BoardEvent, UsbBoard};
use crate::descriptors::Program;
use crate::usbip::Direction;

/// How often a board that has no transport is looked at, to see whether it came to
/// the bus. It needs some hundred milliseconds between its programs, so this is soon.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Makes a board from its text, such as `sim:s3,zero-bits=8,boot-loader=no`.
///
/// # Errors
/// A text for whoever wrote it.
pub fn make_board(text: &str) -> Result<Box<dyn UsbBoard>, String> {
    let settings = match text.parse::<DeviceSpec>() {
        Ok(DeviceSpec::Sim(spec)) => spec.settings(),
        Ok(_) => {
            return Err(format!(
                "\"{text}\" has no USB plug; there are sim:s1 and sim:s3"
            ));
        }
        Err(error) => Err(error),
    };
    settings
        .and_then(SimulatedBoard::new)
        .map(|board| Box::new(board) as Box<dyn UsbBoard>)
        .map_err(|error| error.to_string())
}

/// A simulated board.
#[derive(Debug)]
pub struct SimulatedBoard {
    settings: SimSettings,
    board: SimBoard,
    is_plugged: bool,
    transport: Option<SimTransport>,
    /// The OUT transfer in flight.
    sending: Option<Bytes>,
    seen: Presence,
    events: VecDeque<BoardEvent>,
    look: Pin<Box<Sleep>>,
}

impl SimulatedBoard {
    /// A board that was just powered. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of [`SimBoard::new`].
    pub fn new(settings: SimSettings) -> Result<Self, DriverError> {
        let board = SimBoard::new(DeviceId("emulated".into()), settings.clone())?;
        let seen = board.present();
        Ok(Self {
            settings,
            board,
            is_plugged: false,
            transport: None,
            sending: None,
            seen,
            events: VecDeque::new(),
            look: Box::pin(sleep(LOOK_EVERY)),
        })
    }

    fn drop_transport(&mut self) {
        self.transport = None;
        self.sending = None;
    }

    /// What the transport's event is to the bus.
    fn translate(&mut self, event: TransportEvent) -> Option<BoardEvent> {
        match event {
            TransportEvent::Sent => {
                self.sending = None;
                Some(BoardEvent::OutTaken)
            }
            TransportEvent::Received(reply) => Some(BoardEvent::In(reply)),
            TransportEvent::Fault(TransportError::Stall) => {
                let direction = match self.sending.take() {
                    Some(_) => Direction::Out,
                    None => Direction::In,
                };
                Some(BoardEvent::Stalled(direction))
            }
            TransportEvent::Fault(TransportError::Timeout) => {
                // On a bus the board just goes on refusing; the host gives up when it likes.
                if let (Some(transport), Some(transfer)) = (&mut self.transport, &self.sending) {
                    transport.start_send(transfer.clone());
                }
                None
            }
            TransportEvent::Fault(_) => {
                self.drop_transport();
                None
            }
        }
    }
}

impl UsbBoard for SimulatedBoard {
    fn program(&self) -> Option<Program> {
        match self.board.present() {
            Presence::Absent => None,
            Presence::BootLoader => Some(Program::BootLoader),
            Presence::Application => Some(Program::Application),
        }
    }

    fn set_plugged(&mut self, is_plugged: bool) {
        self.is_plugged = is_plugged;
        self.drop_transport();
        self.events.clear();
    }

    fn start_out(&mut self, transfer: Bytes) {
        // Without a transport the board has just left the bus, which its next event says.
        if let Some(transport) = &mut self.transport {
            transport.start_send(transfer.clone());
            self.sending = Some(transfer);
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<BoardEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            let present = self.board.present();
            if present != self.seen {
                self.seen = present;
                self.drop_transport();
                return Poll::Ready(BoardEvent::ProgramChanged);
            }
            if let Some(transport) = &mut self.transport {
                let Poll::Ready(event) = transport.poll_event(cx) else {
                    return Poll::Pending;
                };
                let event = self.translate(event);
                self.events.extend(event);
                continue;
            }
            if self.is_plugged && present != Presence::Absent {
                // Only absence can refuse, and the next look sees that.
                self.transport = self.board.attach().ok();
                continue;
            }
            if self.look.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.look.as_mut().reset(Instant::now() + LOOK_EVERY);
        }
    }

    fn power_cycle(&mut self) -> Result<(), String> {
        let settings = SimSettings {
            boot_loader: true,
            ..self.settings.clone()
        };
        let id = self.board.id().clone();
        self.drop_transport();
        self.board = SimBoard::new(id, settings).map_err(|error| error.to_string())?;
        self.events.clear();
        self.events.push_back(BoardEvent::ProgramChanged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    use hasher_driver::boot_loader::LoaderCommand;

    async fn next(board: &mut Box<dyn UsbBoard>) -> BoardEvent {
        poll_fn(|cx| board.poll_event(cx)).await
    }

    async fn until_program(board: &mut Box<dyn UsbBoard>, program: Option<Program>) {
        while board.program() != program {
            next(board).await;
        }
    }

    /// `53000800 00000000 000082ef` of the vector file: asks an S3 for its status.
    const S3_STATUS_POLL: [u8; 12] = [0x53, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x82, 0xEF];

    #[tokio::test(start_paused = true)]
    async fn a_cold_board_comes_back_as_the_application_when_told_to_run() {
        let mut board = make_board("sim:s3").unwrap();
        assert_eq!(board.program(), Some(Program::BootLoader));
        board.set_plugged(true);
        // The first look attaches; nothing happens by itself.
        assert!(
            tokio::time::timeout(LOOK_EVERY, next(&mut board))
                .await
                .is_err()
        );
        board.start_out(LoaderCommand::RunApplication.transfer());
        until_program(&mut board, None).await;
        until_program(&mut board, Some(Program::Application)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_board_answers_a_status_query() {
        let mut board = make_board("sim:s3,boot-loader=no").unwrap();
        board.set_plugged(true);
        assert!(
            tokio::time::timeout(LOOK_EVERY, next(&mut board))
                .await
                .is_err()
        );
        board.start_out(Bytes::from_static(&S3_STATUS_POLL));
        assert_eq!(next(&mut board).await, BoardEvent::OutTaken);
        match next(&mut board).await {
            BoardEvent::In(reply) => assert_eq!(reply[..2], [0xA1, 0x00]),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_power_cycle_ends_in_the_boot_loader() {
        let mut board = make_board("sim:s1,boot-loader=no").unwrap();
        assert_eq!(board.program(), Some(Program::Application));
        board.power_cycle().unwrap();
        assert_eq!(board.program(), Some(Program::BootLoader));
        assert_eq!(next(&mut board).await, BoardEvent::ProgramChanged);
    }

    #[tokio::test]
    async fn a_cpu_is_refused_because_it_has_no_plug() {
        let error = make_board("cpu").err().unwrap();
        assert!(error.contains("no USB plug"), "{error}");
        assert!(make_board("toaster").is_err());
    }
}
