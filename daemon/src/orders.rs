//! What people order a device to do, and the way there.
//!
//! Owns the channels to the supervisors of the devices, by name; each is bounded and
//! never waited for. It obeys nothing itself: the [`manager`](crate::manager) does,
//! which knows whether the device is open.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hasher_wire::Status;
use tokio::sync::{mpsc, oneshot};

use crate::core::CallError;

/// Orders that may wait for one device; people give them, not programs.
const ORDERS_WAITING_MAX: usize = 8;

/// A clock that was set and not confirmed is taken back after this time: long enough to
/// look at temperatures, short enough for a board that does not bear it.
pub(crate) const TRIAL_TIME: Duration = Duration::from_secs(60);

/// What a person wants of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// Take no works until [`Order::Resume`], also after a replug.
    Pause,
    /// Take works again.
    Resume,
    /// Flush it, close it and open it anew; or try at once, if it is not open.
    Reset,
    /// Try another clock, in MHz, for [`TRIAL_TIME`].
    Configure(f64),
    /// Keep the clock on trial for as long as the daemon runs.
    Confirm,
    /// Give up the clock on trial now.
    Revert,
}

/// An order that waits to be obeyed.
#[derive(Debug)]
pub(crate) struct OrderRequest {
    pub(crate) order: Order,
    answer: oneshot::Sender<Result<(), CallError>>,
}

impl OrderRequest {
    /// Says how it went.
    pub(crate) fn answer(self, outcome: Result<(), CallError>) {
        // Whoever gave the order may be gone; it is obeyed all the same.
        let _ = self.answer.send(outcome);
    }
}

/// The ways to all devices.
#[derive(Debug, Default)]
pub(crate) struct Orders(Mutex<HashMap<String, mpsc::Sender<OrderRequest>>>);

impl Orders {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<OrderRequest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to a device, from now on until the receiver is dropped.
    pub(crate) fn receiver(&self, device: &str) -> mpsc::Receiver<OrderRequest> {
        let (sender, receiver) = mpsc::channel(ORDERS_WAITING_MAX);
        let mut senders = self.lock();
        senders.retain(|_, sender| !sender.is_closed());
        senders.insert(device.to_owned(), sender);
        receiver
    }

    /// Has a device obey; returns when it has.
    ///
    /// # Errors
    /// [`CallError`] says why it does not.
    pub(crate) async fn give(&self, device: &str, order: Order) -> Result<(), CallError> {
        let unknown = || CallError::UnknownDevice(device.to_owned());
        let sender = self.lock().get(device).cloned().ok_or_else(unknown)?;
        let (answer, outcome) = oneshot::channel();
        let sent = sender.try_send(OrderRequest { order, answer });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::failed(
                Status::Busy,
                format!("{ORDERS_WAITING_MAX} orders for {device} wait already"),
            ),
            mpsc::error::TrySendError::Closed(_) => given_up(device),
        })?;
        outcome.await.unwrap_or_else(|_| Err(given_up(device)))
    }
}

fn given_up(device: &str) -> CallError {
    let message = format!("hasherd has given {device} up, or is shutting down; see its log");
    CallError::failed(Status::DeviceGone, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_reaches_the_device_it_is_for() {
        let orders = Orders::default();
        let mut cpu = orders.receiver("cpu-0");
        let _other = orders.receiver("cpu-1");
        let obey = async {
            let request = cpu.recv().await.unwrap();
            assert_eq!(request.order, Order::Pause);
            request.answer(Ok(()));
        };
        let (outcome, ()) = tokio::join!(orders.give("cpu-0", Order::Pause), obey);
        assert_eq!(outcome, Ok(()));
        let outcome = orders.give("cpu-2", Order::Pause).await;
        assert_eq!(outcome, Err(CallError::UnknownDevice("cpu-2".into())));
    }

    #[tokio::test]
    async fn a_device_that_nobody_looks_after_any_more_obeys_nothing() {
        let orders = Orders::default();
        drop(orders.receiver("cpu-0"));
        let error = orders.give("cpu-0", Order::Reset).await.unwrap_err();
        assert_eq!(error.name(), "org.hasher.Hasher1.Error.DeviceGone");
        let mut cpu = orders.receiver("cpu-0");
        let end = async { drop(cpu.recv().await) }; // it ends over the order
        let (outcome, ()) = tokio::join!(orders.give("cpu-0", Order::Reset), end);
        assert_eq!(outcome, Err(error));
    }

    #[tokio::test]
    async fn orders_do_not_pile_up_before_a_device_that_hangs() {
        let orders = std::sync::Arc::new(Orders::default());
        let _cpu = orders.receiver("cpu-0");
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..ORDERS_WAITING_MAX {
            let orders = std::sync::Arc::clone(&orders);
            waiting.spawn(async move { orders.give("cpu-0", Order::Pause).await });
        }
        tokio::task::yield_now().await;
        let error = orders.give("cpu-0", Order::Pause).await.unwrap_err();
        assert_eq!(error.name(), "org.hasher.Hasher1.Error.Busy");
    }
}
