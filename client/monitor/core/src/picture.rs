//! An image file as the 8×8 grey levels that a model reads.
//!
//! Owns the way from a photograph or drawing of one digit to the form of the data
//! the models are trained on: bright ink on black, cut to the ink, eight rows
//! high, levels 0 to 16.

use std::io::Cursor;

use hasher_train::data::{IMAGE_PIXELS, Labels, PIXEL_MAX, Part, digit_rows, digits, parse_rows};
use image::{GrayImage, ImageReader, Limits};

/// Pixels in a row and rows of a picture.
pub const WIDTH: usize = 8;
const _: () = assert!(IMAGE_PIXELS == WIDTH * WIDTH);

/// Widest and highest image that is decoded.
const SIDE_MAX: u32 = 8192;
/// Memory that decoding one image may take.
const DECODE_BYTES_MAX: u64 = 256 << 20;
/// Part of the darkest ink below which a pixel counts as paper.
const INK_MIN: f64 = 0.25;
/// Least difference between ink and paper, of 255: below it there is no digit.
const CONTRAST_MIN: u8 = 24;

/// One image, ready for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What it is called.
    pub name: String,
    /// Grey levels row by row, 0 (background) to 16 (ink).
    pub pixels: [u8; IMAGE_PIXELS],
    /// What it shows, if somebody has said so.
    pub label: Option<u8>,
}

/// Why a file is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// Neither an image nor a row of pixels.
    #[error("neither a PNG or JPEG image nor a row of 64 numbers")]
    Unknown,
    /// The image is damaged or too large.
    #[error("the image cannot be decoded")]
    Decode(#[source] image::ImageError),
    /// The row of numbers is wrong.
    #[error(transparent)]
    Row(hasher_train::data::RowError),
    /// All pixels look the same.
    #[error("the image is empty: nothing stands out from its background")]
    Empty,
}

impl Picture {
    /// From the bytes of a PNG or JPEG image, or of a text with a row of 64 levels
    /// (0 to 16) and perhaps a label; only the first row counts.
    ///
    /// # Errors
    /// [`PictureError`] says what is wrong.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, PictureError> {
        if image::guess_format(bytes).is_ok() {
            return Ok(Self {
                name: name.to_owned(),
                pixels: reduce(&decode(bytes)?)?,
                label: None,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PictureError::Unknown)?;
        let line = text.lines().find(|line| !line.trim().is_empty());
        let line = line.filter(|line| line.contains(','));
        let rows = parse_rows(line.ok_or(PictureError::Unknown)?, Labels::Optional)
            .map_err(PictureError::Row)?;
        Ok(Self {
            name: name.to_owned(),
            pixels: rows[0].pixels,
            label: rows[0].label,
        })
    }

    /// Handwritten digits that no model of this project was trained on.
    pub fn samples() -> Vec<Self> {
        let rows = digit_rows();
        let numbers = digits();
        let test = numbers.part(Part::Test).iter();
        test.map(|number| Self {
            name: format!("Test digit {number}"),
            pixels: rows[*number].pixels,
            label: rows[*number].label,
        })
        .collect()
    }

    /// Brightness of each pixel, 0 to 255, row by row.
    pub fn brightness(&self) -> [u8; IMAGE_PIXELS] {
        let white = u16::from(PIXEL_MAX);
        self.pixels
            .map(|level| (u16::from(level.min(PIXEL_MAX)) * 255 / white) as u8)
    }
}

fn decode(bytes: &[u8]) -> Result<GrayImage, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| PictureError::Decode(error.into()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let image = reader.decode().map_err(PictureError::Decode)?;
    // What is transparent shows white paper.
    let mut image = image.into_luma_alpha8();
    let pixels = image.pixels_mut().map(|pixel| {
        let [level, alpha] = pixel.0.map(u32::from);
        ((level * alpha + 255 * (255 - alpha)) / 255) as u8
    });
    let pixels: Vec<u8> = pixels.collect();
    Ok(GrayImage::from_raw(image.width(), image.height(), pixels)
        .expect("one level for each pixel"))
}

/// The ink of an image, eight rows high and in the middle.
fn reduce(image: &GrayImage) -> Result<[u8; IMAGE_PIXELS], PictureError> {
    let paper = paper(image);
    let ink = |x: u32, y: u32| image.get_pixel(x, y).0[0].abs_diff(paper);
    let (width, height) = image.dimensions();
    let places = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let darkest = places().map(|(x, y)| ink(x, y)).max().unwrap_or(0);
    if darkest < CONTRAST_MIN {
        return Err(PictureError::Empty);
    }
    let is_ink = |x, y| f64::from(ink(x, y)) >= f64::from(darkest) * INK_MIN;
    let frame = if (width, height) == (WIDTH as u32, WIDTH as u32) {
        // Already in the form of the data.
        Frame {
            left: 0.0,
            top: 0.0,
            pixel: 1.0,
        }
    } else {
        Frame::around(places().filter(|(x, y)| is_ink(*x, *y)))
    };
    let level = |at: usize| {
        let mean = frame.mean(at % WIDTH, at / WIDTH, (width, height), ink);
        (mean / f64::from(darkest) * f64::from(PIXEL_MAX)).round() as u8
    };
    Ok(std::array::from_fn(level))
}

/// The level of the paper: the middle one of all pixels at the edge.
fn paper(image: &GrayImage) -> u8 {
    let (width, height) = image.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let mut levels: Vec<u8> = rows
        .chain(columns)
        .map(|(x, y)| image.get_pixel(x, y).0[0])
        .collect();
    levels.sort_unstable();
    levels[levels.len() / 2]
}

/// Where the eight by eight pixels lie in the image.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    /// Side of one of the 64 pixels, in pixels of the image.
    pixel: f64,
}

