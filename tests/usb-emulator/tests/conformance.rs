//! The transports over USB against the driver's conformance checks, on a real kernel.
//!
//! Needs root, the module `vhci-hcd` and udev, so the suite `usb-conformance` of `tests/vm`
//! runs it in a guest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hasher_driver::DeviceId;
use hasher_driver::transport::Transport;
use hasher_driver::transport::conformance::{Bench, BusFault, check};
use hasher_driver::usb::{Opening, Via, open_port};
use hasher_usb_emulator::control::Boards;
use hasher_usb_emulator::simulated::make_board;

/// Longest wait for the kernel and udev.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Emulated boards in the first port of the virtual host controller.
struct UsbBench {
    boards: Arc<Boards>,
    port: DeviceId,
    opening: Opening,
}

impl UsbBench {
    fn new(via: Via) -> Self {
        Self {
            boards: Arc::new(Boards::new(make_board)),
            port: DeviceId("platform-vhci_hcd.0-usb-0:1".to_owned()),
            opening: Opening {
                via,
                ..Opening::default()
            },
        }
    }

    async fn tell(&self, command: &str) -> Result<(), String> {
        let told = self.boards.execute(command).await;
        told.map(drop)
            .map_err(|error| format!("{command}: {error}"))
    }
}

impl Bench for UsbBench {
    type Transport = Box<dyn Transport>;

    async fn attach(&mut self, _: Option<BusFault>) -> Result<Box<dyn Transport>, String> {
        // The board of the check before, if there was one.
        let _ = self.tell("remove s3").await;
        self.tell("add s3 0 sim:s3,boot-loader=no,zero-bits=8")
            .await?;
        self.tell("plug s3").await?;
        let until = Instant::now() + PATIENCE;
        loop {
            match open_port(&self.port, self.opening).await {
                Ok(transport) => return Ok(transport),
                Err(error) if Instant::now() > until => return Err(error.to_string()),
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    async fn strike(&mut self, fault: BusFault) -> Result<(), String> {
        self.tell(match fault {
            BusFault::StallIn => "fault s3 stall in",
            BusFault::StallOut => "fault s3 stall out",
            BusFault::NakOut => "fault s3 nak out",
            BusFault::Unplug => "unplug s3",
            _ => return Err(format!("the bench cannot do {fault:?}")),
        })
        .await
    }

    async fn heal(&mut self) -> Result<(), String> {
        self.tell("clear s3").await
    }
}

async fn keeps_every_rule(via: Via) {
    let findings = check(&mut UsbBench::new(via)).await;
    for finding in &findings {
        println!("{finding}");
    }
    assert!(findings.iter().all(|finding| finding.result.is_ok()));
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transport_over_usbfs_keeps_every_rule() {
    keeps_every_rule(Via::Nusb).await;
}

#[cfg(feature = "libusb")]
#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transport_over_libusb_keeps_every_rule() {
    keeps_every_rule(Via::Libusb).await;
}
