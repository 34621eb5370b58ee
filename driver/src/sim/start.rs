//! From whatever is on the bus to an attached application.
//!
//! Owns the hand-over out of the boot loader for simulated boards: what a host on a
//! real bus does by hotplug events is a look at the board every so often here. Called
//! by the device's source whenever it opens the device.

use std::time::Duration;

use tracing::info;

use super::{Presence, SimBoard, SimTransport};
use crate::DriverError;
use crate::boot_loader::start_application;

/// Longest wait for the application to come up. The vendor's own tool waits 10 s.
const START_WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at the bus.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

impl SimBoard {
    /// Attaches to the application, after starting it if the board waits in its boot
    /// loader. Dropping the future leaves the board where it is.
    ///
    /// # Errors
    /// [`DriverError::NotFound`] when nothing is on the bus; [`DriverError::Timeout`]
    /// when the loader or the application does not answer; the errors of
    /// [`attach`](Self::attach).
    pub async fn attach_application(&self) -> Result<SimTransport, DriverError> {
        if self.present() == Presence::BootLoader {
            let mut transport = self.attach()?;
            let version = start_application(&mut transport).await?;
            info!(device = %self.id(), loader = %version, "left the boot loader");
            drop(transport);
            self.application_is_up().await?;
        }
        self.attach()
    }

    async fn application_is_up(&self) -> Result<(), DriverError> {
        let look = async {
            while self.present() != Presence::Application {
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        };
        tokio::time::timeout(START_WITHIN, look)
            .await
            .map_err(|_| DriverError::Timeout {
                operation: "start of the application",
                after: START_WITHIN,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceId;
    use crate::sim::{Image, SimSettings};

    fn board(script: &str) -> SimBoard {
        let settings = SimSettings {
            script: script.parse().unwrap(),
            ..SimSettings::new(Image::S3Version7)
        };
        SimBoard::new(DeviceId("sim-s3-0".into()), settings).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cold_board_is_attached_as_an_application() {
        let board = board("power-cycle@60s+1s");
        for _ in 0..2 {
            let transport = board.attach_application().await.unwrap();
            assert_eq!(board.present(), Presence::Application);
            drop(transport);
            // The second time it is already up; after the power cycle it is not.
            tokio::time::sleep(Duration::from_secs(70)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unplugged_board_is_not_found_and_a_silent_one_times_out() {
        let error = board("unplug@0s").attach_application().await.unwrap_err();
        assert_eq!(error.to_string(), "device sim-s3-0 is not plugged in");
        let error = board("silence@0s").attach_application().await.unwrap_err();
        assert!(matches!(error, DriverError::Timeout { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_board_that_never_comes_back_times_out() {
        let error = board("unplug@1ms").attach_application().await.unwrap_err();
        assert!(error.is_retryable());
        let slow = board("unplug@500ms");
        let error = slow.attach_application().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "start of the application did not finish within 10000 ms"
        );
    }
}
