//! The handwritten digits that ship with the project (see
//! `data/LICENSE-digits.md`).

use super::{Dataset, ImageRow, Labels, parse_rows};

const IMAGES: &str = include_str!("../../data/digits.csv");
const SPLIT: &str = include_str!("../../data/digits-split.json");

/// All 1797 images in the order of the file, which is also the order of the
/// examples of [`digits`].
pub fn digit_rows() -> Vec<ImageRow> {
    parse_rows(IMAGES, Labels::Required).expect("the embedded images are checked by a test")
}

/// The digits with the reference split: 1347 to train, 450 to test.
pub fn digits() -> Dataset {
    let split: serde_json::Value =
        serde_json::from_str(SPLIT).expect("the embedded split is checked by a test");
    let part = |name: &str| -> Vec<usize> {
        let indices = split[name].as_array().map_or(&[][..], Vec::as_slice);
        let indices = indices.iter().filter_map(|index| index.as_u64());
        indices.map(|index| index as usize).collect()
    };
    Dataset::from_split(&digit_rows(), part("train"), part("test"))
        .expect("the embedded split fits the embedded images")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Part;

    #[test]
    fn the_reference_split_has_1347_and_450_of_1797_images() {
        let data = digits();
        assert_eq!(digit_rows().len(), 1797);
        assert_eq!(data.part(Part::Train).len(), 1347);
        assert_eq!(data.part(Part::Test).len(), 450);
        assert_eq!(
            (data.positions(), data.inputs(), data.input_fraction()),
            (9, 16, 4)
        );
    }

    #[test]
    fn every_class_is_in_both_parts() {
        let data = digits();
        for part in [Part::Train, Part::Test] {
            let mut counts = [0; 10];
            for &example in data.part(part) {
                counts[usize::from(data.label(example))] += 1;
            }
            let expected = data.part(part).len() / 10;
            let fair = expected * 7 / 10..expected * 13 / 10;
            assert!(
                counts.iter().all(|count| fair.contains(count)),
                "{counts:?}"
            );
        }
    }
}
