//! An 8×8 image as the network reads it: nine overlapping patches.

use super::DataShape;

/// Pixels of one image, 8 × 8, row-major.
pub const IMAGE_PIXELS: usize = 64;
/// Largest pixel value; 0 is background.
pub const PIXEL_MAX: u8 = 16;
/// Patches (positions) of one image.
pub const PATCHES: usize = 9;
/// Pixels of one patch, 4 × 4.
pub const PATCH_INPUTS: usize = 16;
/// Fraction bits of a pixel: 16 stands for 1.
pub const IMAGE_INPUT_FRACTION: u32 = 4;

/// Sizes of images with ten classes.
pub(super) const SHAPE: DataShape = DataShape {
    positions: PATCHES,
    inputs: PATCH_INPUTS,
    input_fraction: IMAGE_INPUT_FRACTION,
    classes: 10,
};

/// The patches of an image: 4×4 pixels at offsets 0, 2 and 4, row-major, and
/// row-major inside each.
pub fn image_codes(pixels: &[u8; IMAGE_PIXELS]) -> [u8; PATCHES * PATCH_INPUTS] {
    std::array::from_fn(|at| pixels[pixel_of(at)])
}

/// The image that has these patches. Nothing when no image has: patches that
/// disagree where they overlap, a pixel above [`PIXEL_MAX`], another length.
pub fn image_of_codes(codes: &[u8]) -> Option<[u8; IMAGE_PIXELS]> {
    let codes: &[u8; PATCHES * PATCH_INPUTS] = codes.try_into().ok()?;
    let mut pixels = [0; IMAGE_PIXELS];
    for (at, code) in codes.iter().enumerate() {
        pixels[pixel_of(at)] = *code;
    }
    let is_image = image_codes(&pixels) == *codes && pixels.iter().all(|p| *p <= PIXEL_MAX);
    is_image.then_some(pixels)
}

/// Place in the image of a place in the patches.
const fn pixel_of(at: usize) -> usize {
    let (patch, inside) = (at / PATCH_INPUTS, at % PATCH_INPUTS);
    let row = patch / 3 * 2 + inside / 4;
    let column = patch % 3 * 2 + inside % 4;
    row * 8 + column
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_image_is_read_back_from_its_patches(
            pixels in proptest::array::uniform32((0..=PIXEL_MAX, 0..=PIXEL_MAX)),
        ) {
            let pixels = std::array::from_fn(|at| {
                let (even, odd) = pixels[at / 2];
                if at % 2 == 0 { even } else { odd }
            });
            prop_assert_eq!(image_of_codes(&image_codes(&pixels)), Some(pixels));
        }
    }

    #[test]
    fn patches_of_no_image_have_none() {
        let codes = image_codes(&[3; IMAGE_PIXELS]);
        assert_eq!(image_of_codes(&codes[1..]), None);
        assert_eq!(image_of_codes(&image_codes(&[17; IMAGE_PIXELS])), None);
        let mut torn = codes;
        torn[2] = 4; // the second patch shows this pixel too
        assert_eq!(image_of_codes(&torn), None);
    }

    #[test]
    fn patches_overlap_by_two_pixels() {
        let codes = image_codes(&std::array::from_fn(|i| i as u8));
        let (patches, _) = codes.as_chunks::<PATCH_INPUTS>();
        let first = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
        assert_eq!(patches[0], first);
        assert_eq!(patches[1][..4], [2, 3, 4, 5]);
        assert_eq!(patches[3][..4], [16, 17, 18, 19]);
        assert_eq!(patches[8][12..], [60, 61, 62, 63]);
    }
}
