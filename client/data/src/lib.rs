//! Files to data sets: tables, images, texts and sequences.
//!
//! ```text
//! file ──► file::{csv, npy, idx, image folder, text} ──► numbers and labels
//!                                                             │ task::…
//! model.hsh.json ◄── Recipe ◄─────────────────────────────────┴──► Dataset
//! ```
//!
//! Owns how a file is read, how its values become codes and tokens, and the
//! [`Recipe`] that does the same to later inputs. Every error names the file and,
//! where there is one, the line. It never trains and never prints. The command
//! line calls [`load`].
//!
//! ```
//! use hasher_data::{LoadOptions, TaskName, load};
//!
//! let toy = load(TaskName::Sequence, "reverse", &LoadOptions::default())?;
//! assert_eq!(toy.recipe.prompt("abc")?.len(), 4);
//! # Ok::<(), hasher_data::DataError>(())
//! ```

mod error;
mod file;
mod recipe;
mod shifts;
mod split;
mod task;

pub use error::DataError;
pub use file::npy::{NpyArray, npy_bytes, parse_npy};
pub use file::tensors::{Tensor, Tensors};
pub use file::{FILE_BYTES_MAX, GUNZIP_BYTES_MAX};
pub use recipe::{Column, Recipe, Vocabulary};
pub use shifts::with_shifts;
pub use task::{LoadOptions, Loaded, TaskName, load};
