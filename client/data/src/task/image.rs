//! Classes of images.

use std::path::{Path, PathBuf};

use hasher_train::data::{DataShape, Dataset, digit_rows};

use super::{LoadOptions, Loaded, parts};
use crate::error::DataError;
use crate::file::idx::{Idx, read_idx};
use crate::file::images::{SIDE_MAX, entries, read_folder};
use crate::file::npy::read_npy;
use crate::recipe::{BYTE_FRACTION, Recipe, image_codes, patch_inputs};
use crate::split::Stream;

/// Where Debian's package `dataset-fashion-mnist` puts its files.
const FASHION_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
/// Names of the ten classes, from the data set's own description.
const FASHION_CLASSES: [&str; 10] = [
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];
/// Longest side of a patch that is chosen.
const PATCH_MAX: usize = 8;
/// Side of the canvas on which a digit is planted.
const CANVAS: usize = 16;

/// Images of one size in one row of bytes each.
struct Images {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
    classes: Vec<String>,
}

pub(super) fn load(source: &str, options: &LoadOptions) -> Result<Loaded, DataError> {
    let path = Path::new(source);
    match source {
        "fashion-mnist" => {
            let folder = Path::new(FASHION_FOLDER);
            let hint = "install Debian's package dataset-fashion-mnist, or name the folder";
            let (train, test) = idx_folder(folder).map_err(|error| error.hint(hint))?;
            published(source, train, test, &FASHION_CLASSES.map(str::to_owned))
        }
        "planted" => planted(options),
        _ if idx_files(path).is_some() => {
            let (train, test) = idx_folder(path)?;
            published(source, train, test, &[])
        }
        _ if path.is_dir() => {
            let folder = read_folder(path)?;
            let first = &folder.images[0].1;
            let images = Images {
                width: first.width,
                height: first.height,
                pixels: folder
                    .images
                    .iter()
                    .flat_map(|(_, i)| i.pixels.clone())
                    .collect(),
                labels: folder
                    .images
                    .iter()
                    .map(|(class, _)| *class as u8)
                    .collect(),
                classes: folder.classes,
            };
            let split = parts(images.labels.len(), options);
            finish(source, images, split)
        }
        _ => numpy(path, options),
    }
}

/// The four files of a data set that is published as MNIST was.
fn idx_files(folder: &Path) -> Option<[PathBuf; 4]> {
    let paths = entries(folder).ok()?;
    let find = |begin: &str| {
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(begin))
        };
        paths.iter().find(is_it).cloned()
    };
    Some([
        find("train-images-idx3")?,
        find("train-labels-idx1")?,
        find("t10k-images-idx3")?,
        find("t10k-labels-idx1")?,
    ])
}

/// Images and their labels.
type Pair = (Idx, Idx);

fn idx_folder(folder: &Path) -> Result<(Pair, Pair), DataError> {
    let [images, labels, test_images, test_labels] = idx_files(folder)
        .ok_or_else(|| DataError::of(folder, "no files train-images-idx3… and t10k-…"))?;
    let pair = |images: &Path, labels: &Path| -> Result<Pair, DataError> {
        let (pictures, names) = (read_idx(images)?, read_idx(labels)?);
        let [count, _, _] = pictures.dimensions[..] else {
            return Err(DataError::of(images, "images must have three dimensions"));
        };
        if names.dimensions != [count] {
            let got = names.values.len();
            return Err(DataError::of(
                labels,
                format!("{got} labels for {count} images"),
            ));
        }
        Ok((pictures, names))
    };
    Ok((pair(&images, &labels)?, pair(&test_images, &test_labels)?))
}

/// The published split: the first file is for training, the second for the test.
fn published(source: &str, train: Pair, test: Pair, names: &[String]) -> Result<Loaded, DataError> {
    let (height, width) = (train.0.dimensions[1], train.0.dimensions[2]);
    if test.0.dimensions[1..] != [height, width] {
        return Err(DataError::new(source, "test images are of another size"));
    }
    let (count, all) = (
        train.1.values.len(),
        train.1.values.len() + test.1.values.len(),
    );
    let labels = [train.1.values, test.1.values].concat();
    let images = Images {
        width,
        height,
        pixels: [train.0.values, test.0.values].concat(),
        classes: class_names(&labels, names),
        labels,
    };
    finish(
        source,
        images,
        ((0..count).collect(), (count..all).collect()),
    )
}

