use super::*;
use crate::data::digits;
use crate::{Activation, Kinds, Surrogate};
use hasher_model::Kind;

fn short(kind: Kind, steps: u32) -> TrainConfig {
    TrainConfig {
        kinds: Kinds::all(kind),
        steps,
        warm_up: 10,
        ..TrainConfig::default()
    }
}

fn trained(config: TrainConfig, data: &Dataset, threads: usize) -> Vec<u8> {
    let mut trainer = Trainer::new(config, data).unwrap();
    trainer.set_threads(threads);
    while !trainer.is_finished() {
        trainer.step().unwrap();
    }
    trainer.model().unwrap().to_bytes()
}

#[test]
fn a_few_steps_on_the_digits_lower_the_loss_for_every_kind() {
    let data = digits();
    for kind in Kind::ALL {
        let mut trainer = Trainer::new(short(kind, 60), &data).unwrap();
        let losses: Vec<f64> = (0..60).map(|_| trainer.step().unwrap().loss).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, last) = (mean(&losses[..10]), mean(&losses[50..]));
        assert!(
            last < 0.85 * first,
            "{kind}: loss {first:.3} became {last:.3}"
        );
        assert!(trainer.model().is_ok());
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let data = digits();
    let config = TrainConfig {
        batch: 30,
        ..short(Kind::Hb32, 12)
    };
    let one = trained(config.clone(), &data, 1);
    for threads in [2, 3, 7, 100] {
        assert_eq!(
            trained(config.clone(), &data, threads),
            one,
            "{threads} threads"
        );
    }
    let other = TrainConfig {
        rng_seed: 2,
        ..config
    };
    assert_ne!(trained(other, &data, 1), one);
}

#[test]
fn the_model_is_made_of_the_average_of_the_latents() {
    let data = digits();
    let run = |averaging: f32| {
        let config = TrainConfig {
            averaging,
            ..short(Kind::Hb32, 4)
        };
        let mut trainer = Trainer::new(config, &data).unwrap();
        let mut average = vec![0.0; trainer.latents.values().len()];
        for keep in [0.0, 1.0 / 10.0, 2.0 / 11.0, 3.0 / 12.0] {
            trainer.step().unwrap();
            let latents = average.iter_mut().zip(trainer.latents.values());
            latents.for_each(|(average, latent)| *average += (1.0 - keep) * (latent - *average));
        }
        (trainer, average)
    };
    // Its seeds are not those of the last step.
    let (trainer, expected) = run(0.97);
    for (average, expected) in trainer.average.iter().zip(&expected) {
        assert!(
            (average - expected).abs() < 1e-6,
            "{average}, not {expected}"
        );
    }
    let model = trainer.model().unwrap();
    assert!(model.seeds() != trainer.seeds);
    assert!(!has_last_weights(&trainer));

    let (trainer, _) = run(0.0);
    assert!(trainer.model().unwrap().seeds() == trainer.seeds);
    assert!(has_last_weights(&trainer));
}

/// Whether the averaged network is that of the last step.
fn has_last_weights(trainer: &Trainer<'_>) -> bool {
    let averaged = trainer.averaged_network().unwrap();
    let matrices = 1..=averaged.shape.matrices().len();
    matrices
        .into_iter()
        .all(|index| averaged.dense.weight(index) == trainer.network.dense.weight(index))
}

#[test]
fn a_resumed_run_ends_with_the_bytes_of_an_uninterrupted_one() {
    let data = digits();
    // 50 steps of 32 cross the end of the first epoch (1347 examples).
    let oracle = TrainConfig {
        dither: DitherSource::Oracle,
        ..short(Kind::Hb32, 50)
    };
    for config in [short(Kind::Hb32, 50), short(Kind::Kron, 50), oracle] {
        let whole = trained(config.clone(), &data, 2);
        let mut trainer = Trainer::new(config.clone(), &data).unwrap();
        for stop in [1, 17, 43] {
            while trainer.steps_done() < stop {
                trainer.step().unwrap();
            }
            let bytes = trainer.checkpoint();
            trainer = Trainer::resume(&bytes, &data).unwrap();
            assert_eq!(trainer.checkpoint(), bytes);
            assert_eq!(trainer.steps_done(), stop);
        }
        while !trainer.is_finished() {
            trainer.step().unwrap();
        }
        assert!(trainer.model().unwrap().to_bytes() == whole, "{config:?}");
        assert!(matches!(trainer.step(), Err(TrainError::Finished(50))));
    }
}

