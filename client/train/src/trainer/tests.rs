use super::*;
use crate::data::digits;
use hasher_model::Kind;

fn short(kind: Kind, steps: u32) -> TrainConfig {
    TrainConfig {
        kind,
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
    for kind in [Kind::Hb32, Kind::Hb16, Kind::Hb8, Kind::Kron] {
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
        kind: Kind::Hb8,
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
