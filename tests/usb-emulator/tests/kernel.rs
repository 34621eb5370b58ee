//! Emulated boards as a program above usbfs meets them, on a real Linux kernel.
//!
//! Needs root, kernel modules and udev, so the suites `usb-faults` and `usb-gadget` of
//! `tests/vm` run it in a guest. The kernel has its own clock: waits here are real and bounded by
//! [`PATIENCE`]. Expected errors are those of `nusb`, which is what the driver uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hasher_driver::boot_loader::{LoaderCommand, LoaderVersion};
use hasher_usb_emulator::control::Boards;
use hasher_usb_emulator::descriptors::{IN_ADDRESS, OUT_ADDRESS};
use hasher_usb_emulator::simulated::make_board;
use nusb::transfer::{
    Buffer, Bulk, BulkOrInterrupt, Completion, In, Interrupt, Out, TransferError,
};
use nusb::{DeviceInfo, Endpoint, ErrorKind, Interface, MaybeFuture};

/// Longest wait for the kernel, udev or a board that starts.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks at the bus.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long a transfer that must not end is watched.
const NOTHING_WITHIN: Duration = Duration::from_millis(300);

const VENDOR: u16 = 0x4254;
const APPLICATION: u16 = 0x4153;
const BOOT_LOADER: u16 = 0x424C;

/// Status polls of the vector file.
const S1_POLL: [u8; 8] = [0x53, 0x06, 0, 0, 0, 0, 0x84, 0x78];
const S3_POLL: [u8; 12] = [0x53, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x82, 0xEF];

/// The emulator of one test. Its boards run on the test's runtime, which therefore has
/// a second thread: opening and claiming block until the board has answered.
struct Bench(Arc<Boards>);

impl Bench {
    async fn with(commands: &[&str]) -> Self {
        let bench = Self(Arc::new(Boards::new(make_board)));
        for command in commands {
            bench.tell(command).await;
        }
        bench
    }

    async fn tell(&self, command: &str) -> String {
        self.0.execute(command).await.expect(command)
    }
}

fn boards_on_the_bus() -> Vec<DeviceInfo> {
    let devices = nusb::list_devices().wait().expect("usb is there");
    devices.filter(|info| info.vendor_id() == VENDOR).collect()
}

/// Port of the root hub in which a device is; `VhciPort` counts from 0.
fn port_of(info: &DeviceInfo) -> u8 {
    info.port_chain()[0] - 1
}

