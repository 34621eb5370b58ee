//! Hexadecimal text, in one place for the whole product.

use crate::WorkError;

/// Writes bytes as lower-case hexadecimal, first byte first.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// Reads hexadecimal text of either case. White space is not accepted.
///
/// # Errors
/// [`WorkError::BadHex`] names the first character that is not a digit,
/// [`WorkError::OddHex`] an odd number of digits.
pub fn from_hex(text: &str) -> Result<Vec<u8>, WorkError> {
    let mut nibbles = Vec::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        let nibble = c.to_digit(16).ok_or(WorkError::BadHex(c, at))?;
        nibbles.push(nibble as u8);
    }
    if nibbles.len() % 2 == 1 {
        return Err(WorkError::OddHex(nibbles.len()));
    }
    Ok(nibbles
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips() {
        assert_eq!(to_hex(&[0, 0x9a, 0xff]), "009aff");
        assert_eq!(from_hex("009AfF"), Ok(vec![0, 0x9a, 0xff]));
    }

    #[test]
    fn bad_hex_names_the_character() {
        assert_eq!(from_hex("0g"), Err(WorkError::BadHex('g', 1)));
        assert_eq!(from_hex("012"), Err(WorkError::OddHex(3)));
        assert_eq!(from_hex("é0"), Err(WorkError::BadHex('é', 0)));
    }
}
