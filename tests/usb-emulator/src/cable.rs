//! One board, its cable, and the port at the cable's end.
//!
//! Owns a board for as long as it exists and does what the control socket says: plug,
//! unplug, power-cycle, misbehave. While the cable is in, carries requests of the
//! kernel to [`Transfers`] and news of the board back. What the bytes mean is not
//! known here.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::board::{BoardEvent, UsbBoard};
use crate::fault::{Fault, Faults};
use crate::port::{Port, Wire};
use crate::transfers::{MAX_WAITING, Transfers};

/// How long a board may take for the bytes before a cut; it normally takes them at once.
const LAST_BYTES_WITHIN: Duration = Duration::from_secs(1);

/// What a cable is told to do. Each answers with a text for the person who asked, or
/// with the reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put the plug in.
    Plug,
    /// Pull it.
    Unplug,
    /// Take the board's power away for a moment.
    PowerCycle,
    /// Misbehave.
    Fault(Fault),
    /// Stop misbehaving.
    Clear,
    /// Say how things are.
    Describe,
}

/// An [`Action`] and where its answer goes.
pub type Order = (Action, oneshot::Sender<Result<String, String>>);

/// How the time on the bus ended.
#[derive(Debug)]
enum End {
    /// Pulled, cut, or dropped by the kernel: stays out until it is plugged again.
    Out(String),
    /// The board left the bus by itself: comes back when it has a program again.
    BoardLeft,
    /// Comes back after this time.
    Away(Duration),
    /// The owner is gone.
    Closed,
}

/// One board with its cable.
pub struct Cable {
    name: String,
    board: Box<dyn UsbBoard>,
    port: Port,
    faults: Faults,
    is_plugged: bool,
    away_until: Option<Instant>,
}

impl Cable {
    /// A board whose cable is not plugged in. `name` is for the log.
    pub fn new(name: String, board: Box<dyn UsbBoard>, port: Port) -> Self {
        Self {
            name,
            board,
            port,
            faults: Faults::default(),
            is_plugged: false,
            away_until: None,
        }
    }

