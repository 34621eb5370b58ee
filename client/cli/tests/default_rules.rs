//! The rules that ship for digits: their thresholds come from training images alone, and
//! what they do to test images that nothing was fitted to.
//!
//! Tests that train models are slow, so they are asked for:
//! `cargo test -p hasher-cli --test default_rules -- --ignored --nocapture`.

use std::collections::BTreeMap;

use hasher_data::{Recipe, with_shifts};
use hasher_model::{Model, PASSES_DEFAULT};
use hasher_rules::{Answer, Comparison, Condition, Decision, Quantity, RuleSet};
use hasher_train::data::{Dataset, Part, digit_rows, digits};
use hasher_train::{EvalOptions, Judgement, TrainConfig, Trainer, evaluate};

const RULES: &str = include_str!("../rules/digits.toml");
/// Parts that the training images are cut into; each is judged by a model of the others.
const FOLDS: usize = 10;
/// Initialisations of the models that are tested.
const RNG_SEEDS: [u64; 3] = [1, 2, 3];
/// Share of the training images kept back that is to be accepted.
const ACCEPTED: f64 = 0.95;

/// As `hasher train --shifts --steps 1600 --batch 128` does.
fn train(data: &Dataset, rng_seed: u64) -> Model {
    let config = TrainConfig {
        steps: 1600,
        batch: 128,
        rng_seed,
        ..TrainConfig::default()
    };
    let data = with_shifts(data, &Recipe::Digits).expect("digits are images");
    let mut trainer = Trainer::new(config, &data).expect("the default fits the digits");
    while !trainer.is_finished() {
        trainer.step().expect("training goes on");
    }
    trainer.model().expect("seeds were trained")
}

fn judge(model: &Model, data: &Dataset) -> Vec<Judgement> {
    let options = EvalOptions {
        passes: &[PASSES_DEFAULT],
        skip: 0,
        threads: 2,
    };
    evaluate(model, data, Part::Test, options)
        .expect("the model fits the digits")
        .judgements
}

/// The training images, one fold of which takes the place of the test part.
fn fold(data: &Dataset, number: usize) -> Dataset {
    let (kept, train): (Vec<_>, Vec<_>) = data
        .part(Part::Train)
        .iter()
        .copied()
        .enumerate()
        .partition(|(at, _)| at % FOLDS == number);
    let examples = |list: Vec<(usize, usize)>| list.into_iter().map(|(_, at)| at).collect();
    Dataset::from_split(&digit_rows(), examples(train), examples(kept))
        .expect("the folds share no image")
}

/// How the rules compare a quantity.
fn comparison(rules: &RuleSet, quantity: &Quantity) -> Comparison {
    let conditions = rules.rules().iter().flat_map(|rule| &rule.require);
    let mut comparisons = conditions.filter_map(|condition| match condition {
        Condition::Number(of, comparison) if of == quantity => Some(*comparison),
        _ => None,
    });
    comparisons.next().expect("the rules compare this quantity")
}

/// Mean of an example's codes.
fn mean(data: &Dataset, example: usize) -> f64 {
    let codes = data.codes(example);
    let sum: f64 = codes.iter().map(|code| f64::from(*code)).sum();
    sum / codes.len() as f64
}

#[test]
fn the_ink_is_that_of_the_training_images_and_a_tenth_more() {
    let data = digits();
    let means = || data.part(Part::Train).iter().map(|at| mean(&data, *at));
    let (low, high) = (
        means().fold(f64::INFINITY, f64::min),
        means().fold(0.0, f64::max),
    );
    let room = (high - low) / 10.0;
    // One decimal, rounded outwards.
    let expected = Comparison::Within(
        ((low - room) * 10.0).floor() / 10.0,
        ((high + room) * 10.0).ceil() / 10.0,
    );
    let rules = RuleSet::parse(RULES).expect("the rules that ship");
    assert_eq!(
        comparison(&rules, &Quantity::Input("mean".to_owned())),
        expected
    );
}

#[test]
#[ignore = "trains ten models: ten minutes"]
fn nineteen_of_twenty_training_images_kept_back_are_sure() {
    let data = digits();
    let mut judgements = Vec::new();
    for number in 0..FOLDS {
        let data = fold(&data, number);
        judgements.extend(judge(&train(&data, number as u64 + 1), &data));
    }
    let share = |threshold: f64| -> f64 {
        let accepted = judgements.iter().filter(|j| j.confidence >= threshold);
        let wrong = accepted.clone().filter(|j| !j.is_correct()).count();
        let accepted = accepted.count();
        println!("confidence >= {threshold:.2}: {accepted} accepted, {wrong} of them wrong");
        accepted as f64 / judgements.len() as f64
    };
    let steps = (0..=100).rev().map(|step| f64::from(step) / 100.0);
    let chosen = steps.into_iter().find(|t| share(*t) >= ACCEPTED);
    let rules = RuleSet::parse(RULES).expect("the rules that ship");
    let shipped = comparison(&rules, &Quantity::Confidence);
    assert_eq!(Some(shipped), chosen.map(Comparison::AtLeast));
}

#[test]
#[ignore = "trains three models: three minutes"]
fn nineteen_of_twenty_test_images_are_accepted_and_hardly_one_wrongly() {
    let data = digits();
    let rules = RuleSet::parse(RULES).expect("the rules that ship");
    let (mut accepted, mut errors, mut all) = (0, 0, 0);
    for rng_seed in RNG_SEEDS {
        let model = train(&data, rng_seed);
        let (mut of_run, mut wrong) = (0, 0);
        for (example, judgement) in data.part(Part::Test).iter().zip(judge(&model, &data)) {
            let answer = Answer {
                confidence: judgement.confidence,
                agreement: judgement.agreement,
                margin: judgement.margin,
                entropy_bits: judgement.entropy_bits,
                inputs: BTreeMap::from([("mean".to_owned(), mean(&data, *example))]),
                ..Answer::of(&judgement.prediction.to_string())
            };
            all += 1;
            if rules.judge(&answer).decision == Decision::Accept {
                of_run += 1;
                wrong += usize::from(!judgement.is_correct());
            }
        }
        println!("rng seed {rng_seed}: {of_run} accepted, {wrong} of them wrong");
        accepted += of_run;
        errors += wrong;
    }
    assert!(
        accepted * 20 >= all * 19,
        "{accepted} of {all} are accepted"
    );
    // The aim: one error on average (docs/rules.md).
    assert!(errors <= RNG_SEEDS.len(), "{errors} errors are accepted");
}
