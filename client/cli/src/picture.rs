//! A small grey image as terminal text.
//!
//! Owns the mapping from grey levels to characters; two columns a pixel, because
//! a terminal cell is about twice as high as wide.

use crate::style::Style;

/// Shades from empty to full for terminals that show block characters.
const BLOCKS: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
/// The same for plain ASCII.
const ASCII: [&str; 5] = ["  ", "..", "++", "%%", "##"];
/// First and last of the 24 greys of the 256-colour palette, dark to light.
const GREYS: (u16, u16) = (232, 255);

/// The rows of an image of `width` columns whose pixels are 0 to `white`.
pub fn rows(pixels: &[u8], width: usize, white: u8, style: Style) -> Vec<String> {
    pixels
        .chunks(width.max(1))
        .map(|row| {
            let cells = row.iter().map(|pixel| cell(*pixel, white.max(1), style));
            cells.collect()
        })
        .collect()
}

fn cell(pixel: u8, white: u8, style: Style) -> String {
    let pixel = u16::from(pixel.min(white));
    let white = u16::from(white);
    if style.has_colour() {
        let grey = GREYS.0 + pixel * (GREYS.1 - GREYS.0) / white;
        return format!("\u{1b}[48;5;{grey}m  \u{1b}[0m");
    }
    let shades = if style.has_unicode() { &BLOCKS } else { &ASCII };
    let last = shades.len() - 1;
    let shade = (usize::from(pixel) * last).div_ceil(usize::from(white));
    shades[shade].to_owned()
}

/// A bar of `width` cells filled to `share` (0 to 1).
pub fn bar(share: f64, width: usize, style: Style) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let (full, empty) = if style.has_unicode() {
        ("█", "·")
    } else {
        ("#", ".")
    };
    full.repeat(filled) + &empty.repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_one_row_a_line_and_two_columns_a_pixel() {
        let rows = rows(&[0, 16, 8, 1], 2, 16, Style::plain(false));
        assert_eq!(rows, ["  ##", "++.."]);
    }

    #[test]
    fn black_is_empty_and_white_is_full() {
        let style = Style::plain(true);
        assert_eq!(cell(0, 16, style), "  ");
        assert_eq!(cell(16, 16, style), "██");
        assert_eq!(cell(200, 16, style), "██");
    }

    #[test]
    fn a_bar_always_has_its_width() {
        for share in [-1.0, 0.0, 0.3, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(share, 20, Style::plain(false)).len(), 20);
        }
    }
}
