//! What people, and the machine, want of one device.
//!
//! Owns the orders that wait for the device, what is remembered of the earlier ones
//! (paused by a person, a confirmed clock, a clock on trial), and the signs that the
//! device's place or the machine's sleep changed. The supervisor asks it at every wait.

use hasher_driver::{Clock, DeviceId, HashDevice};
use hasher_wire::Status;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Place;
use crate::core::CallError;
use crate::device_task::{Command, Commands};
use crate::hub::Hub;
use crate::orders::{Order, OrderRequest, TRIAL_TIME};
use crate::time::sleep_until;

/// See the [module](self).
pub(super) struct Wishes {
    pub(super) place: Place,
    device: DeviceId,
    orders: mpsc::Receiver<OrderRequest>,
    sleeping: watch::Receiver<bool>,
    is_paused: bool,
    /// In place of the clock of the device's settings.
    clock: Option<Clock>,
    trial: Option<Trial>,
    /// A person ordered a reset of the device that is open.
    is_reset_ordered: bool,
}

/// A clock that nobody has confirmed.
#[derive(Debug, Clone, Copy)]
struct Trial {
    clock: Clock,
    until: Instant,
}

/// What ends a wait for a device that is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The daemon stops.
    Stop,
    /// Something was plugged in or out.
    Place,
    /// The machine is about to sleep, or awake again.
    Sleep,
    /// A person wants it tried at once.
    Reset,
}

/// What concerns a device that is open.
pub(super) enum News {
    Order(OrderRequest),
    /// Nobody confirmed the clock on trial.
    TrialIsOver,
    /// The machine is about to sleep.
    Sleep,
}

impl Wishes {
    /// Nobody wants anything yet.
    pub(super) fn new(place: Place, device: &DeviceId, hub: &Hub) -> Self {
        Self {
            place,
            device: device.clone(),
            orders: hub.orders().receiver(&device.0),
            sleeping: hub.power().watch(),
            is_paused: false,
            clock: None,
            trial: None,
            is_reset_ordered: false,
        }
    }

    /// Whether the device must be released, because the machine is about to sleep.
    pub(super) fn is_sleeping(&mut self) -> bool {
        *self.sleeping.borrow_and_update()
    }

    /// Whether a device that was closed in good order is wanted again.
    pub(super) fn wants_it_open_again(&mut self) -> bool {
        std::mem::take(&mut self.is_reset_ordered) || self.is_sleeping()
    }

    // ---- while the device is not open ----

