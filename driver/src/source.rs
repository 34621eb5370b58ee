//! Where devices come from, again and again.
//!
//! Owns what stays while a device comes and goes: the name, the settings, whether it
//! must cool, and for a simulated board the board itself. It keeps no open device and never retries; when
//! to open again is the owner's decision (the daemon's manager).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::{BoardSettings, HeatLimits};
use crate::sim::SimBoard;
use crate::transport::Transport;
use crate::usb::open_port;
use crate::{
    BitmainDevice, CPU_THREADS_MAX, Clock, CpuDevice, DeviceId, DeviceKind, DeviceSpec,
    DriverError, HashDevice, UsbSpec,
};

/// A device that can be opened, also after a fault or an unplug.
#[derive(Debug)]
pub struct DeviceSource {
    id: DeviceId,
    origin: Origin,
    /// The board was lost hot, or while nobody knew how warm it was.
    must_cool: Arc<AtomicBool>,
    heat_limits: HeatLimits,
}

#[derive(Debug)]
enum Origin {
    Usb {
        spec: UsbSpec,
        /// The last attachment ended in a way that a reset of the port may cure.
        reset_first: AtomicBool,
    },
    Sim {
        board: SimBoard,
        clock: Option<Clock>,
    },
    Cpu {
        threads: usize,
    },
}

impl DeviceSpec {
    /// The source of this device; `index` tells devices of one daemon apart and ends
    /// the name, as in `sim-s3-0`. A simulated board gets power now. A board on USB is
    /// named by its port instead; where a text means every board,
    /// [`UsbSpec::source`] makes the source of each.
    ///
    /// # Errors
    /// [`DriverError::BadSpec`] for a text that means every board on USB, those of the book of solutions, and [`DriverError::Io`] when the system starts
    /// no thread.
    pub fn open(&self, index: usize) -> Result<DeviceSource, DriverError> {
        let (id, origin) = match self {
            Self::Usb(spec) => {
                let port = spec.port().cloned();
                let port = port.ok_or_else(|| {
                    DriverError::BadSpec("\"usb\" means every board, not one".to_owned())
                })?;
                return Ok(spec.source(port));
            }
            Self::Cpu { threads } => {
                let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                let threads = threads.unwrap_or(all).clamp(1, CPU_THREADS_MAX);
                (DeviceId(format!("cpu-{index}")), Origin::Cpu { threads })
            }
            Self::Sim(spec) => {
                let id = DeviceId(format!("sim-{}-{index}", spec.short_name()));
                let board = SimBoard::new(id.clone(), spec.settings()?)?;
                let clock = spec.clock();
                (id, Origin::Sim { board, clock })
            }
        };
        Ok(DeviceSource::new(id, origin))
    }
}

impl UsbSpec {
    /// The source of the board at `port`, plugged in or not.
    pub fn source(&self, port: DeviceId) -> DeviceSource {
        let origin = Origin::Usb {
            spec: self.clone(),
            reset_first: AtomicBool::new(false),
        };
        DeviceSource::new(port, origin)
    }
}

impl DeviceSource {
    fn new(id: DeviceId, origin: Origin) -> Self {
        Self {
            id,
            origin,
            must_cool: Arc::default(),
            heat_limits: HeatLimits::default(),
        }
    }

    /// A board on a transport, with what is remembered of it.
    fn board(
        &self,
        transport: impl Transport + 'static,
        settings: BoardSettings,
    ) -> Box<dyn HashDevice> {
        let settings = settings.with_heat_limits(self.heat_limits);
        let must_cool = Arc::clone(&self.must_cool);
        Box::new(BitmainDevice::remembering(transport, settings, must_cool))
    }

    /// When heat stops the board; a CPU has its own protection.
    #[must_use]
    pub const fn with_heat_limits(mut self, limits: HeatLimits) -> Self {
        self.heat_limits = limits;
        self
    }

    /// Name of the device, the same for every opening.
    pub const fn id(&self) -> &DeviceId {
        &self.id
    }

    /// What does the hashing.
    pub const fn kind(&self) -> DeviceKind {
        match &self.origin {
            Origin::Usb { spec, .. } => spec.kind(),
            Origin::Sim { .. } => DeviceKind::Simulated,
            Origin::Cpu { .. } => DeviceKind::Cpu,
        }
    }

