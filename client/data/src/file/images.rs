//! Folders of images: one folder per class, grey PNG or PNM files of one size.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageReader, Limits};

use super::read;
use crate::error::DataError;

/// Most images of a folder.
const IMAGES_MAX: usize = 1_000_000;
/// Longest side of an image.
pub(crate) const SIDE_MAX: u32 = 512;
/// Endings of files that are images; others are passed over.
const ENDINGS: [&str; 5] = ["png", "pgm", "pbm", "ppm", "pnm"];

/// A grey image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grey {
    pub width: usize,
    pub height: usize,
    /// Row-major, 0 black.
    pub pixels: Vec<u8>,
}

/// Images with the number of their class.
pub(crate) struct ImageFolder {
    pub classes: Vec<String>,
    pub images: Vec<(usize, Grey)>,
}

/// Reads every class of a folder, in alphabetical order.
pub(crate) fn read_folder(folder: &Path) -> Result<ImageFolder, DataError> {
    let mut result = ImageFolder {
        classes: Vec::new(),
        images: Vec::new(),
    };
    for class in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let before = result.images.len();
        for path in entries(&class)? {
            let ending = path.extension().and_then(|ending| ending.to_str());
            if !ending.is_some_and(|e| ENDINGS.contains(&e.to_ascii_lowercase().as_str())) {
                continue;
            }
            if result.images.len() == IMAGES_MAX {
                return Err(DataError::of(
                    folder,
                    format!("more than {IMAGES_MAX} images"),
                ));
            }
            let image = read_image(&path)?;
            if let Some((_, first)) = result.images.first()
                && (first.width, first.height) != (image.width, image.height)
            {
                let reason = format!(
                    "{} × {} pixels, the first image has {} × {}",
                    image.width, image.height, first.width, first.height
                );
                return Err(DataError::of(&path, reason));
            }
            result.images.push((result.classes.len(), image));
        }
        if result.images.len() == before {
            let error = DataError::of(&class, "the class is empty: no PNG or PNM image in it");
            return Err(error.hint("put images into it, or remove the folder"));
        }
        let name = class.file_name().unwrap_or_default();
        result.classes.push(name.to_string_lossy().into_owned());
    }
    if result.classes.len() < 2 {
        let error = DataError::of(folder, "at least two folders of images are needed");
        return Err(error.hint("make one folder per class, named after it"));
    }
    Ok(result)
}

/// Reads one image as grey.
pub(crate) fn read_image(path: &Path) -> Result<Grey, DataError> {
    let bytes = read(path)?;
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    reader.limits(limits);
    let wrong =
        |error: &dyn std::fmt::Display| DataError::of(path, format!("not a usable image: {error}"));
    let reader = reader
        .with_guessed_format()
        .map_err(|error| wrong(&error))?;
    let grey = reader.decode().map_err(|error| wrong(&error))?.into_luma8();
    Ok(Grey {
        width: grey.width() as usize,
        height: grey.height() as usize,
        pixels: grey.into_raw(),
    })
}

/// What a folder holds, sorted, so that classes have the same numbers everywhere.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |error: std::io::Error| DataError::of(folder, format!("cannot list it: {error}"));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        if paths.len() == IMAGES_MAX {
            return Err(DataError::of(
                folder,
                format!("more than {IMAGES_MAX} entries"),
            ));
        }
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pgm(width: usize, height: usize) -> Vec<u8> {
        let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
        bytes.extend((0..width * height).map(|i| i as u8));
        bytes
    }

    #[test]
    fn folders_are_classes() {
        let folder = tempfile::tempdir().unwrap();
        for (class, name) in [("b", "1.pgm"), ("a", "2.pgm"), ("a", "notes.txt")] {
            fs::create_dir_all(folder.path().join(class)).unwrap();
            fs::write(folder.path().join(class).join(name), pgm(3, 2)).unwrap();
        }
        let read = read_folder(folder.path()).unwrap();
        assert_eq!(read.classes, ["a", "b"]);
        assert_eq!(read.images.len(), 2);
        assert_eq!(read.images[1].0, 1);
        assert_eq!(read.images[0].1.pixels, [0, 1, 2, 3, 4, 5]);

        let png = folder.path().join("b/2.png");
        image::GrayImage::from_raw(3, 2, vec![9; 6])
            .unwrap()
            .save(&png)
            .unwrap();
        assert_eq!(
            read_folder(folder.path()).unwrap().images[2].1.pixels,
            [9; 6]
        );

        fs::write(folder.path().join("b/3.pgm"), pgm(2, 2)).unwrap();
        let reason = read_folder(folder.path()).err().unwrap().to_string();
        assert!(
            reason.ends_with("b/3.pgm: 2 × 2 pixels, the first image has 3 × 2"),
            "{reason}"
        );
    }

    #[test]
    fn an_empty_class_and_a_damaged_image_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a")).unwrap();
        let reason = read_folder(folder.path()).err().unwrap().to_string();
        assert!(reason.contains("/a: the class is empty"), "{reason}");
        fs::write(folder.path().join("a/x.png"), b"\x89PNG\r\n\x1a\nno").unwrap();
        let reason = read_folder(folder.path()).err().unwrap().to_string();
        assert!(reason.contains("x.png: not a usable image"), "{reason}");
    }
}
