//! What a requester asks a model: a nonce of its own choice and the input.

use hasher_work::{Digest, digest};

use crate::config::{Config, Task};

/// An input and the 16 bytes that make the request unique.
///
/// The nonce must come from whoever wants to trust the answer: it keeps the
/// answerer from choosing among many requests beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    nonce: [u8; 16],
    input: Vec<u8>,
}

/// Why an input does not fit a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A classifier's input has the wrong length.
    #[error("input has {got} codes, the model takes {expected}")]
    InputLength {
        /// Positions times inputs per position.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// A language model's input is empty, too long or not whole tokens.
    #[error("input has {got} bytes, the model takes 1 to {most} tokens of 4 bytes")]
    TokenCount {
        /// Most tokens.
        most: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// A token is not in the vocabulary.
    #[error("token {at} is {token}, the model knows 0 to {last}")]
    UnknownToken {
        /// Position of the token.
        at: usize,
        /// Its number.
        token: u32,
        /// Last token of the vocabulary.
        last: u32,
    },
}

impl Request {
    /// A request from input bytes: one byte per quantised input code, row-major
    /// over positions, for a classifier.
    pub fn new(nonce: [u8; 16], input: Vec<u8>) -> Self {
        Self { nonce, input }
    }

    /// A request to a language model.
    pub fn of_tokens(nonce: [u8; 16], tokens: &[u32]) -> Self {
        let input = tokens.iter().flat_map(|token| token.to_le_bytes());
        Self::new(nonce, input.collect())
    }

    /// The requester's nonce.
    pub const fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// The input bytes.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// `H("HSHRreq1" ‖ nonce ‖ length ‖ input)`: what anchors commit to.
    pub fn id(&self) -> Digest {
        let mut message = b"HSHRreq1".to_vec();
        message.extend(self.nonce);
        message.extend((self.input.len() as u32).to_le_bytes());
        message.extend(&self.input);
        digest(&message)
    }

    /// Checks that a model of this configuration can answer.
    ///
    /// # Errors
    /// [`RequestError`] says what does not fit.
    pub fn check(&self, config: &Config) -> Result<(), RequestError> {
        let (got, most) = (self.input.len(), config.input_bytes_max());
        match config.task {
            Task::Classifier if got != most => Err(RequestError::InputLength {
                expected: most,
                got,
            }),
            Task::Classifier => Ok(()),
            Task::LanguageModel => {
                if got == 0 || got > most || got % 4 != 0 {
                    return Err(RequestError::TokenCount {
                        most: config.positions as usize,
                        got,
                    });
                }
                let unknown = self
                    .tokens()
                    .enumerate()
                    .find(|(_, token)| *token >= config.vocabulary);
                match unknown {
                    Some((at, token)) => Err(RequestError::UnknownToken {
                        at,
                        token,
                        last: config.vocabulary - 1,
                    }),
                    None => Ok(()),
                }
            }
        }
    }

    /// The input as tokens.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.input.as_chunks::<4>().0;
        words.iter().map(|word| u32::from_le_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn request_ids_match_the_vectors() {
        let vectors = vectors::load();
        let entry = &vectors["request"];
        let request = Request::new(
            vectors::bytes_of(&entry["nonce16"]),
            vectors::bytes(&entry["input_hex"]),
        );
        assert_eq!(request.id().to_hex(), entry["request_id"].as_str().unwrap());
        let entry = &vectors["tiny_lm"];
        let request = Request::of_tokens([0; 16], &vectors::ints::<u32>(&entry["tokens"]));
        assert_eq!(request.id().to_hex(), entry["request_id"].as_str().unwrap());
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let classifier = Config {
            task: Task::Classifier,
            width: 8,
            hidden: 8,
            layers: 1,
            heads: 1,
            positions: 2,
            inputs: 3,
            classes: 5,
            code_bits: 4,
            dither_bits: 4,
            input_fraction: 4,
            vocabulary: 0,
        };
        let request = |bytes: &[u8]| Request::new([0; 16], bytes.to_vec());
        assert_eq!(request(&[255; 6]).check(&classifier), Ok(()));
        assert_eq!(
            request(&[0; 5]).check(&classifier).unwrap_err().to_string(),
            "input has 5 codes, the model takes 6"
        );
        let reader = Config {
            task: Task::LanguageModel,
            inputs: 24,
            input_fraction: 1,
            vocabulary: 5,
            ..classifier
        };
        let tokens = |tokens: &[u32]| Request::of_tokens([0; 16], tokens).check(&reader);
        assert_eq!(tokens(&[4]), Ok(()));
        assert_eq!(tokens(&[0, 4]), Ok(()));
        assert!(matches!(
            tokens(&[0, 5]),
            Err(RequestError::UnknownToken {
                at: 1,
                token: 5,
                last: 4
            })
        ));
        for bytes in [0, 3, 12] {
            assert_eq!(
                request(&vec![0; bytes]).check(&reader),
                Err(RequestError::TokenCount {
                    most: 2,
                    got: bytes
                })
            );
        }
    }
}
