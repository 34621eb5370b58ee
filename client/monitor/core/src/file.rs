//! A file that the user opened: a model or a picture, told apart by its bytes.
//!
//! Owns the bound on what is read and the check that a model fits the app.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use hasher_model::{Config, MODEL_BYTES_MAX, MODEL_MAGIC, Model, ModelError, SEED_BYTES, Task};
use hasher_train::data::{IMAGE_INPUT_FRACTION, PATCH_INPUTS, PATCHES};

use crate::{Picture, PictureError, text};

/// Largest file that is read; photographs of a few megabytes fit.
const FILE_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(MODEL_BYTES_MAX <= FILE_BYTES_MAX);

/// What a file holds.
#[derive(Debug, Clone)]
pub enum OpenedFile {
    /// A model for 8×8 images.
    Model(LoadedModel),
    /// An image of one digit.
    Picture(Picture),
}

/// A model, checked and decoded.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Name of its file.
    pub name: String,
    /// What it is, in a line.
    pub summary: String,
    /// The model.
    pub model: Arc<Model>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {name}")]
    Read {
        /// Its name.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// It is larger than anything that the app understands.
    #[error("{0} is larger than 16 MiB")]
    TooLarge(String),
    /// A damaged model.
    #[error("cannot use model {name}")]
    Model {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// A model for something else.
    #[error("model {0} is not a classifier of 8×8 images, as `hasher train` makes it")]
    OtherModel(String),
    /// No usable picture.
    #[error("cannot use picture {name}")]
    Picture {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: PictureError,
    },
}

impl FileError {
    /// The error and what caused it, in one line.
    pub fn for_people(&self) -> String {
        text::sentence(self)
    }
}

impl OpenedFile {
    /// Reads a file. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`FileError`] names the file and says why it cannot be used.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let bytes = read(path).map_err(|source| FileError::Read {
            name: name.clone(),
            source,
        })?;
        Self::from_bytes(name, &bytes)
    }

    fn from_bytes(name: String, bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(FileError::TooLarge(name));
        }
        if !bytes.starts_with(&MODEL_MAGIC) {
            return match Picture::from_bytes(&name, bytes) {
                Ok(picture) => Ok(Self::Picture(picture)),
                Err(source) => Err(FileError::Picture { name, source }),
            };
        }
        match Model::from_bytes(bytes) {
            Err(source) => Err(FileError::Model { name, source }),
            Ok(model) if !reads_images(model.config()) => Err(FileError::OtherModel(name)),
            Ok(model) => Ok(Self::Model(LoadedModel {
                summary: summary(&model),
                model: Arc::new(model),
                name,
            })),
        }
    }
}

/// At most one byte more than is allowed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn reads_images(config: &Config) -> bool {
    config.task == Task::Classifier
        && config.positions as usize == PATCHES
        && config.inputs as usize == PATCH_INPUTS
        && config.input_fraction == IMAGE_INPUT_FRACTION
}

fn summary(model: &Model) -> String {
    let config = model.config();
    let id = model.id().to_string();
    let seeds = model.manifest().seed_count();
    format!(
        "{} classes, {}, {} of {SEED_BYTES} bytes, identity {}…",
        config.classes,
        text::counted(u64::from(config.layers), "layer", "layers"),
        text::counted(seeds as u64, "seed", "seeds"),
        &id[..id.len().min(12)],
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use hasher_model::{Kind, Manifest, PAYLOAD_BYTES, Scale, Seed};

    use super::*;

    /// A model of constant seeds: it answers nonsense, but always the same.
    pub(crate) fn model_bytes(positions: u32) -> Vec<u8> {
        let config = Config {
            task: Task::Classifier,
            width: 32,
            hidden: 32,
            layers: 1,
            heads: 2,
            positions,
            inputs: PATCH_INPUTS as u32,
            classes: 10,
            code_bits: 4,
            dither_bits: 4,
            input_fraction: IMAGE_INPUT_FRACTION,
            vocabulary: 0,
        };
        let manifest = Manifest::new(config, |_| Kind::Hb32).unwrap();
        let mut seeds = Vec::new();
        for (matrix, (_, shape)) in manifest.matrices().iter().enumerate() {
            for index in 0..shape.seed_count() {
                let (kind, place) = shape.seed(matrix as u16, index);
                seeds.push(Seed::new(kind, place, Scale(100), 0, [0x5a; PAYLOAD_BYTES]));
            }
        }
        Model::new(manifest, seeds).unwrap().to_bytes()
    }

    pub(crate) fn model() -> LoadedModel {
        match OpenedFile::from_bytes("digits.hsh".to_owned(), &model_bytes(9)) {
            Ok(OpenedFile::Model(model)) => model,
            other => panic!("{other:?}"),
        }
    }

    fn error(bytes: &[u8]) -> FileError {
        OpenedFile::from_bytes("x".to_owned(), bytes).unwrap_err()
    }

    #[test]
    fn a_model_and_a_picture_are_told_apart_by_their_bytes() {
        let model = model();
        assert_eq!(model.name, "digits.hsh");
        assert!(model.summary.starts_with("10 classes, 1 layer, "));
        let row = ["3"; 64].join(",");
        let opened = OpenedFile::from_bytes("row.hsh".to_owned(), row.as_bytes()).unwrap();
        assert!(matches!(opened, OpenedFile::Picture(_)));
    }

    #[test]
    fn a_model_that_does_not_read_images_is_refused() {
        let error = error(&model_bytes(3));
        assert!(matches!(error, FileError::OtherModel(_)), "{error}");
    }

    #[test]
    fn a_damaged_model_is_refused() {
        let bytes = model_bytes(9);
        let error = error(&bytes[..bytes.len() - 1]);
        assert!(matches!(error, FileError::Model { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let error = error(&vec![0; FILE_BYTES_MAX + 1]);
        assert!(matches!(error, FileError::TooLarge(_)), "{error}");
        let endless = Path::new("/dev/zero");
        let error = OpenedFile::open(endless).unwrap_err();
        assert!(matches!(error, FileError::TooLarge(_)), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = OpenedFile::open(Path::new("/nowhere/digits.hsh")).unwrap_err();
        let text = error.for_people();
        assert!(
            text.starts_with("Cannot read digits.hsh: No such file"),
            "{text}"
        );
    }
}