    /// Opens the device. A board that waits in its boot loader is started first, which
    /// takes some seconds; the future may be dropped at any time.
    ///
    /// # Errors
    /// [`DriverError::NotFound`] while it is not plugged in, [`DriverError::Timeout`]
    /// when it does not come up, [`DriverError::Busy`] and
    /// [`DriverError::PermissionDenied`] when somebody is in the way,
    /// [`DriverError::Io`] when the system refuses.
    pub async fn open(&self) -> Result<Box<dyn HashDevice>, DriverError> {
        match &self.origin {
            Origin::Usb { spec, reset_first } => {
                let reset_first = reset_first.swap(false, Ordering::Relaxed);
                let transport = open_port(&self.id, spec.opening(reset_first)).await?;
                Ok(self.board(transport, spec.settings(self.id.clone())))
            }
            Origin::Cpu { threads } => Ok(Box::new(CpuDevice::new(self.id.clone(), *threads)?)),
            Origin::Sim { board, clock } => {
                let transport = board.attach_application().await?;
                let mut settings = BoardSettings::new(self.id.clone(), self.kind())
                    .with_filter_zero_bits(board.zero_bits());
                if let Some(clock) = clock {
                    settings = settings.with_clock(*clock);
                }
                Ok(self.board(transport, settings))
            }
        }
    }

