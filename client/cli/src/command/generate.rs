//! `hasher generate`: let a language model write.

use std::path::PathBuf;

use clap::Args;
use hasher_data::Recipe;
use hasher_model::{DirectAnchors, Model, Options, Request, predict};
use hasher_work::digest;
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit, chain};
use crate::interrupt::Interrupt;
use crate::{card, model_file, parse};

/// Write text with a language model
///
/// Goes on from a prompt, token by token, with the exact integer model in direct
/// mode: the same model, prompt, options and --rng-seed write the same text on every
/// machine. A sequence model writes the target of one source and stops.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher generate --model kjv.hsh --prompt 'and the lord ' --length 400
  hasher generate --model kjv.hsh --temperature 0.7 --top-k 8 --rng-seed 3
  hasher generate --model words.hsh --prompt 207")]
pub struct GenerateArgs {
    /// Model file; its card must lie beside it
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Text to go on from; the source for a sequence model
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    /// Most tokens to write
    #[arg(long, value_name = "N", default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    length: u32,
    /// Divides the logits before choosing; 0 always takes the most probable token
    /// [default: 1; 0 for a sequence model]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Choose among so many of the most probable tokens only
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: Option<u16>,
    /// Start of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    rng_seed: u64,
    /// Passes to average for each token, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = parse::passes)]
    passes: u16,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    model_id: String,
    prompt: String,
    /// What was written; bytes that are no text are replaced.
    text: String,
    tokens: usize,
}

/// Largest temperature: beyond it all tokens are as good as equal.
const TEMPERATURE_MAX: f64 = 100.0;

/// Writes.
///
/// # Errors
/// A model without a card, a classifier, or a prompt with unknown tokens.
pub fn run(args: &GenerateArgs, context: &Context) -> Result<Exit, CliError> {
    let model = model_file::load(&args.model)?;
    let recipe = card::load(&args.model, &model)?.recipe;
    let is_sequence = matches!(recipe, Recipe::Sequence { .. });
    let chooser = Chooser {
        temperature: args
            .temperature
            .unwrap_or(if is_sequence { 0.0 } else { 1.0 }),
        top_k: args.top_k.map_or(usize::MAX, usize::from),
        rng_seed: args.rng_seed,
    };
    // Written so that NaN is refused.
    if !(chooser.temperature >= 0.0 && chooser.temperature <= TEMPERATURE_MAX) {
        return Err(CliError::usage(format!(
            "the temperature is {}, must be 0 to {TEMPERATURE_MAX}",
            chooser.temperature
        ))
        .hint("0.8 writes carefully, 1.0 as the model has learned"));
    }
    let vocabulary = recipe.vocabulary().ok_or_else(|| {
        CliError::failed("the model is a classifier and writes no text")
            .hint("train one with `hasher train --task text`")
    })?;
    let prompt = prompt(&recipe, &args.prompt)?;
    let interrupt = Interrupt::install()?;
    let output = &context.output;
    let mut tokens = prompt;
    let mut text = Vec::new();
    let mut written = 0;
    for number in 0..args.length {
        if interrupt.is_asked() || (is_sequence && tokens.len() > model.config().positions as usize)
        {
            break;
        }
        let token = next(&model, &tokens, args, &chooser, number)?;
        written += 1;
        if recipe.end_token() == Some(token) {
            break;
        }
        let piece = vocabulary.decode(u32::from(token));
        output.piece(&piece)?;
        text.extend(piece);
        tokens.push(token);
    }
    output.line("")?;
    output.report(&Report {
        schema: "hasher.generate/1",
        model_id: model.id().to_string(),
        prompt: args.prompt.clone(),
        text: String::from_utf8_lossy(&text).into_owned(),
        tokens: written,
    })?;
    Ok(Exit::Done)
}

/// The tokens to go on from; a model must see at least one.
fn prompt(recipe: &Recipe, text: &str) -> Result<Vec<u8>, CliError> {
    let wrong = |error: hasher_data::DataError| {
        CliError::failed(format!("cannot use the {error}"))
            .hint("write the prompt with characters of the training text")
    };
    let tokens = recipe.prompt(text).map_err(wrong)?;
    if tokens.is_empty() {
        // A line end is the most neutral start of a text.
        return recipe.prompt("\n").map_err(wrong);
    }
    Ok(tokens)
}

fn next(
    model: &Model,
    tokens: &[u8],
    args: &GenerateArgs,
    chooser: &Chooser,
    number: u32,
) -> Result<u8, CliError> {
    let first = tokens
        .len()
        .saturating_sub(model.config().positions as usize);
    let window: Vec<u32> = tokens[first..]
        .iter()
        .map(|token| u32::from(*token))
        .collect();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&args.rng_seed.to_le_bytes());
    nonce[8..12].copy_from_slice(&number.to_le_bytes());
    let request = Request::of_tokens(nonce, &window);
    let options = Options {
        passes: args.passes,
        ..Options::default()
    };
    let outcome = predict(model, &request, options, &mut DirectAnchors)
        .map_err(|error| CliError::failed(chain(&error)))?;
    Ok(chooser.choose(&outcome.ensemble.mean_p_q16(), number) as u8)
}

/// Chooses a token from probabilities.
#[derive(Debug)]
struct Chooser {
    temperature: f64,
    top_k: usize,
    rng_seed: u64,
}

impl Chooser {
    /// The token with number `number` of the text; the same for the same numbers.
    fn choose(&self, shares: &[u32], number: u32) -> usize {
        let mut order: Vec<usize> = (0..shares.len()).collect();
        // Stable: of equals the lower number comes first.
        order.sort_by_key(|token| std::cmp::Reverse(shares[*token]));
        if self.temperature == 0.0 {
            return order[0];
        }
        order.truncate(self.top_k);
        let most = f64::from(shares[order[0]].max(1));
        let weight =
            |token: &usize| (f64::from(shares[*token]) / most).powf(1.0 / self.temperature);
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let mut rest = self.uniform(number) * weights.iter().sum::<f64>();
        for (token, weight) in order.iter().zip(&weights) {
            rest -= weight;
            if rest < 0.0 {
                return *token;
            }
        }
        order[0]
    }

    /// A number in [0, 1) from SHA-256 of rng seed and number.
    fn uniform(&self, number: u32) -> f64 {
        let message = [&self.rng_seed.to_le_bytes()[..], &number.to_le_bytes()[..]].concat();
        let [a, b, c, d, e, f, g, ..] = digest(&message).0;
        let bits = u64::from_le_bytes([a, b, c, d, e, f, g & 0x1f, 0]);
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser(temperature: f64, top_k: usize) -> Chooser {
        Chooser {
            temperature,
            top_k,
            rng_seed: 5,
        }
    }

    #[test]
    fn without_temperature_the_most_probable_token_is_taken() {
        assert_eq!(chooser(0.0, 9).choose(&[3, 9, 9, 1], 0), 1);
    }

    #[test]
    fn tokens_are_chosen_as_often_as_they_are_probable() {
        let shares = [16_384, 0, 49_152];
        let count = |chooser: Chooser, token| {
            (0..4000)
                .filter(|n| chooser.choose(&shares, *n) == token)
                .count() as f64
                / 4000.0
        };
        assert!((count(chooser(1.0, 9), 0) - 0.25).abs() < 0.03);
        assert_eq!(count(chooser(1.0, 9), 1), 0.0);
        // At half the temperature the shares are squared: 1 to 9.
        assert!((count(chooser(0.5, 9), 0) - 0.1).abs() < 0.03);
        assert_eq!(count(chooser(1.0, 1), 2), 1.0);
    }
}
