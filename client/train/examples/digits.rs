//! Prints the figures of the digits: several initialisations of the default
//! model, each trained and then evaluated with the exact integer inference.
//!
//! ```text
//! cargo run --release -p hasher-train --example digits [INITIALISATIONS]
//! ```

use std::error::Error;
use std::thread;
use std::time::Instant;

use hasher_train::data::{Part, digits};
use hasher_train::{Footprint, TrainConfig, Trainer, evaluate};

const PASSES: [u16; 5] = [1, 3, 5, 11, 21];

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 3,
    };
    let data = digits();
    let threads = thread::available_parallelism()?.get();
    println!("accuracy on the test part, in per cent, by passes averaged");
    println!("rng seed    P=1    P=3    P=5   P=11   P=21   ECE 1/21     train    eval");
    let mut mean = [0.0; PASSES.len()];
    for rng_seed in 1..=count {
        let began = Instant::now();
        let config = TrainConfig {
            rng_seed,
            ..TrainConfig::default()
        };
        let mut trainer = Trainer::new(config, &data)?;
        while !trainer.is_finished() {
            trainer.step()?;
        }
        let trained = Instant::now();
        let model = trainer.model()?;
        let evaluation = evaluate(&model, &data, Part::Test, &PASSES, threads)?;
        let errors = [0, 4].map(|at| evaluation.rows[at].calibration_error);
        print!("{rng_seed:8}");
        for (mean, row) in mean.iter_mut().zip(&evaluation.rows) {
            *mean += row.accuracy / count as f64;
            print!(" {:6.2}", 100.0 * row.accuracy);
        }
        println!(
            "  {:.3}/{:.3} {:6.1} s {:5.1} s",
            errors[0],
            errors[1],
            (trained - began).as_secs_f64(),
            trained.elapsed().as_secs_f64()
        );
        if rng_seed == count {
            print!("    mean");
            for mean in mean {
                print!(" {:6.2}", 100.0 * mean);
            }
            let Footprint {
                seed_bytes,
                float32_bytes,
            } = Footprint::of(&model);
            println!("\nweights: {seed_bytes} bytes of seeds, {float32_bytes} as float32");
            println!(
                "oracle: {} lanes and {} double digests for {} examples with 21 passes",
                evaluation.oracle.lanes, evaluation.oracle.digests, evaluation.examples
            );
        }
    }
    Ok(())
}