    /// Obeys orders until something else happens. Cancel-safe.
    pub(super) async fn interruption(&mut self, stop: &CancellationToken) -> Interruption {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Interruption::Stop,
                () = self.place.changed() => return Interruption::Place,
                changed = self.sleeping.changed() => {
                    // Without a hub the daemon has ended.
                    return if changed.is_ok() { Interruption::Sleep } else { Interruption::Stop };
                }
                Some(request) = self.orders.recv() => {
                    let is_there = self.place.is_there();
                    if self.obey_while_closed(request, is_there) {
                        return Interruption::Reset;
                    }
                }
            }
        }
    }

    /// Obeys orders while the device is being opened, until that must end.
    pub(super) async fn stop_or_sleep(&mut self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = comes_true(&mut self.sleeping) => return,
                Some(request) = self.orders.recv() => {
                    self.obey_while_closed(request, true);
                }
            }
        }
    }

    /// Obeys one order; says whether the device is to be tried at once.
    fn obey_while_closed(&mut self, request: OrderRequest, is_there: bool) -> bool {
        let device = &self.device;
        let is_paused = self.is_paused;
        let outcome = match request.order {
            Order::Pause => {
                self.is_paused = true;
                Ok(())
            }
            Order::Resume => {
                self.is_paused = false;
                Ok(())
            }
            Order::Reset if is_there => Ok(()),
            Order::Reset => Err(CallError::failed(
                Status::NoDevice,
                format!("{device} is not plugged in"),
            )),
            Order::Configure(_) => Err(CallError::failed(
                Status::NoDevice,
                format!("{device} is not open, so its clock cannot be set; see its state"),
            )),
            Order::Confirm | Order::Revert => Err(no_trial(device)),
        };
        if is_paused != self.is_paused {
            info!(%device, paused = self.is_paused, "pause on request");
        }
        let is_reset = request.order == Order::Reset && outcome.is_ok();
        request.answer(outcome);
        is_reset
    }

    // ---- while it is open ----

    /// Has a device that was just opened start as people want it.
    pub(super) fn apply_to(&self, device: &mut dyn HashDevice) {
        if self.is_paused {
            device.set_paused(true);
        }
        // Only a device that had a clock before has one here.
        if let Some(clock) = self.clock
            && let Err(error) = device.set_clock(Some(clock))
        {
            warn!(device = %self.device, %error, "clock not set");
        }
    }

    /// What concerns a device that is open; `may_sleep` asks for [`News::Sleep`] too.
    /// Cancel-safe.
    pub(super) async fn news(&mut self, may_sleep: bool) -> News {
        let trial_end = self.trial.map(|trial| trial.until);
        tokio::select! {
            Some(request) = self.orders.recv() => News::Order(request),
            () = sleep_until(trial_end) => News::TrialIsOver,
            () = comes_true(&mut self.sleeping), if may_sleep => News::Sleep,
            else => std::future::pending().await,
        }
    }

    /// Passes an order on to the device's task, and answers it. Takes as long as the
    /// task needs for a turn.
    pub(super) async fn obey(
        &mut self,
        request: OrderRequest,
        commands: &Commands,
        close: &CancellationToken,
    ) {
        let device = &self.device;
        let outcome = match request.order {
            Order::Pause | Order::Resume => {
                let paused = request.order == Order::Pause;
                if paused != self.is_paused {
                    info!(%device, paused, "pause on request");
                }
                self.is_paused = paused;
                command(commands, Command::Pause(paused));
                Ok(())
            }
            Order::Reset => {
                info!(%device, "reset on request");
                self.is_reset_ordered = true;
                close.cancel();
                Ok(())
            }
            Order::Configure(mhz) => self.try_clock(mhz, commands).await,
            Order::Confirm => match self.trial.take() {
                Some(trial) => {
                    info!(%device, mhz = trial.clock.mhz(), "clock confirmed");
                    self.clock = Some(trial.clock);
                    Ok(())
                }
                None => Err(no_trial(device)),
            },
            Order::Revert if self.trial.is_some() => {
                self.revert(commands, "on request");
                Ok(())
            }
            Order::Revert => Err(no_trial(device)),
        };
        request.answer(outcome);
    }

    async fn try_clock(&mut self, mhz: f64, commands: &Commands) -> Result<(), CallError> {
        let (answer, outcome) = oneshot::channel();
        command(commands, Command::TryClock(mhz, answer));
        let clock = outcome.await.unwrap_or_else(|_| {
            let message = format!("{} went away", self.device);
            Err(CallError::failed(Status::DeviceGone, message))
        })?;
        info!(device = %self.device, mhz, "clock on trial");
        let until = Instant::now() + TRIAL_TIME;
        self.trial = Some(Trial { clock, until });
        Ok(())
    }

    /// Takes the clock on trial back.
    pub(super) fn revert(&mut self, commands: &Commands, why: &str) {
        if let Some(trial) = self.trial.take() {
            info!(device = %self.device, mhz = trial.clock.mhz(), why, "clock taken back");
            command(commands, Command::Clock(self.clock));
        }
    }

    /// The device is closed: a clock on trial does not survive that.
    pub(super) fn device_ended(&mut self) {
        if let Some(trial) = self.trial.take() {
            let mhz = trial.clock.mhz();
            info!(device = %self.device, mhz, why = "the device went away", "clock taken back");
        }
    }
}

/// Resolves when the value is true; never when nobody can set it any more.
async fn comes_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|is_true| *is_true).await.is_err() {
        std::future::pending().await
    }
}

/// A task that does not take it is ending, and its device with it.
fn command(commands: &Commands, command: Command) {
    let _ = commands.try_send(command);
}

fn no_trial(device: &DeviceId) -> CallError {
    let message = format!("{device} has no clock on trial; Configure sets one");
    CallError::failed(Status::Invalid, message)
}