    /// Tells why the last attachment ended. After a fault that no new start cured, the
    /// next opening of a board on USB begins with a reset of its port (protocol
    /// reference, section 7.3). A board that never spoke the protocol is not reset:
    /// it may be something else.
    pub fn note_end(&self, why: &DriverError) {
        let Origin::Usb { reset_first, .. } = &self.origin else {
            return;
        };
        let may_help = matches!(
            why,
            DriverError::Unrecoverable(_) | DriverError::Timeout { .. } | DriverError::Io { .. }
        );
        reset_first.store(may_help, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hasher_work::{Header, NonceRange, Target};

    use super::*;
    use crate::{DeviceEvent, DeviceWork, WorkTag, next_event};

    fn source(text: &str) -> DeviceSource {
        text.parse::<DeviceSpec>().unwrap().open(3).unwrap()
    }

    fn work(tag: u64, zero_bits: u32) -> DeviceWork {
        let mut header = [0; 80];
        header[64..72].copy_from_slice(&tag.to_le_bytes());
        DeviceWork {
            tag: WorkTag(tag),
            work: Header(header).work(),
            range: NonceRange::WHOLE,
            target: Target::from_zero_bits(zero_bits).unwrap(),
            hits_wanted: 1,
        }
    }

    /// Keeps the device busy until it has found so many nonces; false when it goes.
    async fn find(device: &mut dyn HashDevice, hits: usize, zero_bits: u32) -> bool {
        let (mut found, mut next) = (0, 0);
        while found < hits {
            while device.capacity() > 0 {
                device.submit(work(next, zero_bits)).unwrap();
                next += 1;
            }
            match next_event(device).await {
                DeviceEvent::Hit { tag, nonce, .. } => {
                    let right = work(tag.0, zero_bits).work.verify(nonce, zero_bits);
                    assert!(right.is_some());
                    found += 1;
                }
                DeviceEvent::Gone(_) => return false,
                _ => {}
            }
        }
        true
    }

    #[test]
    fn names_tell_kind_and_index() {
        for (text, id, kind) in [
            ("sim:s1", "sim-s1-3", DeviceKind::Simulated),
            ("sim:s3,hashing=inline", "sim-s3-3", DeviceKind::Simulated),
            ("cpu,threads=1", "cpu-3", DeviceKind::Cpu),
            ("cpu", "cpu-3", DeviceKind::Cpu),
        ] {
            let source = source(text);
            assert_eq!(
                (source.id().to_string().as_str(), source.kind()),
                (id, kind)
            );
        }
        let missing = "sim:s1,book=/nonexistent".parse::<DeviceSpec>().unwrap();
        assert!(matches!(missing.open(0), Err(DriverError::Io { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cold_simulated_board_finds_nonces() {
        for text in [
            "sim:s1,zero-bits=10,hashing=inline",
            "sim:s3,zero-bits=10,hashing=inline",
            "sim:s1,image=2014,mhz=200,zero-bits=10,hashing=inline",
        ] {
            let source = source(text);
            let mut device = source.open().await.unwrap();
            assert!(find(&mut *device, 20, 10).await, "{text}");
            assert_eq!(device.info().kind, DeviceKind::Simulated);
            assert_eq!(device.info().filter_zero_bits, 10);
            if text.contains("mhz") {
                assert_eq!(device.info().frequency_mhz, 200.0);
            }
            assert_eq!(device.status().slowdown, Some(1.0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unplugged_board_can_be_opened_again_after_it_came_back() {
        let source = source("sim:s3,zero-bits=10,hashing=inline,script=unplug@6s+1s");
        let mut device = source.open().await.unwrap();
        assert!(!find(&mut *device, usize::MAX, 10).await);
        drop(device);
        let error = source.open().await.err().unwrap();
        assert_eq!(error.to_string(), "device sim-s3-3 is not plugged in");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut device = source.open().await.unwrap();
        assert!(find(&mut *device, 20, 10).await);
    }

    /// The next event that is no measurement.
    async fn news(device: &mut dyn HashDevice) -> DeviceEvent {
        let news = async {
            loop {
                match next_event(device).await {
                    DeviceEvent::Status => {}
                    event => return event,
                }
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(600), news).await;
        in_time.expect("there is news within ten minutes")
    }

    #[tokio::test(start_paused = true)]
    async fn a_board_that_was_lost_hot_must_cool_although_it_is_opened_anew() {
        use crate::PauseReason::Hot;
        let script = "heat=90@3s+2m;unplug@130s+1s";
        let source = source(&format!(
            "sim:s3,zero-bits=10,hashing=inline,script={script}"
        ));
        let mut device = source.open().await.unwrap();
        assert!(!find(&mut *device, usize::MAX, 10).await);
        drop(device);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut device = source.open().await.unwrap();
        assert!(matches!(news(&mut *device).await, DeviceEvent::Ready));
        let event = news(&mut *device).await;
        // Warm enough to take works if nobody remembered that it was hot.
        assert!(
            matches!(event, DeviceEvent::Paused(Hot(51..=74))),
            "{event:?}"
        );
        assert!(matches!(news(&mut *device).await, DeviceEvent::Resumed));
        assert!(
            device
                .status()
                .temperatures_celsius
                .iter()
                .all(|c| *c <= 50)
        );
        assert!(find(&mut *device, 20, 10).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_board_pauses_at_the_limit_it_was_given() {
        let text = "sim:s3,zero-bits=10,hashing=inline,script=heat=45@1s";
        for (limits, pauses) in [(HeatLimits::default(), false), (stricter(), true)] {
            let source = source(text).with_heat_limits(limits);
            let mut device = source.open().await.unwrap();
            let paused = async {
                loop {
                    if let DeviceEvent::Paused(why) = next_event(&mut *device).await {
                        return why;
                    }
                }
            };
            let paused = tokio::time::timeout(Duration::from_secs(200), paused).await;
            assert_eq!(paused.is_ok(), pauses, "{paused:?}");
        }
    }

    fn stricter() -> HeatLimits {
        HeatLimits::new(40, 30).unwrap()
    }

    #[tokio::test]
    async fn a_board_on_usb_is_named_by_its_port_and_absent_where_none_is() {
        let port = "platform-no-such-controller-usb-0:1";
        let source = format!("usb:{port}").parse::<DeviceSpec>().unwrap();
        let source = source.open(0).unwrap();
        assert_eq!(
            (source.id().0.as_str(), source.kind()),
            (port, DeviceKind::Usb)
        );
        let error = source.open().await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("device {port} is not plugged in")
        );
        let all = "usb".parse::<DeviceSpec>().unwrap();
        assert!(matches!(all.open(0), Err(DriverError::BadSpec(_))));
    }

    #[test]
    fn only_a_board_that_spoke_the_protocol_is_reset() {
        let source = "usb:x-usb-0:1"
            .parse::<DeviceSpec>()
            .unwrap()
            .open(0)
            .unwrap();
        let resets = |why: DriverError| {
            source.note_end(&why);
            match &source.origin {
                Origin::Usb { reset_first, .. } => reset_first.load(Ordering::Relaxed),
                _ => panic!("a board on usb"),
            }
        };
        assert!(resets(DriverError::Unrecoverable("it stays silent")));
        assert!(!resets(DriverError::Disconnected));
        assert!(!resets(DriverError::UnknownLayout));
    }

    #[tokio::test]
    async fn a_cpu_source_opens_as_often_as_asked() {
        let source = source("cpu,threads=1");
        for _ in 0..2 {
            let mut device = source.open().await.unwrap();
            assert!(find(&mut *device, 1, 8).await);
        }
    }
}
