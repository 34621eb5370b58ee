//! The way from a port to a device that takes tokens.
//!
//! Owns the order of it: find the board, start its application if it waits in the boot
//! loader, reset it if that was asked for, claim it. Nothing here is repeated; one call
//! is one attempt. [`crate::DeviceSource`] calls it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bus::{self, Found};
use super::claim::{claim, reset};
use super::tracker::Stage;
use crate::boot_loader::start_application;
use crate::transport::Transport;
use crate::{DeviceId, DriverError};

/// Longest time from the boot loader's farewell to the application. It settles for a
/// second and enumerates its chips first; the vendor's own tool waits 10 s
/// (protocol reference, section 2.3).
const APPLICATION_WITHIN: Duration = Duration::from_secs(10);

/// How often the bus is listed meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The way to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// This program's own: no C library.
    #[default]
    Nusb,
    /// libusb.
    #[cfg(feature = "libusb")]
    Libusb,
}

/// How a board is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The way to the kernel.
    pub via: Via,
    /// Resets the port before, for a board that stopped answering.
    pub reset_first: bool,
    /// Attaches the kernel driver again at the end that was detached for it.
    pub gives_back: bool,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            via: Via::default(),
            reset_first: false,
            gives_back: true,
        }
    }
}

/// Claims the application of the board at `port`; a board in its boot loader is started
/// first.
///
/// # Errors
/// [`DriverError::NotFound`] when no board is there, [`DriverError::NotStarted`] when
/// its boot loader comes back, those of the claim, and those of
/// [`start_application`].
pub async fn open_port(
    port: &DeviceId,
    opening: Opening,
) -> Result<Box<dyn Transport>, DriverError> {
    let mut found = find(port)?;
    if found.board.stage == Stage::BootLoader {
        leave_boot_loader(&found, opening).await?;
        found = application(port, found.board.address).await?;
    } else if opening.reset_first {
        tracing::info!(device = %port, "port reset");
        reset(&found).await?;
        // Usually it keeps its address; if it does not, udev takes it on anew.
        found = application(port, (0, 0)).await?;
    }
    claim_via(&found, opening).await
}

async fn claim_via(found: &Found, opening: Opening) -> Result<Box<dyn Transport>, DriverError> {
    match opening.via {
        Via::Nusb => claim(found, opening.gives_back).await,
        #[cfg(feature = "libusb")]
        Via::Libusb => super::libusb::claim(found, opening.gives_back).await,
    }
}

fn find(port: &DeviceId) -> Result<Found, DriverError> {
    bus::find(port).ok_or_else(|| DriverError::NotFound(port.clone()))
}

async fn leave_boot_loader(found: &Found, opening: Opening) -> Result<(), DriverError> {
    let mut transport = claim_via(found, opening).await?;
    let started = start_application(&mut transport).await;
    std::future::poll_fn(|cx| transport.poll_close(cx)).await;
    let version = started?;
    tracing::info!(device = %found.board.id, %version, "boot loader starts the application");
    Ok(())
}

/// Waits for the application; `before` is the address at which something else was.
async fn application(port: &DeviceId, before: (u8, u8)) -> Result<Found, DriverError> {
    let until = Instant::now() + APPLICATION_WITHIN;
    while Instant::now() < until {
        match bus::find(port) {
            Some(found) if found.board.stage == Stage::Application => return Ok(found),
            Some(found) if found.board.address != before => return Err(DriverError::NotStarted),
            _ => sleep(LOOK_EVERY).await,
        }
    }
    Err(DriverError::Timeout {
        operation: "start of the application",
        after: APPLICATION_WITHIN,
    })
}