#[test]
fn a_checkpoint_is_refused_with_other_data() {
    let data = digits();
    let bytes = Trainer::new(short(Kind::Hb32, 5), &data)
        .unwrap()
        .checkpoint();
    let rows = crate::data::digit_rows();
    let other = Dataset::from_rows(&rows, 25, 1).unwrap();
    let error = Trainer::resume(&bytes, &other).unwrap_err();
    let TrainError::Checkpoint(CheckpointError::OtherData(fingerprint)) = error else {
        panic!("{error}");
    };
    assert_eq!(fingerprint, data.fingerprint());
}

#[test]
fn a_model_too_large_for_its_file_is_refused_before_training() {
    let data = digits();
    let config = TrainConfig {
        kinds: Kinds::all(Kind::Hb8),
        width: 2048,
        hidden: 4096,
        batch: 1,
        ..short(Kind::Hb8, 1)
    };
    let error = Trainer::new(config, &data).unwrap_err();
    assert!(
        matches!(error, TrainError::Model(ModelError::TooLarge { .. })),
        "{error}"
    );
}

#[test]
fn a_batch_larger_than_the_data_takes_examples_again() {
    let rows = &crate::data::digit_rows()[..10];
    let data = Dataset::from_rows(rows, 0, 1).unwrap();
    let mut trainer = Trainer::new(short(Kind::Hb32, 2), &data).unwrap();
    trainer.step().unwrap();
    let mut counts = [0; 10];
    trainer
        .batch
        .iter()
        .for_each(|example| counts[*example] += 1);
    assert!(
        counts.iter().all(|count| [3, 4].contains(count)),
        "{counts:?}"
    );
}

#[test]
fn every_example_is_taken_once_an_epoch_in_another_order() {
    let examples: Vec<usize> = (100..150).collect();
    let mut order = Order::new(1, &examples);
    let mut epoch = |epoch: u64| -> Vec<usize> {
        (epoch * 50..(epoch + 1) * 50)
            .map(|number| order.example(number, &examples))
            .collect()
    };
    let (first, second) = (epoch(0), epoch(1));
    assert_ne!(first, second);
    for mut taken in [first, second] {
        taken.sort_unstable();
        assert_eq!(taken, examples);
    }
}

#[test]
fn a_run_that_diverges_says_at_which_step() {
    let data = digits();
    let mut trainer = Trainer::new(short(Kind::Hb32, 5), &data).unwrap();
    trainer.latents.values_mut().fill(f32::MAX);
    trainer.adam.mean.fill(f32::MAX);
    let error = (0..5).find_map(|_| trainer.step().err()).unwrap();
    assert!(
        error.to_string().starts_with("training diverged at step "),
        "{error}"
    );
}

#[test]
fn a_language_model_learns_what_follows_what() {
    // Every second token follows from the one before it, the others from nothing.
    let mut rng = Rng::new(1, Purpose::Split, 0);
    let pairs = (0..2000).map(|_| rng.below(4) as u8);
    let tokens: Vec<u8> = pairs.flat_map(|first| [first, first ^ 1]).collect();
    let data = Dataset::sequence(8, 4, tokens, &[], (0..3000).collect(), vec![3900]).unwrap();
    let config = TrainConfig {
        width: 32,
        hidden: 32,
        layers: 1,
        ..short(Kind::Hb16, 120)
    };
    let mut trainer = Trainer::new(config, &data).unwrap();
    let losses: Vec<f64> = (0..120).map(|_| trainer.step().unwrap().loss).collect();
    let last = losses[110..].iter().sum::<f64>() / 10.0;
    // Half of the predictions cost ln 4 at least, the others nothing.
    let floor = 4f64.ln() / 2.0;
    assert!(last < floor + 0.35, "{last:.3} nats, at least {floor:.3}");
    assert_eq!(trainer.model().unwrap().config().inputs, 96);
}

#[test]
fn tokens_that_do_not_count_change_nothing() {
    let config = TrainConfig {
        width: 16,
        hidden: 16,
        layers: 1,
        batch: 4,
        ..short(Kind::Hb16, 3)
    };
    // The last token of a window is only ever predicted.
    let trained = |last: u8| {
        let mut scored = vec![true; 5];
        scored[4] = false;
        let tokens = vec![0, 1, 2, 3, last];
        let data = Dataset::sequence(4, 4, tokens, &scored, vec![0], vec![]).unwrap();
        trained(config.clone(), &data, 1)
    };
    assert_eq!(trained(0), trained(3));
}

