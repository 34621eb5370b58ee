//! More images to train on: copies of those there are, moved by half a pixel.
//!
//! Owns how an image is moved. The test part is never touched.

use hasher_train::data::{Dataset, IMAGE_PIXELS, Part, image_codes, image_of_codes};

use crate::error::DataError;
use crate::recipe::{self, Recipe};

/// Pixels of a row of the digits.
const DIGIT_WIDTH: usize = 8;

/// `data` with four copies of every training image behind the others, moved by half a
/// pixel up, down, to the left and to the right: each pixel is the mean of itself and
/// its neighbour, which beyond the edge is 0. Five times the memory, five times as long
/// an epoch.
///
/// # Errors
/// When `recipe` is not one of images.
pub fn with_shifts(data: &Dataset, recipe: &Recipe) -> Result<Dataset, DataError> {
    let wrong = |reason: String| DataError::new("shifted copies", reason);
    let width = match recipe {
        Recipe::Digits => DIGIT_WIDTH,
        Recipe::Image { width, .. } => *width,
        _ => {
            let reason = "only images can be moved".to_owned();
            return Err(wrong(reason).hint("leave them out, or choose the task digits or image"));
        }
    };
    let (mut codes, mut labels) = (Vec::new(), Vec::new());
    for &at in data.part(Part::Train) {
        let pixels = pixels_of(data.codes(at), recipe)
            .ok_or_else(|| wrong(format!("example {at} is no image of this recipe")))?;
        for moved in half_shifts(&pixels, width) {
            codes.extend(codes_of(&moved, recipe));
            labels.push(data.label(at));
        }
    }
    let more = data.with_training(&codes, &labels);
    more.map_err(|error| wrong(error.to_string()))
}

fn pixels_of(codes: &[u8], recipe: &Recipe) -> Option<Vec<u8>> {
    match recipe {
        Recipe::Image { width, patch, .. } => Some(recipe::image_of_codes(codes, *width, *patch)),
        _ => image_of_codes(codes).map(|pixels| pixels.to_vec()),
    }
}

fn codes_of(pixels: &[u8], recipe: &Recipe) -> Vec<u8> {
    match recipe {
        Recipe::Image { width, patch, .. } => recipe::image_codes(pixels, *width, *patch),
        _ => {
            let pixels: [u8; IMAGE_PIXELS] = std::array::from_fn(|at| pixels[at]);
            image_codes(&pixels).to_vec()
        }
    }
}

/// The image moved up, down, to the left and to the right by half a pixel.
fn half_shifts(pixels: &[u8], width: usize) -> [Vec<u8>; 4] {
    let height = pixels.len() / width;
    [(1, 0), (-1, 0), (0, 1), (0, -1)].map(|(down, right): (isize, isize)| {
        let pixel = |at: usize| {
            let row = (at / width).checked_add_signed(down)?;
            let column = (at % width).checked_add_signed(right)?;
            let inside = row < height && column < width;
            inside.then(|| pixels[row * width + column])
        };
        let mean = |at: usize| {
            let sum = u16::from(pixels[at]) + u16::from(pixel(at).unwrap_or(0));
            sum.div_ceil(2) as u8
        };
        (0..pixels.len()).map(mean).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, TaskName, load};

    #[test]
    fn a_pixel_becomes_two_of_half_its_brightness() {
        let mut image = [0; 9];
        image[4] = 7;
        let [up, down, left, right] = half_shifts(&image, 3);
        assert_eq!(up, [0, 4, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(down, [0, 0, 0, 0, 4, 0, 0, 4, 0]);
        assert_eq!(left, [0, 0, 0, 4, 4, 0, 0, 0, 0]);
        assert_eq!(right, [0, 0, 0, 0, 4, 4, 0, 0, 0]);
        assert_eq!(half_shifts(&[255; 2], 2)[0], [128; 2]);
    }

    #[test]
    fn training_images_have_copies_and_test_images_none() {
        for (task, source) in [(TaskName::Digits, "digits"), (TaskName::Image, "planted")] {
            let loaded = load(task, source, &LoadOptions::default()).unwrap();
            let (data, recipe) = (&loaded.data, &loaded.recipe);
            let more = with_shifts(data, recipe).unwrap();
            let (before, after) = (data.part(Part::Train), more.part(Part::Train));
            assert_eq!(after.len(), 5 * before.len());
            assert_eq!(after[..before.len()], *before);
            assert_eq!(more.part(Part::Test), data.part(Part::Test));
            for &at in data.part(Part::Test) {
                assert_eq!(more.codes(at), data.codes(at));
            }
            let copy = after[before.len() + 5];
            assert_eq!(more.label(copy), data.label(before[1]));
            let pixels = pixels_of(data.codes(before[1]), recipe).unwrap();
            let width = if task == TaskName::Digits { 8 } else { 16 };
            let down = &half_shifts(&pixels, width)[1];
            assert_eq!(more.codes(copy), codes_of(down, recipe));
            assert_ne!(more.fingerprint(), data.fingerprint());
        }
    }

    #[test]
    fn what_is_no_image_cannot_be_moved() {
        let loaded = load(TaskName::Sequence, "reverse", &LoadOptions::default()).unwrap();
        let error = with_shifts(&loaded.data, &loaded.recipe).unwrap_err();
        assert_eq!(
            error.to_string(),
            "shifted copies: only images can be moved"
        );
    }
}
