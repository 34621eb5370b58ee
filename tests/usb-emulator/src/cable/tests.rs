//! The kernel's part is played over the other end of the socket.

use super::*;
use crate::descriptors::Program;
use crate::simulated::make_board;
use crate::usbip::HEADER_BYTES;
use crate::usbip::tests::encode_request;
use crate::usbip::{Direction, Request, Sequence, Submit};
use crate::vhci::UsbipWire;
use bytes::Bytes;
use hasher_driver::boot_loader::LoaderCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

struct Bench {
    cable: Cable,
    kernel: UnixStream,
    ours: Wire,
    orders: mpsc::Sender<Order>,
    inbox: mpsc::Receiver<Order>,
}

fn bench() -> Bench {
    let (kernel, ours) = UnixStream::pair().unwrap();
    let (orders, inbox) = mpsc::channel(4);
    let mut board = make_board("sim:s3").unwrap();
    board.set_plugged(true);
    Bench {
        cable: Cable::new("test".into(), board, Port::parse("0").unwrap()),
        kernel,
        ours: Wire::Usbip(UsbipWire::new(ours)),
        orders,
        inbox,
    }
}

fn out(sequence: u32, data: Bytes) -> Vec<u8> {
    encode_request(&Request::Submit(Submit {
        sequence: Sequence(sequence),
        endpoint: 1,
        direction: Direction::Out,
        length: data.len(),
        setup: [0; 8],
        data,
    }))
}

fn input(sequence: u32) -> Vec<u8> {
    encode_request(&Request::Submit(Submit {
        sequence: Sequence(sequence),
        endpoint: 1,
        direction: Direction::In,
        length: 512,
        setup: [0; 8],
        data: Bytes::new(),
    }))
}

#[tokio::test(start_paused = true)]
async fn the_boot_loader_answers_and_leaves_the_bus_when_told_to_run() {
    let mut bench = bench();
    let mut transfers = Transfers::new(Program::BootLoader, Faults::default());
    let kernel = async {
        let socket = &mut bench.kernel;
        socket.write_all(&input(1)).await.unwrap();
        let version = out(2, LoaderCommand::ReadVersion.transfer());
        socket.write_all(&version).await.unwrap();
        let mut answers = vec![0; 2 * HEADER_BYTES + 11];
        socket.read_exact(&mut answers).await.unwrap();
        // The vector file's `read_info_reply_v1_0`.
        let reply = [
            0x01, 0x10, 0x01, 0x10, 0x01, 0x00, 0x10, 0x01, 0x10, 0x04, 0x04,
        ];
        assert!(answers.windows(11).any(|window| window == reply));
        let run = out(3, LoaderCommand::RunApplication.transfer());
        socket.write_all(&run).await.unwrap();
    };
    let (end, ()) = tokio::join!(
        bench
            .cable
            .carry(&mut transfers, &mut bench.ours, &mut bench.inbox),
        kernel
    );
    assert!(matches!(end, End::BoardLeft), "{end:?}");
    // It comes back as the application, by itself.
    while bench.cable.board.program().is_none() {
        poll_fn(|cx| bench.cable.board.poll_event(cx)).await;
    }
    assert_eq!(bench.cable.board.program(), Some(Program::Application));
}

#[tokio::test(start_paused = true)]
async fn an_unplug_while_transfers_wait_ends_at_once() {
    let mut bench = bench();
    let mut transfers = Transfers::new(Program::BootLoader, Faults::default());
    bench.kernel.write_all(&input(1)).await.unwrap();
    let (reply, answer) = oneshot::channel();
    bench.orders.send((Action::Unplug, reply)).await.unwrap();
    let end = bench
        .cable
        .carry(&mut transfers, &mut bench.ours, &mut bench.inbox)
        .await;
    assert!(
        matches!(&end, End::Out(why) if why == "unplugged"),
        "{end:?}"
    );
    assert_eq!(answer.await.unwrap(), Ok(String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_reaches_the_board_up_to_its_byte() {
    let mut bench = bench();
    let mut faults = Faults::default();
    faults.set("cut out 7".parse().unwrap());
    let mut transfers = Transfers::new(Program::BootLoader, faults);
    let token = out(1, Bytes::from_static(b"0123456789"));
    bench.kernel.write_all(&token).await.unwrap();
    let end = bench
        .cable
        .carry(&mut transfers, &mut bench.ours, &mut bench.inbox)
        .await;
    assert!(
        matches!(&end, End::Out(why) if why == "cable cut"),
        "{end:?}"
    );
    assert!(!transfers.is_board_busy());
}

#[tokio::test(start_paused = true)]
async fn garbage_from_the_kernel_side_drops_the_cable() {
    let mut bench = bench();
    let mut transfers = Transfers::new(Program::BootLoader, Faults::default());
    bench.kernel.write_all(&[0xFF; 48]).await.unwrap();
    let end = bench
        .cable
        .carry(&mut transfers, &mut bench.ours, &mut bench.inbox)
        .await;
    assert!(
        matches!(&end, End::Out(why) if why.contains("cannot follow")),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_closes_the_connection_unplugs_the_board() {
    let mut bench = bench();
    let mut transfers = Transfers::new(Program::BootLoader, Faults::default());
    drop(bench.kernel);
    let end = bench
        .cable
        .carry(&mut transfers, &mut bench.ours, &mut bench.inbox)
        .await;
    assert!(
        matches!(&end, End::Out(why) if why == "unplugged by the kernel"),
        "{end:?}"
    );
}
