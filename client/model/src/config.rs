//! The size of a model: what the eleven numbers of its manifest mean.

use std::fmt;

use crate::shape::WIDTH_MAX;
use crate::{Kind, MatrixShape};

/// Most layers. A bound of this implementation; the format could name 65534.
/// Source: ten times what has ever been trained here is still below it.
pub const LAYERS_MAX: u32 = 64;
/// Most positions. A bound of this implementation: attention costs the square.
pub const POSITIONS_MAX: u32 = 1024;
/// Most fractional bits of an input code.
const INPUT_FRACTION_MAX: u32 = 16;

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// One of `classes` for the whole input.
    Classifier,
    /// The next token at every position.
    LanguageModel,
}

/// The numbers that fix a model's shape. In brackets: their names in the model
/// specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Config {
    /// What it answers.
    pub task: Task,
    /// Width of the residual stream (`d`), 1 to 4096, a multiple of `heads`.
    pub width: u32,
    /// Width of the inner layer of the feed-forward part (`ff`), 1 to 4096.
    pub hidden: u32,
    /// Layers, 1 to [`LAYERS_MAX`].
    pub layers: u32,
    /// Attention heads.
    pub heads: u32,
    /// Positions (`tokens`), 1 to [`POSITIONS_MAX`]; a language model may be
    /// given fewer.
    pub positions: u32,
    /// Input codes per position, 1 to 4096; 3 · `width` for a language model.
    pub inputs: u32,
    /// Classes, 1 to 4096; the vocabulary for a language model.
    pub classes: u32,
    /// Bits of an activation code (`abits`), 1 to 8.
    pub code_bits: u32,
    /// Bits of dither per activation (`rbits`): 1, 2, 4 or 8.
    pub dither_bits: u32,
    /// Fractional bits of an input code (`in_frac`), 0 to 16; 1 for a language model.
    pub input_fraction: u32,
    /// Tokens known to a language model (`vocab`); 0 for a classifier.
    pub vocabulary: u32,
}

/// A number of a [`Config`] is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, must be {rule}")]
pub struct ConfigError {
    /// Name of the field.
    pub field: &'static str,
    /// Its value.
    pub value: u32,
    /// What it must be.
    pub rule: &'static str,
}

impl Config {
    /// Checks the bounds of all fields.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        const WIDTH: u32 = WIDTH_MAX as u32;
        let is_classifier = self.task == Task::Classifier;
        let rules = [
            (
                "width",
                self.width,
                (1..=WIDTH).contains(&self.width),
                "1 to 4096",
            ),
            (
                "hidden",
                self.hidden,
                (1..=WIDTH).contains(&self.hidden),
                "1 to 4096",
            ),
            (
                "layers",
                self.layers,
                (1..=LAYERS_MAX).contains(&self.layers),
                "1 to 64",
            ),
            (
                "heads",
                self.heads,
                self.heads > 0 && self.width.is_multiple_of(self.heads),
                "a divisor of the width",
            ),
            (
                "positions",
                self.positions,
                (1..=POSITIONS_MAX).contains(&self.positions),
                "1 to 1024",
            ),
            (
                "inputs",
                self.inputs,
                (1..=WIDTH).contains(&self.inputs),
                "1 to 4096",
            ),
            (
                "classes",
                self.classes,
                (1..=WIDTH).contains(&self.classes),
                "1 to 4096",
            ),
            (
                "code bits",
                self.code_bits,
                (1..=8).contains(&self.code_bits),
                "1 to 8",
            ),
            (
                "dither bits",
                self.dither_bits,
                matches!(self.dither_bits, 1 | 2 | 4 | 8),
                "1, 2, 4 or 8",
            ),
            (
                "input fraction",
                self.input_fraction,
                if is_classifier {
                    self.input_fraction <= INPUT_FRACTION_MAX
                } else {
                    self.input_fraction == 1
                },
                "at most 16, and 1 for a language model",
            ),
            (
                "inputs",
                self.inputs,
                // The width may be anything here: all rules are evaluated.
                is_classifier || Some(self.inputs) == self.width.checked_mul(3),
                "three times the width for a language model",
            ),
            (
                "vocabulary",
                self.vocabulary,
                self.vocabulary == if is_classifier { 0 } else { self.classes },
                "0 for a classifier and the classes for a language model",
            ),
        ];
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((field, value, _, rule)) => Err(ConfigError { field, value, rule }),
            None => Ok(()),
        }
    }

    /// Width of one attention head.
    pub const fn head_width(&self) -> usize {
        (self.width / self.heads) as usize
    }

    /// Gains of the model: one vector for positions, two per layer and a last one.
    pub const fn gains(&self) -> usize {
        (2 * self.layers as usize + 2) * self.width as usize
    }

    /// Bytes of input that a request carries at most: one per input code, four per
    /// token.
    pub const fn input_bytes_max(&self) -> usize {
        match self.task {
            Task::Classifier => self.positions as usize * self.inputs as usize,
            Task::LanguageModel => self.positions as usize * 4,
        }
    }

    /// The matrices of the model in the order of the file.
    pub fn matrices(&self) -> Vec<MatrixRole> {
        use MatrixRole as R;
        let mut roles = vec![R::Gains, R::Embedding];
        for l in 0..self.layers {
            roles.extend([
                R::Query(l),
                R::Key(l),
                R::Value(l),
                R::Output(l),
                R::Expand(l),
                R::Contract(l),
            ]);
        }
        roles.push(R::Head);
        roles
    }

    /// The shape of one matrix if it is of this kind. Flat kinds get bias seeds.
    /// Gains are `vec8` whatever is asked for.
    pub fn shape(&self, role: MatrixRole, kind: Kind) -> MatrixShape {
        let (width, hidden) = (self.width as usize, self.hidden as usize);
        let (outputs, inputs) = match role {
            MatrixRole::Gains => return MatrixShape::new(Kind::Vec8, self.gains(), 1),
            MatrixRole::Embedding => (width, self.inputs as usize),
            MatrixRole::Expand(_) => (hidden, width),
            MatrixRole::Contract(_) => (width, hidden),
            MatrixRole::Head => (self.classes as usize, width),
            _ => (width, width),
        };
        MatrixShape {
            bias_seeds: kind.tile_rows().is_none(),
            ..MatrixShape::new(kind, outputs, inputs)
        }
    }
}

