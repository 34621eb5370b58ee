//! What the controller does with the packets of the host.

use super::super::assembler::Assembled;
use super::super::image::{CHAINS, Image};
use super::Controller;
use crate::token::{Request, RxStatus, TxConfig, TxTask};
use crate::{Layout, crc};

/// Chip register that holds the PLL word.
const PLL_REGISTER: u8 = 4;
/// Chip command: write the PLL of every chip on the chain.
const SET_PLL: u8 = 0x82;
/// These four bytes alone in a transfer send the newer images into the boot loader.
const RESTART_BYTES: [u8; 4] = [0x55, 0xaa, 0xaa, 0xbb];

/// What a packet led to beyond the controller's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum PacketEffect {
    /// Nothing.
    None,
    /// It resets itself into the boot loader.
    Restart,
}

impl Controller {
    /// Takes one USB packet of at most 64 bytes.
    pub(in crate::sim) fn packet(&mut self, packet: &[u8]) -> PacketEffect {
        if self.hung {
            return PacketEffect::None;
        }
        match self.assembler.packet(packet) {
            Assembled::More => {}
            Assembled::Overrun => self.hung = true,
            Assembled::Token(token) => {
                // The images test for this before they look at any checksum.
                if self.image.obeys_restart_bytes() && token == RESTART_BYTES {
                    return PacketEffect::Restart;
                }
                match accept(self.image.layout(), &token) {
                    Some(Request::Config(config)) => self.configure(&config),
                    Some(Request::Task(task)) => self.take_works(task),
                    Some(Request::Status(query)) => self.take_query(query),
                    None => {} // dropped without any reply
                }
                self.arm();
            }
        }
        PacketEffect::None
    }

    fn configure(&mut self, config: &TxConfig) {
        if config.flags.reset {
            self.flush();
        }
        if config.flags.timeout {
            if let Some(period) = self.image.timer_period(config.timeout_ms) {
                self.period = period;
            }
            if self.next_tick.is_some() {
                self.next_tick = Some(self.now + self.period);
            }
        }
        if config.flags.chip_config && config.reg_address == PLL_REGISTER {
            let [high, low, ..] = config.reg_data;
            let mut command = [SET_PLL, high, low, 0];
            command[3] = crc::chip(&command, 27);
            for chain in &mut self.chains {
                chain.set_clock(command);
            }
        }
        if self.image == Image::S3Version7 {
            // From every TxConfig, whatever its flags ask for.
            self.verifies = config.flags.hw_error;
            self.temp_over_ctrl = config.control.temp_over_ctrl;
        }
    }

    fn take_works(&mut self, task: TxTask) {
        if task.new_block {
            self.ring.clear();
        }
        let taken = if self.image.clips_to_space() {
            self.space
        } else {
            task.works.len()
        };
        for entry in task.works.into_iter().take(taken) {
            self.ring.push(entry);
        }
        self.diff = task.diff;
        if self.running.is_none() {
            self.running = Some(self.now);
            self.empty_ticks = 0;
        }
        self.next_tick.get_or_insert(self.now + self.period);
    }

    fn take_query(&mut self, query: RxStatus) {
        if query.detect {
            self.flush();
        }
        self.status_pending = true;
    }

    /// Forgets works, nonces and counters and stops running.
    fn flush(&mut self) {
        self.ring.clear();
        self.nonces.clear();
        self.nonce_errors = 0;
        self.total_nonces = 0;
        self.diff = 0;
        self.chip_nonces = [[0; 32]; CHAINS];
        self.stop_running();
        // Inferred: the ring starts anew, so there is nothing to match with.
        for sent in &mut self.sent {
            sent.clear();
        }
    }
}

/// Reads a token by the controller's own rules: TxConfig and RxStatus have their
/// checksum at a fixed place whatever length they announce, and what follows the first
/// token is not looked at.
fn accept(layout: Layout, token: &[u8]) -> Option<Request> {
    let template = match token.first()? {
        0x51 => TxConfig::default().encode(layout),
        0x53 => RxStatus::POLL.encode(layout),
        _ => {
            let announced = Request::announced_length(layout, token)?;
            return Request::decode(layout, token.get(..announced)?).ok();
        }
    };
    let (body, end) = token.get(..template.len())?.split_last_chunk::<2>()?;
    if crc::token(body) != u16::from_le_bytes(*end) {
        return None;
    }
    // The codec insists on the right length field, so it gets one.
    let head = match layout {
        Layout::S1 => 1..2,
        Layout::S3 => 1..4,
    };
    let mut exact = body.to_vec();
    exact[head.clone()].copy_from_slice(&template[head]);
    exact.extend_from_slice(&crc::token(&exact).to_le_bytes());
    Request::decode(layout, &exact).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, vectors};

    #[test]
    fn the_controller_accepts_the_host_packets_that_the_images_accept() {
        // Sound by their own checksum, yet executed and ignored (protocol 3.7).
        let ignored = [
            "unknown_token_50",
            "s3_form_sent_to_s1",
            "s1_form_sent_to_s3",
            "hasher_rxstatus_16",
            "hasher_txconfig_28",
        ];
        let mut seen = 0;
        for packet in vectors()["packets"].as_array().unwrap() {
            if packet["direction"] != "host_to_device" {
                continue;
            }
            let name = packet["name"].as_str().unwrap();
            let layout = match packet["layout"].as_str().unwrap() {
                "S1" => Layout::S1,
                _ => Layout::S3,
            };
            let accepted = accept(layout, &bytes(&packet["hex"])).is_some();
            let expected = packet["valid"].as_bool().unwrap() && !ignored.contains(&name);
            assert_eq!(accepted, expected, "{name}");
            seen += usize::from(!accepted);
        }
        assert!(seen >= 7, "{seen}");
    }

    #[test]
    fn a_wrong_length_field_does_not_matter_to_tokens_of_fixed_size() {
        let mut poll = RxStatus::POLL.encode(Layout::S1).to_vec();
        poll[1] = 9;
        let crc = crc::token(&poll[..6]);
        poll[6..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            accept(Layout::S1, &poll),
            Some(Request::Status(RxStatus::POLL))
        );
        poll[7] ^= 1;
        assert_eq!(accept(Layout::S1, &poll), None);
    }

    #[test]
    fn bytes_behind_the_first_token_are_not_looked_at() {
        let mut transfer = RxStatus::DETECT.encode(Layout::S3).to_vec();
        transfer.extend([0xff; 20]);
        assert_eq!(
            accept(Layout::S3, &transfer),
            Some(Request::Status(RxStatus::DETECT))
        );
        let mut transfer = TxTask::default().encode().to_vec();
        transfer.push(1);
        assert_eq!(
            accept(Layout::S3, &transfer),
            Some(Request::Task(TxTask::default()))
        );
    }
}
