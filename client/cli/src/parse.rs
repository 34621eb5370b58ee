//! Values that people write on the command line: nonces, ranges, durations, lists.
//!
//! Owns their grammar. Every function takes text and returns a value or a
//! sentence that says what is wrong; clap puts the option's name in front.

use std::time::Duration;

use hasher_work::{Nonce, NonceRange, from_hex};

/// Most passes of one inference.
pub const PASSES_MAX: u16 = hasher_model::PASSES_MAX;
/// Longest wait that can be asked for; a typing error should not outlive a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A nonce: `0x7c2bac1d` or `2083236893`.
pub fn nonce(text: &str) -> Result<Nonce, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16),
        Some(_) => return Err(format!("`{text}` is not a nonce")),
        None => text.parse(),
    };
    parsed.map(Nonce).map_err(|_| {
        format!("`{text}` is not a nonce: write 0 to 4294967295, or 0x0 to 0xffffffff")
    })
}

/// A nonce range, both ends included: `0x7c000000..0x7cffffff`.
pub fn nonce_range(text: &str) -> Result<NonceRange, String> {
    let (first, last) = text
        .split_once("..")
        .ok_or_else(|| format!("`{text}` is not a range: write FIRST..LAST, both included"))?;
    NonceRange::new(nonce(first.trim())?, nonce(last.trim())?).map_err(|error| error.to_string())
}

/// A duration with its unit: `500ms`, `30s`, `5m`, `2h`; at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write a number and ms, s, m or h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let factor_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let duration = number.checked_mul(factor_ms).map(Duration::from_millis);
    match duration {
        Some(duration) if duration.is_zero() => Err("a duration must be longer than 0".to_owned()),
        Some(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err(format!("`{text}` is longer than a day")),
    }
}

/// A clock in MHz; which ones a board can run at, the daemon knows.
pub fn frequency_mhz(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(clock) if clock.is_finite() && clock > 0.0 => Ok(clock),
        _ => Err(format!(
            "`{text}` is not a clock: write MHz, such as 218.75"
        )),
    }
}

/// A compact target: eight hexadecimal digits, with or without `0x`.
pub fn compact_target(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() != 8 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!(
            "`{text}` is not a compact target: write 8 hexadecimal digits, such as 1d00ffff"
        ));
    }
    u32::from_str_radix(digits, 16).map_err(|error| error.to_string())
}

/// One number of passes.
pub fn passes(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(passes) if (1..=PASSES_MAX).contains(&passes) => Ok(passes),
        _ => Err(format!(
            "`{text}` is not a number of passes: write 1 to {PASSES_MAX}"
        )),
    }
}

/// Where the requester's 16 bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestNonce {
    /// The user gives them.
    Given([u8; 16]),
    /// They are drawn when they are needed.
    Random,
}

impl RequestNonce {
    /// Reads `random` or 32 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "random" {
            return Ok(Self::Random);
        }
        request_nonce(text)
            .map(Self::Given)
            .map_err(|reason| format!("{reason} (or `random`)"))
    }
}

/// A request's 16 bytes: 32 hexadecimal digits.
pub fn request_nonce(text: &str) -> Result<[u8; 16], String> {
    let bytes = from_hex(text).map_err(|error| error.to_string())?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| format!("16 bytes are needed, 32 hexadecimal digits; got {length} bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nonces_are_decimal_or_hexadecimal() {
        assert_eq!(nonce("2083236893"), Ok(Nonce(0x7c2b_ac1d)));
        assert_eq!(nonce("0x7C2BAC1D"), Ok(Nonce(0x7c2b_ac1d)));
        for wrong in [
            "",
            "-1",
            "4294967296",
            "0x",
            "0x1ffffffff",
            "7c2bac1d",
            "0x+1",
        ] {
            assert!(nonce(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!(nonce_range("0..0xffffffff"), Ok(NonceRange::WHOLE));
        assert_eq!(nonce_range("5..5").map(NonceRange::count), Ok(1));
        for wrong in ["", "5", "5..", "..5", "6..5", "1..2..3", "1...3"] {
            assert!(nonce_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("24h"), Ok(DURATION_MAX));
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "1.5s",
            "25h",
            "99999999999999999999h",
            "-1s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn compact_targets_have_eight_digits() {
        assert_eq!(compact_target("1d00ffff"), Ok(0x1d00_ffff));
        assert_eq!(compact_target("0x1d00ffff"), Ok(0x1d00_ffff));
        assert!(compact_target("1d00fff").is_err());
        assert!(compact_target("+d00ffff").is_err());
    }

    #[test]
    fn a_request_nonce_has_16_bytes() {
        let given = RequestNonce::parse("000102030405060708090a0b0c0d0e0f");
        assert_eq!(
            given,
            Ok(RequestNonce::Given(std::array::from_fn(|i| i as u8)))
        );
        assert_eq!(RequestNonce::parse("random"), Ok(RequestNonce::Random));
        assert!(RequestNonce::parse("00").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,40}") {
            let _ = nonce(&text);
            let _ = nonce_range(&text);
            let _ = duration(&text);
            let _ = compact_target(&text);
            let _ = passes(&text);
            let _ = RequestNonce::parse(&text);
        }

        #[test]
        fn a_written_range_reads_back(a in any::<u32>(), b in any::<u32>()) {
            let range = NonceRange::new(Nonce(a.min(b)), Nonce(a.max(b))).unwrap();
            prop_assert_eq!(nonce_range(&range.to_string()), Ok(range));
        }
    }
}