/// What a matrix is for; the number is its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatrixRole {
    /// Not a matrix but the gain vectors: positions, two norms per layer, last norm.
    Gains,
    /// Input codes to residual stream (`emb`).
    Embedding,
    /// Queries of attention (`q`).
    Query(u32),
    /// Keys of attention (`k`).
    Key(u32),
    /// Values of attention (`v`).
    Value(u32),
    /// Attention back to the residual stream (`o`).
    Output(u32),
    /// Residual stream to the hidden layer (`f`).
    Expand(u32),
    /// Hidden layer back to the residual stream (`g`).
    Contract(u32),
    /// Residual stream to logits (`head`).
    Head,
}

impl fmt::Display for MatrixRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gains => f.write_str("gains"),
            Self::Embedding => f.write_str("emb"),
            Self::Query(l) => write!(f, "q{l}"),
            Self::Key(l) => write!(f, "k{l}"),
            Self::Value(l) => write!(f, "v{l}"),
            Self::Output(l) => write!(f, "o{l}"),
            Self::Expand(l) => write!(f, "f{l}"),
            Self::Contract(l) => write!(f, "g{l}"),
            Self::Head => f.write_str("head"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: Config = Config {
        task: Task::Classifier,
        width: 64,
        hidden: 128,
        layers: 2,
        heads: 4,
        positions: 9,
        inputs: 16,
        classes: 10,
        code_bits: 4,
        dither_bits: 4,
        input_fraction: 4,
        vocabulary: 0,
    };

    #[test]
    fn a_width_beyond_all_bounds_is_refused_and_not_multiplied() {
        let config = Config {
            task: Task::LanguageModel,
            width: u32::MAX,
            ..DIGITS
        };
        assert_eq!(config.check().unwrap_err().field, "width");
    }

    #[test]
    fn every_field_out_of_bounds_is_named() {
        assert_eq!(DIGITS.check(), Ok(()));
        type Break = fn(&mut Config);
        let cases: [(&str, Break); 12] = [
            ("width", |c| c.width = 0),
            ("width", |c| c.width = 4097),
            ("hidden", |c| c.hidden = u32::MAX),
            ("layers", |c| c.layers = 65),
            ("heads", |c| c.heads = 0),
            ("heads", |c| c.heads = 3),
            ("positions", |c| c.positions = 1025),
            ("inputs", |c| c.inputs = 0),
            ("classes", |c| c.classes = 0),
            ("code bits", |c| c.code_bits = 9),
            ("dither bits", |c| c.dither_bits = 3),
            ("vocabulary", |c| c.vocabulary = 1),
        ];
        for (field, break_it) in cases {
            let mut config = DIGITS;
            break_it(&mut config);
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let error = Config { heads: 3, ..DIGITS }.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "heads is 3, must be a divisor of the width"
        );
    }

    #[test]
    fn a_language_model_reads_three_tokens_per_position() {
        let config = Config {
            task: Task::LanguageModel,
            inputs: 192,
            input_fraction: 1,
            vocabulary: 10,
            ..DIGITS
        };
        assert_eq!(config.check(), Ok(()));
        assert!(
            Config {
                inputs: 191,
                ..config
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                input_fraction: 4,
                ..config
            }
            .check()
            .is_err()
        );
        assert!(
            Config {
                vocabulary: 11,
                ..config
            }
            .check()
            .is_err()
        );
        assert_eq!(config.input_bytes_max(), 36);
    }

    #[test]
    fn matrices_are_named_and_sized_as_in_the_file() {
        let roles = DIGITS.matrices();
        let names: Vec<String> = roles.iter().map(MatrixRole::to_string).collect();
        assert_eq!(names.len(), 15);
        assert_eq!(
            names[..9],
            ["gains", "emb", "q0", "k0", "v0", "o0", "f0", "g0", "q1"]
        );
        assert_eq!(names[14], "head");
        let seeds = |kind| -> usize {
            roles
                .iter()
                .map(|r| DIGITS.shape(*r, kind).seed_count())
                .sum()
        };
        // Sizes of the measured models of this shape, in bytes.
        let bytes =
            [Kind::Hb32, Kind::Hb16, Kind::Kron, Kind::Bin, Kind::Tern].map(|k| 32 * seeds(k));
        assert_eq!(bytes, [4928, 9088, 9088, 16192, 24096]);
    }
}
