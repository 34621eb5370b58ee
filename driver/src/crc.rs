//! The three checksums of this device family.
//!
//! Parameters: protocol reference, section 4, each with its check value in
//! `bitmain-vectors.json`. Callers are the token codec, the boot-loader frames and
//! the simulated chips.

use crc::{CRC_16_MODBUS, CRC_16_XMODEM, Crc};

static TOKEN: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
static BOOT_LOADER: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// CRC-16/MODBUS, which ends every token and reply (low byte first).
pub fn token(bytes: &[u8]) -> u16 {
    TOKEN.checksum(bytes)
}

/// CRC-16/XMODEM, which ends every boot-loader frame (low byte first).
pub fn boot_loader(bytes: &[u8]) -> u16 {
    BOOT_LOADER.checksum(bytes)
}

/// The chips' CRC-5 over the first `bits` bits of `bytes`, most significant bit
/// first: polynomial 0x05, initial value 0x1f, nothing reflected or inverted.
///
/// Chip commands take 27 bits (the result fills the low 5 bits of byte 3),
/// register replies 35. The lengths are not whole bytes, which no catalogue
/// implementation offers. Bits beyond the end of `bytes` are not counted.
pub fn chip(bytes: &[u8], bits: usize) -> u8 {
    let message = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1));
    message.take(bits).fold(0x1f, |crc, bit| {
        let feedback = if crc >> 4 & 1 != bit { 0x05 } else { 0 };
        crc << 1 & 0x1f ^ feedback
    })
}

#[cfg(test)]
mod tests {
    use hasher_work::from_hex;

    use super::*;
    use crate::vectors::{number, vectors};

    #[test]
    fn checksums_of_the_digits_are_the_published_ones() {
        let all = &vectors()["crc"];
        let digits = b"123456789";
        assert_eq!(u64::from(token(digits)), number(&all["token"]["check"]));
        assert_eq!(
            u64::from(boot_loader(digits)),
            number(&all["bootloader"]["check"])
        );
        assert_eq!(
            u64::from(chip(digits, 72)),
            number(&all["chip"]["check_72_bits"])
        );
    }

    #[test]
    fn chip_commands_of_the_vectors_end_in_their_checksum() {
        let vectors = vectors();
        let commands = vectors["chip_commands"].as_object().unwrap();
        assert!(commands.len() >= 6);
        for (name, command) in commands {
            let bytes = from_hex(command.as_str().unwrap()).unwrap();
            assert_eq!(chip(&bytes, 27), bytes[3] & 0x1f, "{name}");
        }
    }
}