/// Given names, or numbers for all labels there are.
fn class_names(labels: &[u8], names: &[String]) -> Vec<String> {
    let count = labels.iter().max().map_or(0, |most| usize::from(*most) + 1);
    if names.len() >= count {
        return names.to_vec();
    }
    (0..count).map(|class| class.to_string()).collect()
}

/// An NPY file of images (count × height × width, bytes) with a file of labels.
fn numpy(path: &Path, options: &LoadOptions) -> Result<Loaded, DataError> {
    let array = read_npy(path)?;
    let [count, height, width] = array.shape[..] else {
        let reason = format!(
            "shape {:?}, images need count × height × width",
            array.shape
        );
        return Err(DataError::of(path, reason));
    };
    let labels = options.labels.as_deref().ok_or_else(|| {
        DataError::of(path, "no labels").hint("name an NPY or IDX file with --labels")
    })?;
    let labels = read_labels(labels, count)?;
    let byte = |value: &f64| (0.0..=255.0).contains(value) && value.fract() == 0.0;
    if let Some(at) = array.values.iter().position(|value| !byte(value)) {
        let reason = format!(
            "image {}: {} is no whole number 0 to 255",
            at / (height * width).max(1),
            array.values[at]
        );
        return Err(DataError::of(path, reason));
    }
    let images = Images {
        width,
        height,
        pixels: array.values.iter().map(|value| *value as u8).collect(),
        classes: class_names(&labels, &[]),
        labels,
    };
    finish(&path.display().to_string(), images, parts(count, options))
}

/// Labels as whole numbers 0 to 255 from an NPY or IDX file.
pub(super) fn read_labels(path: &Path, count: usize) -> Result<Vec<u8>, DataError> {
    let is_npy = path.extension().is_some_and(|ending| ending == "npy");
    let labels = if is_npy {
        let mut labels = Vec::new();
        for (at, value) in read_npy(path)?.values.into_iter().enumerate() {
            if !(0.0..=255.0).contains(&value) || value.fract() != 0.0 {
                let reason = format!("label {at}: {value} is no whole number 0 to 255");
                return Err(DataError::of(path, reason));
            }
            labels.push(value as u8);
        }
        labels
    } else {
        read_idx(path)?.values
    };
    if labels.len() != count {
        let reason = format!("{} labels for {count} examples", labels.len());
        return Err(DataError::of(path, reason));
    }
    Ok(labels)
}

fn finish(
    place: &str,
    images: Images,
    (train, test): (Vec<usize>, Vec<usize>),
) -> Result<Loaded, DataError> {
    let (width, height) = (images.width, images.height);
    let sides = 1..=SIDE_MAX as usize;
    if !sides.contains(&width) || !sides.contains(&height) {
        let reason = format!("images of {width} × {height} pixels, 1 to {SIDE_MAX} are read");
        return Err(DataError::new(place, reason));
    }
    let fits = |patch: &usize| width.is_multiple_of(*patch) && height.is_multiple_of(*patch);
    let patch = (1..=PATCH_MAX).rev().find(fits).unwrap_or(1);
    let pictures = images.pixels.chunks_exact(width * height);
    let codes = pictures
        .flat_map(|pixels| image_codes(pixels, width, patch))
        .collect();
    let shape = DataShape {
        positions: width / patch * (height / patch),
        inputs: patch_inputs(patch),
        input_fraction: BYTE_FRACTION,
        classes: images.classes.len(),
    };
    let recipe = Recipe::Image {
        width,
        height,
        patch,
        classes: images.classes,
    };
    let data = Dataset::new(shape, codes, images.labels, train, test);
    Loaded::new(place, data, recipe)
}