#[test]
fn every_form_of_weights_and_activation_learns() {
    let data = digits();
    let base = short(Kind::Hb32, 60);
    let forms = [
        TrainConfig {
            weights: Weights::Float,
            activation: Activation::Gelu,
            ..base.clone()
        },
        TrainConfig {
            activation: Activation::Nearest,
            ..base.clone()
        },
        TrainConfig {
            surrogate: Surrogate::Logistic,
            ..base.clone()
        },
        TrainConfig {
            surrogate: Surrogate::StraightThrough,
            ..base.clone()
        },
        TrainConfig {
            kinds: "hb32,head=nib,q=bin,emb=hb8".parse().unwrap(),
            ..base.clone()
        },
    ];
    let last_loss = |config: TrainConfig| {
        let mut trainer = Trainer::new(config, &data).unwrap();
        let losses: Vec<f64> = (0..60).map(|_| trainer.step().unwrap().loss).collect();
        losses[50..].iter().sum::<f64>() / 10.0
    };
    let frozen = last_loss(TrainConfig {
        surrogate: Surrogate::Frozen,
        ..base
    });
    for config in forms {
        let loss = last_loss(config.clone());
        assert!(
            loss < 0.9 * frozen,
            "{loss:.3} against {frozen:.3}: {config:?}"
        );
    }
}

#[test]
fn float_weights_make_no_model_file() {
    let data = digits();
    let config = TrainConfig {
        weights: Weights::Float,
        ..short(Kind::Hb32, 1)
    };
    let trainer = Trainer::new(config, &data).unwrap();
    assert!(matches!(trainer.model(), Err(TrainError::FloatWeights)));
}

#[test]
fn training_goes_on_from_the_weights_of_a_model() {
    let data = digits();
    for kinds in ["hb32", "kron", "tern,head=nib", "bin", "vec8"] {
        let config = TrainConfig {
            kinds: kinds.parse().unwrap(),
            ..short(Kind::Hb32, 3)
        };
        let mut trainer = Trainer::new(config.clone(), &data).unwrap();
        while !trainer.is_finished() {
            trainer.step().unwrap();
        }
        let model = trainer.model().unwrap();
        let other = TrainConfig {
            kinds: Kinds::all(Kind::Hb8),
            rng_seed: 9,
            ..config
        };
        let again = Trainer::start_from(&model, other, &data).unwrap();
        assert_eq!(again.config().kinds.to_string(), kinds);
        // `tern` and `vec8` choose their scale anew; the others keep every bit.
        if !kinds.contains("tern") && kinds != "vec8" {
            assert_eq!(again.model().unwrap().id(), model.id(), "{kinds}");
        }
    }
}

#[test]
fn a_pupil_learns_from_a_teacher_and_only_from_a_fitting_one() {
    let data = digits();
    let float = TrainConfig {
        weights: Weights::Float,
        activation: Activation::Gelu,
        width: 32,
        hidden: 32,
        ..short(Kind::Hb32, 12)
    };
    let teacher = || {
        let mut teacher = Trainer::new(float.clone(), &data).unwrap();
        while !teacher.is_finished() {
            teacher.step().unwrap();
        }
        teacher
    };
    let config = TrainConfig {
        batch: 30,
        ..short(Kind::Hb32, 12)
    };
    let taught = |share: f32, threads: usize| {
        let mut trainer = Trainer::new(config.clone(), &data).unwrap();
        trainer.learn_from(teacher(), share).unwrap();
        trainer.set_threads(threads);
        while !trainer.is_finished() {
            trainer.step().unwrap();
        }
        trainer.model().unwrap().to_bytes()
    };
    let alone = trained(config.clone(), &data, 1);
    assert_eq!(taught(0.0, 1), alone, "a share of nothing changes nothing");
    assert_ne!(taught(0.5, 1), alone);
    assert_eq!(taught(0.5, 1), taught(0.5, 3), "threads do not matter");

    let refused = |teacher: TrainConfig, share: f32| {
        let mut trainer = Trainer::new(config.clone(), &data).unwrap();
        let teacher = Trainer::new(teacher, &data).unwrap();
        trainer.learn_from(teacher, share).unwrap_err().to_string()
    };
    assert!(refused(float.clone(), 1.5).contains("0 to 1"));
    assert!(refused(config.clone(), 0.5).contains("it dithers"));
}
