//! How raw inputs become codes and tokens, and what classes are called.
//!
//! A model file holds numbers only. Its recipe is kept beside it, so that later
//! inputs are prepared exactly as those of training were.

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Fraction bits of a pixel or table code: 256 stands for 1.
pub(crate) const BYTE_FRACTION: u32 = 8;
/// Bytes of a text fragment that one position sees, as bits.
pub(crate) const BYTES_PER_POSITION: usize = 8;
/// Ends the source of a sequence; its target follows.
pub(crate) const SOURCE_END: char = '\t';
/// Ends the target of a sequence.
pub(crate) const TARGET_END: char = '\n';

/// One numeric column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Smallest value of the training part; becomes code 0.
    pub low: f64,
    /// Largest value of the training part; becomes code 255.
    pub high: f64,
}

/// The tokens of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vocabulary {
    /// 256 byte values.
    Bytes,
    /// These characters, numbered in this order.
    Chars(String),
}

/// How inputs of a task are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "inputs", rename_all = "lowercase", deny_unknown_fields)]
pub enum Recipe {
    /// 8×8 pixels of 0 to 16 as nine patches, ten digits.
    Digits,
    /// Grey images, cut into square patches.
    Image {
        /// Pixels of a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Side of a patch; divides both.
        patch: usize,
        /// Names of the classes.
        classes: Vec<String>,
    },
    /// A row of numbers, all at one position.
    Table {
        /// The columns in order.
        columns: Vec<Column>,
        /// Names of the classes.
        classes: Vec<String>,
    },
    /// A run of bytes as bits, eight bytes a position.
    Bytes {
        /// Length of the run, a multiple of eight.
        bytes: usize,
        /// Names of the classes.
        classes: Vec<String>,
    },
    /// Running text: each token is predicted from those before it.
    Text {
        /// Its tokens.
        vocabulary: Vocabulary,
        /// Tokens that are seen at once.
        context: usize,
    },
    /// Pairs of a source and its target, as one text.
    Sequence {
        /// Its tokens.
        vocabulary: Vocabulary,
        /// Tokens of the longest pair.
        context: usize,
    },
}

impl Vocabulary {
    /// How many tokens there are.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Chars(chars) => chars.chars().count(),
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// Names the first character that is no token, and its line.
    pub fn encode(&self, place: &str, text: &str) -> Result<Vec<u8>, DataError> {
        let chars = match self {
            Self::Bytes => return Ok(text.as_bytes().to_vec()),
            Self::Chars(chars) => chars,
        };
        // A look-up table for the characters that have short numbers.
        let mut tokens = std::collections::HashMap::new();
        for (token, c) in chars.chars().enumerate() {
            tokens.insert(c, token as u8);
        }
        let mut line = 1;
        let mut encoded = Vec::with_capacity(text.len());
        for c in text.chars() {
            let token = tokens.get(&c).copied();
            encoded.push(token.ok_or_else(|| {
                let reason = format!("unknown token {c:?}: the vocabulary is {chars:?}");
                DataError::new(place, reason).at(line)
            })?);
            line += u64::from(c == '\n');
        }
        Ok(encoded)
    }

    /// The bytes of one token; none for a number beyond the vocabulary.
    pub fn decode(&self, token: u32) -> Vec<u8> {
        match self {
            Self::Bytes => u8::try_from(token).into_iter().collect(),
            Self::Chars(chars) => {
                let c = chars.chars().nth(token as usize);
                c.map(String::from).unwrap_or_default().into_bytes()
            }
        }
    }
}

impl Recipe {
    /// Names of the classes; none for texts.
    pub fn classes(&self) -> Vec<String> {
        match self {
            Self::Digits => (0..10).map(|digit| digit.to_string()).collect(),
            Self::Image { classes, .. }
            | Self::Table { classes, .. }
            | Self::Bytes { classes, .. } => classes.clone(),
            Self::Text { .. } | Self::Sequence { .. } => Vec::new(),
        }
    }

    /// The vocabulary of a text; none for classifiers.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        match self {
            Self::Text { vocabulary, .. } | Self::Sequence { vocabulary, .. } => Some(vocabulary),
            _ => None,
        }
    }

    /// The tokens that a text model goes on from. To a sequence model's prompt the end
    /// of the source is added.
    ///
    /// # Errors
    /// When the recipe is not for text, or a character is no token of it.
    pub fn prompt(&self, text: &str) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Text { vocabulary, .. } => vocabulary.encode("prompt", text),
            Self::Sequence { vocabulary, .. } => {
                vocabulary.encode("prompt", &format!("{text}{SOURCE_END}"))
            }
            _ => Err(DataError::new(
                "prompt",
                "the model is a classifier and writes no text",
            )),
        }
    }

    /// The token that ends what a sequence model writes.
    pub fn end_token(&self) -> Option<u8> {
        match self {
            Self::Sequence { vocabulary, .. } => {
                let end = vocabulary.encode("end", &TARGET_END.to_string()).ok()?;
                end.first().copied()
            }
            _ => None,
        }
    }

    /// The recipe as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a recipe has text keys only")
    }
}