/// Waits until the port shows this product, or nothing.
async fn until_product(port: u8, product: Option<u16>) -> Option<DeviceInfo> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = boards_on_the_bus()
            .into_iter()
            .find(|info| port_of(info) == port);
        if info.as_ref().map(DeviceInfo::product_id) == product {
            return info;
        }
        assert!(
            Instant::now() < deadline,
            "port {port} shows {info:?} instead of product {product:04x?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Claims the board as soon as that is possible: sysfs lists a device some moments
/// before it has a node and before it is configured.
async fn claimed(port: u8, product: u16) -> Interface {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = until_product(port, Some(product)).await.expect("asked for");
        let claim = info
            .open()
            .wait()
            .and_then(|device| device.detach_and_claim_interface(0).wait());
        match claim {
            Ok(interface) => return interface,
            Err(error) => {
                let is_early =
                    matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::NotFound);
                assert!(is_early && Instant::now() < deadline, "{error}");
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The pair of endpoints of a claimed board.
struct Pipe<Kind: BulkOrInterrupt> {
    input: Endpoint<Kind, In>,
    output: Endpoint<Kind, Out>,
}

impl<Kind: BulkOrInterrupt> Pipe<Kind> {
    fn of(interface: &Interface) -> Self {
        Self {
            input: interface.endpoint(IN_ADDRESS).expect("it is there"),
            output: interface.endpoint(OUT_ADDRESS).expect("it is there"),
        }
    }

    async fn send(&mut self, token: &[u8]) -> Completion {
        self.output.submit(token.to_vec().into());
        completion(&mut self.output).await
    }

    async fn receive(&mut self) -> Completion {
        self.input.submit(Buffer::new(512));
        completion(&mut self.input).await
    }

    /// Sends a status poll and gives the reply's bytes.
    async fn ask(&mut self, poll: &[u8]) -> Vec<u8> {
        assert_eq!(self.send(poll).await.status, Ok(()));
        let reply = self.receive().await;
        assert_eq!(reply.status, Ok(()));
        reply.buffer.to_vec()
    }
}

async fn completion<Kind: BulkOrInterrupt, Way: nusb::transfer::EndpointDirection>(
    endpoint: &mut Endpoint<Kind, Way>,
) -> Completion {
    tokio::time::timeout(PATIENCE, endpoint.next_complete())
        .await
        .expect("every transfer ends")
}

/// A running S3, claimed, with faults told before.
async fn running(faults: &[&str]) -> (Bench, Pipe<Bulk>) {
    running_at("0", faults).await
}

/// The same behind a device controller: the root hub of `dummy_hcd` has one port.
async fn running_gadget(faults: &[&str]) -> (Bench, Pipe<Bulk>) {
    running_at("/dev/gadget", faults).await
}

async fn running_at(port: &str, faults: &[&str]) -> (Bench, Pipe<Bulk>) {
    until_product(0, None).await;
    let add = format!("add s3 {port} sim:s3,boot-loader=no");
    let bench = Bench::with(&[&add, "plug s3"]).await;
    let interface = claimed(0, APPLICATION).await;
    for fault in faults {
        bench.tell(&format!("fault s3 {fault}")).await;
    }
    (bench, Pipe::of(&interface))
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_board_goes_through_its_boot_loader() {
    let _bench = Bench::with(&["add s1 3 sim:s1", "plug s1"]).await;
    let interface = claimed(3, BOOT_LOADER).await;
    let mut loader = Pipe::<Interrupt>::of(&interface);
    let version = loader.ask(&LoaderCommand::ReadVersion.transfer()).await;
    assert_eq!(
        LoaderVersion::decode(&version),
        Ok(LoaderVersion { major: 1, minor: 0 })
    );
    loader.send(&LoaderCommand::RunApplication.transfer()).await;
    drop((loader, interface));
    let interface = claimed(3, APPLICATION).await;
    let reply = Pipe::<Bulk>::of(&interface).ask(&S1_POLL).await;
    assert_eq!((reply[0], usize::from(reply[1])), (0xA1, reply.len() - 2));
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stubborn_boot_loader_stays() {
    let bench = Bench::with(&["add s3 0 sim:s3", "fault s3 stay-in-boot-loader", "plug s3"]).await;
    let interface = claimed(0, BOOT_LOADER).await;
    let mut loader = Pipe::<Interrupt>::of(&interface);
    let run = LoaderCommand::RunApplication.transfer();
    assert_eq!(loader.send(&run).await.status, Ok(()));
    // Its own start takes 2 s.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(until_product(0, Some(BOOT_LOADER)).await.is_some());
    bench.tell("clear s3").await;
    loader.send(&run).await;
    until_product(0, Some(APPLICATION)).await;
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_boards_answer_at_once_each_in_its_layout() {
    let _bench = Bench::with(&[
        "add a 0 sim:s3,boot-loader=no",
        "add b 7 sim:s1,boot-loader=no",
        "add c 14 sim:s1,image=2014,boot-loader=no",
        "plug a",
        "plug b",
        "plug c",
    ])
    .await;
    for (port, poll, layout) in [
        (0, &S3_POLL[..], "s3"),
        (7, &S1_POLL[..], "s1"),
        (14, &S1_POLL[..], "s1"),
    ] {
        let interface = claimed(port, APPLICATION).await;
        let reply = Pipe::<Bulk>::of(&interface).ask(poll).await;
        assert_eq!(reply[0], 0xA1);
        assert_eq!(reply[1] == 0, layout == "s3", "port {port}");
    }
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_claimant_is_told_busy() {
    let (_bench, _pipe) = running(&[]).await;
    let info = until_product(0, Some(APPLICATION)).await.expect("there");
    let device = info.open().wait().expect("root may open it twice");
    let error = device.detach_and_claim_interface(0).wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_lasts_until_the_halt_is_cleared() {
    let (_bench, mut pipe) = running(&["stall in", "stall out"]).await;
    assert_eq!(pipe.send(&S3_POLL).await.status, Err(TransferError::Stall));
    assert_eq!(pipe.send(&S3_POLL).await.status, Err(TransferError::Stall));
    pipe.output.clear_halt().wait().expect("clears");
    assert_eq!(pipe.send(&S3_POLL).await.status, Ok(()));
    assert_eq!(pipe.receive().await.status, Err(TransferError::Stall));
    assert_eq!(pipe.receive().await.status, Err(TransferError::Stall));
    pipe.input.clear_halt().wait().expect("clears");
    assert_eq!(pipe.receive().await.status, Ok(()));
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_naks_for_ever_can_be_cancelled() {
    let (bench, mut pipe) = running(&["nak in", "nak out"]).await;
    pipe.output.submit(S3_POLL.to_vec().into());
    pipe.input.submit(Buffer::new(512));
    tokio::time::sleep(NOTHING_WITHIN).await;
    assert_eq!((pipe.output.pending(), pipe.input.pending()), (1, 1));
    pipe.output.cancel_all();
    pipe.input.cancel_all();
    let cancelled = Err(TransferError::Cancelled);
    assert_eq!(completion(&mut pipe.output).await.status, cancelled);
    assert_eq!(completion(&mut pipe.input).await.status, cancelled);
    bench.tell("clear s3").await;
    assert_eq!(pipe.ask(&S3_POLL).await[0], 0xA1);
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_packet_is_a_success_with_fewer_bytes() {
    for bytes in [0, 5] {
        let (_bench, mut pipe) = running(&[&format!("short {bytes}")]).await;
        assert_eq!(pipe.ask(&S3_POLL).await.len(), bytes);
        assert!(pipe.ask(&S3_POLL).await.len() > 30);
    }
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_errors_and_babble_are_faults_that_pass() {
    let (_bench, mut pipe) = running(&["protocol-error out 2"]).await;
    for _ in 0..2 {
        assert_eq!(pipe.send(&S3_POLL).await.status, Err(TransferError::Fault));
    }
    assert_eq!(pipe.ask(&S3_POLL).await[0], 0xA1);
    drop((_bench, pipe));
    for fault in ["protocol-error in", "babble"] {
        let (_bench, mut pipe) = running(&[fault]).await;
        assert_eq!(pipe.send(&S3_POLL).await.status, Ok(()));
        let status = pipe.receive().await.status;
        assert_eq!(status, Err(TransferError::Fault), "{fault}");
        assert_eq!(pipe.ask(&S3_POLL).await[0], 0xA1);
    }
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_cut_at_a_byte_disconnects_every_transfer() {
    for fault in ["cut out 5", "cut in 20"] {
        let (_bench, mut pipe) = running(&[fault]).await;
        pipe.input.submit(Buffer::new(512));
        pipe.output.submit(S3_POLL.to_vec().into());
        let gone = Err(TransferError::Disconnected);
        assert_eq!(completion(&mut pipe.input).await.status, gone, "{fault}");
        until_product(0, None).await;
        assert_eq!(pipe.receive().await.status, gone, "{fault}");
    }
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_re_enumerates_keeps_its_port_and_its_power() {
    let (bench, mut pipe) = running(&[]).await;
    let before = until_product(0, Some(APPLICATION)).await.expect("there");
    bench.tell("fault s3 re-enumerate 300").await;
    assert_eq!(
        pipe.receive().await.status,
        Err(TransferError::Disconnected)
    );
    drop(pipe);
    // Not in its boot loader: it was only off the bus.
    let interface = claimed(0, APPLICATION).await;
    let after = until_product(0, Some(APPLICATION)).await.expect("there");
    assert_eq!(after.bus_id(), before.bus_id());
    assert_eq!(after.port_chain(), before.port_chain());
    assert_eq!(Pipe::<Bulk>::of(&interface).ask(&S3_POLL).await[0], 0xA1);
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cycle_ends_in_the_boot_loader() {
    let (bench, mut pipe) = running(&[]).await;
    pipe.input.submit(Buffer::new(512));
    bench.tell("power-cycle s3").await;
    assert_eq!(
        completion(&mut pipe.input).await.status,
        Err(TransferError::Disconnected)
    );
    until_product(0, Some(BOOT_LOADER)).await;
}

#[ignore = "needs root, vhci-hcd and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_plugs_leave_nothing_behind() {
    let bench = Bench::with(&["add s3 0 sim:s3,boot-loader=no"]).await;
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    let mut at_first = None;
    for _ in 0..100 {
        bench.tell("plug s3").await;
        let interface = claimed(0, APPLICATION).await;
        assert_eq!(Pipe::<Bulk>::of(&interface).ask(&S3_POLL).await[0], 0xA1);
        // The first round opens what stays open, such as nusb's event loop.
        at_first.get_or_insert_with(descriptors);
        bench.tell("unplug s3").await;
        drop(interface);
        until_product(0, None).await;
    }
    // Open then: the cable and the device; both are closed by other threads.
    let deadline = Instant::now() + PATIENCE;
    while descriptors() > at_first.expect("a hundred rounds") - 2 {
        assert!(Instant::now() < deadline, "{} are open", descriptors());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[ignore = "needs root, dummy_hcd, gadgetfs and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gadget_a_cold_board_goes_through_its_boot_loader() {
    let _bench = Bench::with(&["add s3 /dev/gadget sim:s3", "plug s3"]).await;
    let interface = claimed(0, BOOT_LOADER).await;
    let mut loader = Pipe::<Interrupt>::of(&interface);
    let version = loader.ask(&LoaderCommand::ReadVersion.transfer()).await;
    assert!(LoaderVersion::decode(&version).is_ok());
    loader.send(&LoaderCommand::RunApplication.transfer()).await;
    drop((loader, interface));
    let info = until_product(0, Some(APPLICATION)).await.expect("there");
    assert_eq!(info.product_string(), Some("Asic Control"));
    let interface = claimed(0, APPLICATION).await;
    assert_eq!(Pipe::<Bulk>::of(&interface).ask(&S3_POLL).await[0], 0xA1);
}

#[ignore = "needs root, dummy_hcd, gadgetfs and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gadget_stalls_last_until_the_halt_is_cleared() {
    let (_bench, mut pipe) = running_gadget(&["stall in"]).await;
    // The reply to the first poll stalls; it stays armed.
    assert_eq!(pipe.send(&S3_POLL).await.status, Ok(()));
    assert_eq!(pipe.receive().await.status, Err(TransferError::Stall));
    pipe.input.clear_halt().wait().expect("clears");
    assert_eq!(pipe.receive().await.status, Ok(()));
    drop((_bench, pipe));

    let (_bench, mut pipe) = running_gadget(&["stall out"]).await;
    // The stack has accepted the transfer before the fault begins.
    assert_eq!(pipe.send(&S3_POLL).await.status, Ok(()));
    assert_eq!(pipe.send(&S3_POLL).await.status, Err(TransferError::Stall));
    pipe.output.clear_halt().wait().expect("clears");
    assert_eq!(pipe.ask(&S3_POLL).await[0], 0xA1);
}

#[ignore = "needs root, dummy_hcd, gadgetfs and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gadget_silence_and_short_packets_work_as_on_the_virtual_bus() {
    let (bench, mut pipe) = running_gadget(&["nak in"]).await;
    assert_eq!(pipe.send(&S3_POLL).await.status, Ok(()));
    pipe.input.submit(Buffer::new(512));
    tokio::time::sleep(NOTHING_WITHIN).await;
    assert_eq!(pipe.input.pending(), 1);
    pipe.input.cancel_all();
    assert_eq!(
        completion(&mut pipe.input).await.status,
        Err(TransferError::Cancelled)
    );
    bench.tell("clear s3").await;
    bench.tell("fault s3 short 5").await;
    // The held reply went out whole when the fault was cleared.
    assert_eq!(pipe.receive().await.buffer[0], 0xA1);
    assert_eq!(pipe.ask(&S3_POLL).await.len(), 5);
    assert!(pipe.ask(&S3_POLL).await.len() > 30);
}

#[ignore = "needs root, dummy_hcd, gadgetfs and udev; tests/vm runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gadget_boards_can_be_unplugged_and_cut() {
    for _ in 0..5 {
        let (bench, mut pipe) = running_gadget(&[]).await;
        assert_eq!(pipe.ask(&S3_POLL).await[0], 0xA1);
        pipe.input.submit(Buffer::new(512));
        bench.tell("unplug s3").await;
        assert!(completion(&mut pipe.input).await.status.is_err());
        until_product(0, None).await;
    }
    let (_bench, mut pipe) = running_gadget(&["cut out 5"]).await;
    pipe.send(&S3_POLL).await;
    until_product(0, None).await;
}