impl Frame {
    /// The smallest square around these places, in the middle of it.
    fn around(places: impl Iterator<Item = (u32, u32)>) -> Self {
        let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
        for (x, y) in places {
            (left, top) = (left.min(x), top.min(y));
            (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
        }
        let (width, height) = (f64::from(right - left), f64::from(bottom - top));
        let side = width.max(height);
        Self {
            left: f64::from(left) - (side - width) / 2.0,
            top: f64::from(top) - (side - height) / 2.0,
            pixel: side / WIDTH as f64,
        }
    }

    /// Mean ink of one of the 64 pixels; outside the image there is none.
    fn mean(
        self,
        column: usize,
        row: usize,
        size: (u32, u32),
        ink: impl Fn(u32, u32) -> u8,
    ) -> f64 {
        let span = |start: f64, at: usize, most: u32| {
            let from = start + at as f64 * self.pixel;
            overlaps(from, from + self.pixel, most)
        };
        let mut sum = 0.0;
        for (y, part_y) in span(self.top, row, size.1) {
            for (x, part_x) in span(self.left, column, size.0) {
                sum += f64::from(ink(x, y)) * part_x * part_y;
            }
        }
        sum / (self.pixel * self.pixel)
    }
}

/// The whole numbers whose unit steps overlap `from..to`, with how much of each.
fn overlaps(from: f64, to: f64, most: u32) -> impl Iterator<Item = (u32, f64)> {
    let first = from.floor().max(0.0) as u32;
    let last = (to.ceil().max(0.0) as u32).min(most);
    (first..last).map(move |at| {
        let start = f64::from(at);
        (at, (to.min(start + 1.0) - from.max(start)).max(0.0))
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Luma, LumaA};

    use super::*;

    /// A digit of the data, each pixel `scale` wide, with a margin, as a PNG.
    fn png(pixels: &[u8; IMAGE_PIXELS], scale: u32, margin: u32, is_dark_ink: bool) -> Vec<u8> {
        let side = WIDTH as u32 * scale + 2 * margin;
        let image = GrayImage::from_fn(side, side, |x, y| {
            let inside = |at: u32| {
                let at = at.checked_sub(margin)? / scale;
                (at < WIDTH as u32).then_some(at as usize)
            };
            let level = match (inside(x), inside(y)) {
                (Some(x), Some(y)) => pixels[y * WIDTH + x] as u16 * 255 / 16,
                _ => 0,
            };
            let level = level as u8;
            Luma([if is_dark_ink { 255 - level } else { level }])
        });
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// A sample whose ink fills all eight rows: cutting it changes nothing but
    /// the side on which a column is free.
    fn sample() -> Picture {
        let mut samples = Picture::samples().into_iter();
        samples.find(|picture| picture.label == Some(0)).unwrap()
    }

    fn ink(pixels: &[u8; IMAGE_PIXELS]) -> u32 {
        pixels.iter().map(|pixel| u32::from(*pixel)).sum()
    }

    #[test]
    fn an_image_of_8_by_8_is_taken_as_it_is() {
        let sample = sample();
        for is_dark_ink in [false, true] {
            let bytes = png(&sample.pixels, 1, 0, is_dark_ink);
            let read = Picture::from_bytes("x.png", &bytes).unwrap();
            assert_eq!(read.pixels, sample.pixels);
        }
    }

    #[test]
    fn a_large_drawing_is_cut_to_its_ink_whatever_its_colours_and_margin() {
        let sample = sample();
        for (scale, margin, is_dark_ink) in [(20, 90, true), (20, 0, false), (7, 33, true)] {
            let bytes = png(&sample.pixels, scale, margin, is_dark_ink);
            let read = Picture::from_bytes("x.png", &bytes).unwrap();
            let (got, wanted) = (ink(&read.pixels), ink(&sample.pixels));
            assert!(got.abs_diff(wanted) < wanted / 5, "{got} and {wanted}");
            let rows = read.pixels.chunks(WIDTH);
            assert!(rows.clone().all(|row| row.iter().any(|p| *p > 0)));
            assert_eq!(read.pixels.iter().max(), Some(&PIXEL_MAX));
        }
    }

    #[test]
    fn transparent_is_paper() {
        let image = image::GrayAlphaImage::from_fn(40, 40, |x, y| {
            let is_ink = (18..22).contains(&x) && (4..36).contains(&y);
            LumaA([0, if is_ink { 255 } else { 0 }])
        });
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let read = Picture::from_bytes("one.png", bytes.get_ref()).unwrap();
        for row in read.pixels.chunks(WIDTH) {
            assert_eq!(row, [0, 0, 0, 8, 8, 0, 0, 0]);
        }
    }

    #[test]
    fn an_empty_or_damaged_image_is_refused_with_the_reason() {
        let empty = png(&[0; IMAGE_PIXELS], 10, 0, true);
        let error = Picture::from_bytes("x", &empty).unwrap_err();
        assert!(matches!(error, PictureError::Empty), "{error}");
        let full = png(&sample().pixels, 10, 3, true);
        let error = Picture::from_bytes("x", &full[..full.len() / 2]).unwrap_err();
        assert!(matches!(error, PictureError::Decode(_)), "{error}");
        for bytes in [&b""[..], b"hello", b"\xff\xfe\x00"] {
            let error = Picture::from_bytes("x", bytes).unwrap_err();
            assert!(matches!(error, PictureError::Unknown), "{error}");
        }
    }

    #[test]
    fn an_image_too_large_to_hold_is_refused_before_it_is_decoded() {
        // A PNG's head that announces 100000 × 100000 pixels.
        let mut bytes = png(&[16; IMAGE_PIXELS], 1, 1, true);
        bytes[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
        let error = Picture::from_bytes("x", &bytes).unwrap_err();
        assert!(matches!(error, PictureError::Decode(_)), "{error}");
    }

    #[test]
    fn a_row_of_levels_is_a_picture_with_or_without_its_label() {
        let mut row = ["0"; IMAGE_PIXELS].join(",");
        let read = Picture::from_bytes("x.csv", row.as_bytes()).unwrap();
        assert_eq!((read.pixels, read.label), ([0; IMAGE_PIXELS], None));
        row.push_str(",7\nrubbish that nobody reads");
        let read = Picture::from_bytes("x.csv", row.as_bytes()).unwrap();
        assert_eq!(read.label, Some(7));
        let error = Picture::from_bytes("x.csv", b"1,2,3").unwrap_err();
        assert!(error.to_string().contains("row 1 has 3 columns"), "{error}");
    }

    #[test]
    fn the_samples_are_the_450_test_digits_with_their_labels() {
        let samples = Picture::samples();
        assert_eq!(samples.len(), 450);
        assert!(samples.iter().all(|picture| picture.label.is_some()));
    }
}