/// Every digit on a larger, noisy canvas, in one of its four quarters: which digit is
/// it, and where? 40 classes.
fn planted(options: &LoadOptions) -> Result<Loaded, DataError> {
    let mut stream = Stream::new("planted");
    let rows = digit_rows();
    let mut images = Images {
        width: CANVAS,
        height: CANVAS,
        pixels: Vec::with_capacity(rows.len() * CANVAS * CANVAS),
        labels: Vec::with_capacity(rows.len()),
        classes: (0..40)
            .map(|class| {
                let quarter = ["top left", "top right", "bottom left", "bottom right"][class / 10];
                format!("{} {quarter}", class % 10)
            })
            .collect(),
    };
    for row in &rows {
        let (quarter, label) = (stream.below(4), row.label.unwrap_or(0));
        let start = images.pixels.len();
        // Faint noise everywhere, up to an eighth of a stroke.
        images
            .pixels
            .extend((0..CANVAS * CANVAS).map(|_| stream.below(32) as u8));
        for (at, pixel) in row.pixels.iter().enumerate() {
            let (y, x) = (at / 8 + quarter / 2 * 8, at % 8 + quarter % 2 * 8);
            let place = &mut images.pixels[start + y * CANVAS + x];
            *place = (*place).max((u16::from(*pixel) * 255 / 16) as u8);
        }
        images.labels.push(quarter as u8 * 10 + label);
    }
    let split = parts(rows.len(), options);
    finish("planted", images, split)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hasher_train::data::Part;

    use super::*;
    use crate::{TaskName, npy_bytes};

    fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        bytes.extend(dimensions.iter().flat_map(|n| n.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    #[test]
    fn a_folder_of_idx_files_keeps_its_published_split() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        write(
            "train-images-idx3-ubyte",
            idx(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]),
        );
        write("train-labels-idx1-ubyte", idx(&[2], &[0, 1]));
        write("t10k-images-idx3-ubyte", idx(&[1, 2, 2], &[9; 4]));
        write("t10k-labels-idx1-ubyte", idx(&[1], &[1]));
        let source = folder.path().to_str().unwrap();
        let loaded = crate::load(TaskName::Image, source, &LoadOptions::default()).unwrap();
        let data = &loaded.data;
        assert_eq!(
            (data.part(Part::Train), data.part(Part::Test)),
            (&[0, 1][..], &[2][..])
        );
        assert_eq!(data.codes(1)[..5], [4, 5, 6, 7, 0]);
        write("t10k-labels-idx1-ubyte", idx(&[2], &[1, 1]));
        let error = crate::load(TaskName::Image, source, &LoadOptions::default()).unwrap_err();
        assert!(
            error.to_string().ends_with("2 labels for 1 images"),
            "{error}"
        );
    }

    #[test]
    fn numpy_images_need_labels_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
        fs::write(
            &x,
            npy_bytes(&[4, 1, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 255.0]),
        )
        .unwrap();
        fs::write(&y, npy_bytes(&[4], &[0.0, 1.0, 0.0, 1.0])).unwrap();
        let source = x.to_str().unwrap();
        let error = load(source, &LoadOptions::default()).unwrap_err();
        assert!(error.hint.unwrap().contains("--labels"));
        let options = LoadOptions {
            labels: Some(y.clone()),
            ..LoadOptions::default()
        };
        assert_eq!(load(source, &options).unwrap().data.codes(3)[0], 6);
        fs::write(
            &x,
            npy_bytes(&[4, 1, 2], &[0.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, f32::NAN]),
        )
        .unwrap();
        let error = load(source, &options).unwrap_err().to_string();
        assert!(error.contains("image 0: 1.5 is no whole number"), "{error}");
        fs::write(&y, npy_bytes(&[3], &[0.0; 3])).unwrap();
        let error = load(source, &options).unwrap_err().to_string();
        assert!(error.contains("3 labels for 4 examples"), "{error}");
    }

    #[test]
    fn a_planted_digit_has_a_class_of_digit_and_quarter() {
        let loaded = load("planted", &LoadOptions::default()).unwrap();
        assert_eq!(loaded.data.classes(), 40);
        assert_eq!((loaded.data.positions(), loaded.data.inputs()), (4, 64));
        assert_eq!(loaded.recipe.classes()[39], "9 bottom right");
    }
}
