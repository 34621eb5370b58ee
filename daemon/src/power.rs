//! Whether the machine is about to sleep, and which devices are still open then.
//!
//! Owns that one wish and the count of open devices. Supervisors of devices follow the
//! wish; whoever talks to logind waits until they have.

use tokio::sync::watch;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Power {
    sleeps: watch::Sender<bool>,
    open: watch::Sender<usize>,
}

/// A device that is open or being opened; dropping it says that it is released.
pub(crate) struct OpenDevice<'a>(&'a watch::Sender<usize>);

impl Drop for OpenDevice<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Power {
    /// Awake, with nothing open.
    pub(crate) fn new() -> Self {
        Self {
            sleeps: watch::Sender::new(false),
            open: watch::Sender::new(0),
        }
    }

    /// Devices are to be released (`true`), or may be opened again.
    pub(crate) fn set_sleeping(&self, sleeps: bool) {
        self.sleeps.send_replace(sleeps);
    }

    /// Whether devices are to be released.
    pub(crate) fn is_sleeping(&self) -> bool {
        *self.sleeps.borrow()
    }

    /// Follows that.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.sleeps.subscribe()
    }

    /// Counts a device as open.
    pub(crate) fn open_device(&self) -> OpenDevice<'_> {
        self.open.send_modify(|open| *open += 1);
        OpenDevice(&self.open)
    }

    /// Returns when no device is open.
    pub(crate) async fn all_released(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_are_released_when_the_last_one_is() {
        let power = Power::new();
        power.all_released().await;
        let (first, second) = (power.open_device(), power.open_device());
        drop(first);
        let mut released = std::pin::pin!(power.all_released());
        let waits = tokio::select! {
            biased;
            () = &mut released => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(waits);
        drop(second);
        released.await;
    }
}