/// Codes of a grey image: patches row-major, row-major inside, each padded with
/// zeros to a multiple of 16 (whole tiles of a seed).
pub(crate) fn image_codes(pixels: &[u8], width: usize, patch: usize) -> Vec<u8> {
    let inputs = patch_inputs(patch);
    let height = pixels.len() / width;
    let mut codes = Vec::with_capacity(pixels.len() / (patch * patch) * inputs);
    for top in (0..height).step_by(patch) {
        for left in (0..width).step_by(patch) {
            let end = codes.len() + inputs;
            for row in top..top + patch {
                codes.extend(&pixels[row * width + left..][..patch]);
            }
            codes.resize(end, 0);
        }
    }
    codes
}

/// The image whose [`image_codes`] these are.
pub(crate) fn image_of_codes(codes: &[u8], width: usize, patch: usize) -> Vec<u8> {
    let (inputs, columns) = (patch_inputs(patch), width / patch);
    let mut pixels = vec![0; codes.len() / inputs * patch * patch];
    for (at, codes) in codes.chunks_exact(inputs).enumerate() {
        let (top, left) = (at / columns * patch, at % columns * patch);
        for (row, run) in codes.chunks_exact(patch).take(patch).enumerate() {
            pixels[(top + row) * width + left..][..patch].copy_from_slice(run);
        }
    }
    pixels
}

/// Inputs of one patch.
pub(crate) const fn patch_inputs(patch: usize) -> usize {
    (patch * patch).next_multiple_of(16)
}

/// The code of a number of this column; beyond the ends of training the end.
pub(crate) fn column_code(column: &Column, value: f64) -> u8 {
    let span = column.high - column.low;
    if span <= 0.0 {
        return 0;
    }
    // `as` saturates; the value is finite.
    ((value - column.low) / span * 255.0 + 0.5).floor() as u8
}

/// Bits of bytes, least significant first, as codes 0 and 1.
pub(crate) fn bit_codes(bytes: &[u8]) -> Vec<u8> {
    let bits = |byte: &u8| {
        let byte = *byte;
        (0..8).map(move |bit| byte >> bit & 1)
    };
    bytes.iter().flat_map(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_json() {
        let recipe = Recipe::Sequence {
            vocabulary: Vocabulary::Chars("\t\nab".to_owned()),
            context: 9,
        };
        let text = recipe.to_json().to_string();
        assert_eq!(serde_json::from_str::<Recipe>(&text).unwrap(), recipe);
        assert_eq!(recipe.prompt("ab").unwrap(), [2, 3, 0]);
        assert_eq!(recipe.end_token(), Some(1));
        assert!(
            serde_json::from_str::<Recipe>(r#"{"inputs":"bytes","bytes":8,"classes":[],"x":1}"#)
                .is_err()
        );
    }

    #[test]
    fn an_unknown_token_is_named_with_its_line() {
        let vocabulary = Vocabulary::Chars("\nab".to_owned());
        let error = vocabulary.encode("x.txt", "ab\naé").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.txt:2: unknown token 'é': the vocabulary is \"\\nab\""
        );
        assert_eq!(vocabulary.decode(2), b"b");
        assert!(vocabulary.decode(3).is_empty());
    }

    #[test]
    fn patches_are_padded_to_whole_tiles() {
        let pixels: Vec<u8> = (0..36).collect();
        let codes = image_codes(&pixels, 6, 3);
        assert_eq!(codes.len(), 4 * 16);
        assert_eq!(codes[..10], [0, 1, 2, 6, 7, 8, 12, 13, 14, 0]);
        assert_eq!(codes[16..20], [3, 4, 5, 9]);
        assert_eq!(bit_codes(&[0b101]), [1, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_beyond_the_training_range_take_the_end() {
        let column = Column {
            name: "a".to_owned(),
            low: -1.0,
            high: 1.0,
        };
        let codes = [-5.0, -1.0, 0.0, 1.0, 9.0].map(|value| column_code(&column, value));
        assert_eq!(codes, [0, 0, 128, 255, 255]);
    }
}