    /// Carries out orders until their sender is dropped; then unplugs and ends.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            if self.is_due() {
                match self.serve(&mut orders).await {
                    End::Closed => return,
                    End::BoardLeft => self.log("left the bus"),
                    End::Away(absence) => {
                        self.log("leaves the bus for a while");
                        self.away_until = Some(Instant::now() + absence);
                    }
                    End::Out(reason) => {
                        self.log(&reason);
                        self.is_plugged = false;
                    }
                }
                continue;
            }
            let until = self.away_until;
            let back = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = back => self.away_until = None,
                // Only changes of the program matter while the cable is out.
                _ = poll_fn(|cx| self.board.poll_event(cx)) => {}
                order = orders.recv() => match order {
                    Some((action, reply)) => {
                        let answer = self.obey(action).await;
                        // Whoever asked may have gone; the action stands.
                        let _ = reply.send(answer);
                    }
                    None => return,
                },
            }
        }
    }

    /// Whether the device should be on the bus but is not.
    fn is_due(&self) -> bool {
        self.is_plugged && self.away_until.is_none() && self.board.program().is_some()
    }

    /// An order while the device is not on the bus.
    async fn obey(&mut self, action: Action) -> Result<String, String> {
        match action {
            Action::Plug if self.is_plugged => Err("already plugged in".into()),
            Action::Plug => {
                // An unusable port is told to whoever plugs, not only to the log.
                self.port.wait_until_free().await?;
                self.is_plugged = true;
                Ok(String::new())
            }
            Action::Unplug if !self.is_plugged => Err("not plugged in".into()),
            Action::Unplug => {
                self.is_plugged = false;
                self.away_until = None;
                Ok(String::new())
            }
            Action::PowerCycle => self.board.power_cycle().map(|()| String::new()),
            Action::Fault(Fault::Reenumerate(_)) => Err("not on the bus".into()),
            Action::Fault(fault) => match self.port.refuses(fault) {
                Some(reason) => Err(reason),
                None => {
                    self.faults.set(fault);
                    Ok(String::new())
                }
            },
            Action::Clear => {
                self.faults = Faults::default();
                Ok(String::new())
            }
            Action::Describe => Ok(self.describe("off-the-bus", &self.faults)),
        }
    }

    /// One time on the bus.
    async fn serve(&mut self, orders: &mut mpsc::Receiver<Order>) -> End {
        let Some(program) = self.board.program() else {
            return End::BoardLeft;
        };
        let mut wire = match self.port.plug(program).await {
            Ok(wire) => wire,
            Err(error) => return End::Out(error),
        };
        self.log(&format!("on port {} as {}", self.port, program.as_str()));
        let mut transfers = Transfers::new(program, std::mem::take(&mut self.faults));
        self.board.set_plugged(true);
        let end = self.carry(&mut transfers, &mut wire, orders).await;
        self.board.set_plugged(false);
        self.faults = transfers.into_faults();
        end
    }

    async fn carry(
        &mut self,
        transfers: &mut Transfers,
        wire: &mut Wire,
        orders: &mut mpsc::Receiver<Order>,
    ) -> End {
        loop {
            if let Some(transfer) = transfers.next_out() {
                self.board.start_out(transfer);
            }
            if transfers.is_cut() {
                // What passed before the cut still reaches the board.
                let _ = timeout(LAST_BYTES_WITHIN, self.settle(transfers)).await;
                return End::Out("cable cut".to_owned());
            }
            while let Some(response) = transfers.next_response() {
                if let Err(error) = wire.respond(response).await {
                    return End::Out(error);
                }
            }
            if self.board.program() != Some(transfers.program()) {
                return End::BoardLeft;
            }
            let can_arm = transfers.can_arm();
            // Every branch is cancel-safe: wire and board keep what was not taken, the
            // channel its orders.
            tokio::select! {
                request = wire.next_request() => match request {
                    Ok(request) => if !transfers.request(request) {
                        return End::Out(format!("more than {MAX_WAITING} transfers wait"));
                    },
                    Err(error) => return End::Out(error),
                },
                event = poll_fn(|cx| self.board.poll_event(cx)), if can_arm => match event {
                    BoardEvent::OutTaken => transfers.out_taken(),
                    BoardEvent::Stalled(direction) => transfers.stalled(direction),
                    BoardEvent::In(reply) => transfers.arm(reply),
                    BoardEvent::ProgramChanged => {}
                },
                order = orders.recv() => {
                    let Some((action, reply)) = order else {
                        return End::Closed;
                    };
                    let (answer, end) = self.obey_on_bus(action, transfers);
                    let _ = reply.send(answer);
                    if let Some(end) = end {
                        return end;
                    }
                }
            }
        }
    }

    /// An order while the device is on the bus.
    fn obey_on_bus(
        &mut self,
        action: Action,
        transfers: &mut Transfers,
    ) -> (Result<String, String>, Option<End>) {
        let done = Ok(String::new());
        match action {
            Action::Plug => (Err("already plugged in".into()), None),
            Action::Unplug => (done, Some(End::Out("unplugged".to_owned()))),
            Action::PowerCycle => match self.board.power_cycle() {
                Ok(()) => (done, Some(End::BoardLeft)),
                Err(error) => (Err(error), None),
            },
            Action::Fault(Fault::Reenumerate(absence)) => (done, Some(End::Away(absence))),
            Action::Fault(fault) => match self.port.refuses(fault) {
                Some(reason) => (Err(reason), None),
                None => {
                    transfers.set_fault(fault);
                    (done, None)
                }
            },
            Action::Clear => {
                transfers.clear_faults();
                (done, None)
            }
            Action::Describe => (
                Ok(self.describe(transfers.program().as_str(), transfers.faults())),
                None,
            ),
        }
    }

    /// Waits until the board took the transfer in flight.
    async fn settle(&mut self, transfers: &mut Transfers) {
        while transfers.is_board_busy() {
            if poll_fn(|cx| self.board.poll_event(cx)).await == BoardEvent::OutTaken {
                transfers.out_taken();
            }
        }
    }

    fn describe(&self, state: &str, faults: &Faults) -> String {
        let plugged = if self.is_plugged {
            "plugged"
        } else {
            "unplugged"
        };
        let device = self.port.device_name().unwrap_or_else(|| "unknown".into());
        let mut text = format!(
            "{} port={} device={device} {plugged} {state}",
            self.name, self.port
        );
        for fault in faults.list() {
            text.push_str(&format!(" fault=\"{fault}\""));
        }
        text
    }

    fn log(&self, what: &str) {
        eprintln!("board {}: {what}", self.name);
    }
}

#[cfg(test)]
mod tests;
