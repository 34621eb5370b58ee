//! `hasher demo`: the whole path in one command, with nothing but this computer.
//!
//! ```text
//! hasherd (private) ◄─socket─ anchors ◄── model ◄── training ◄── digits
//!   └ simulated board                       └── receipt ──► verify
//! ```
//!
//! Owns the order of the story and what it says; the work is that of the other
//! commands. The daemon it starts is always stopped again.

mod files;
mod rate;
mod service;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use hasher_model::{Mode, Model, Options};
use hasher_train::data::{Dataset, Part, digits};
use hasher_train::{EvalOptions, Footprint, TrainConfig, Trainer, evaluate};
use serde::Serialize;

use self::files::Files;
use self::service::{Service, Slot, StopAtEnd};
use super::Context;
use super::eval::weights_line;
use super::predict::{random_nonce, test_image};
use crate::demands::Demands;
use crate::error::{CliError, Exit};
use crate::evaluation::{Row, percent, points_up_to, table};
use crate::inference::{self, Answer, AnswerReport};
use crate::interrupt::end_on_interrupt;
use crate::output::Output;
use crate::private_daemon;
use crate::receipt_file::{self, Verdict};
use crate::table::{grouped, seconds};
use crate::training::{self, failed};
use crate::{parse, progress, threads};

/// Train and run the Hasher Transformer on real data, without a miner
///
/// Starts a private hasherd with a simulated Antminer S3, learns handwritten
/// digits on this CPU, tests the model on digits it has never seen, and answers
/// one of them with hash work that the simulated chips find. Then it verifies its
/// own receipt.
///
/// A model file, a receipt and a plot are left in the folder of --out; those of
/// an earlier demo are replaced.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher demo
  hasher demo --device sim:s1 --out second-demo
  Real difficulty on the CPU; says beforehand how long it takes (hours):
    hasher demo --device cpu --zero-bits 32")]
pub struct DemoArgs {
    /// Device of the private hasherd: sim:s3, sim:s1, cpu, or a longer spec
    #[arg(long, value_name = "SPEC", default_value = "sim:s3")]
    device: String,
    /// Zero bits of each anchor, 12 to 32 [default: 14 simulated, 16 on a CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(12..=32))]
    zero_bits: Option<u32>,
    /// Folder for model, receipt and plot
    #[arg(long, value_name = "DIR", default_value = "hasher-demo")]
    out: PathBuf,
    /// Training steps
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().steps,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(hasher_train::STEPS_MAX)))]
    steps: u32,
    /// Passes to average, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = parse::passes)]
    passes: u16,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    device: service::DeviceFacts,
    training: Training,
    test: Test,
    answer: AnswerReport,
    receipt: Verdict,
    files: files::Names,
    seconds: f64,
}

#[derive(Serialize)]
struct Training {
    examples: usize,
    steps: u32,
    loss: f64,
    accuracy: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct Test {
    examples: usize,
    rows: Vec<Row>,
    seed_bytes: usize,
    float32_bytes: usize,
    anchors: u64,
    oracle_digests: u64,
    seconds: f64,
}

/// Number of the test image that is classified in work mode.
const IMAGE: usize = 0;

/// Tells the story and leaves its three files.
///
/// # Errors
/// No `hasherd` to be found, a device it does not know, a folder that cannot be
/// written; [`Exit::Interrupted`] after Ctrl-C.
pub fn run(args: &DemoArgs, context: &Context) -> Result<Exit, CliError> {
    let slot = Slot::default();
    let to_stop = slot.clone();
    let interrupt = end_on_interrupt(move || {
        to_stop.stop();
        // The line with the progress bar stays as it is.
        eprintln!("\nerror: interrupted");
    })?;
    let stop_at_end = StopAtEnd(&slot);
    let told = tell(args, &context.output, &slot).map_err(|error| slot.explain(error));
    interrupt.leave_to_tidy();
    drop(stop_at_end);
    told
}

fn tell(args: &DemoArgs, output: &Output, slot: &Slot) -> Result<Exit, CliError> {
    let begin = Instant::now();
    let program = private_daemon::find()?;
    let files = Files::in_directory(&args.out)?;
    output.line(format!(
        "{}\nA transformer whose weights are 32-byte seeds learns real handwritten digits\n\
         and answers with hash work that goes through a daemon and back.",
        output.style.bold("Hasher demo")
    ))?;

    chapter(output, 1, "The hash service")?;
    let service = Service::start(slot, &program, &args.device, args.zero_bits, output)?;
    for line in service.text() {
        output.line(format!("   {line}"))?;
    }

    chapter(output, 2, "Learning")?;
    let data = digits();
    let (model, training) = learn(args, &data, output)?;
    files.write_model(&model)?;

    chapter(output, 3, "The test")?;
    let test = measure(args, &model, &data, output)?;
    files.write_plot(&test.rows, test.examples, test.seed_bytes)?;

    chapter(output, 4, "One answer with hash work behind it")?;
    let (answer, demands) = answer(args, &model, &service, &files, output)?;
    let device = service.facts_after_work()?;
    if let Some(line) = device.slowdown_line() {
        output.line(format!("   {line}"))?;
    }
    service.stop();

    chapter(output, 5, "The receipt")?;
    let bytes = crate::files::read(files.receipt(), "receipt", "run the demo again")?;
    let verdict = receipt_file::check(&bytes, &model, &demands)
        .map_err(|refused| refused.into_error(files.receipt()))?;
    for line in verdict.text(output.style) {
        output.line(format!("   {line}"))?;
    }

    let report = Report {
        schema: "hasher.demo/1",
        device,
        training,
        test,
        answer: answer.report(),
        receipt: verdict,
        files: files.names(),
        seconds: begin.elapsed().as_secs_f64(),
    };
    output.report(&report)?;
    closing(output, &files, begin)?;
    Ok(Exit::Done)
}

fn chapter(output: &Output, number: u32, title: &str) -> Result<(), CliError> {
    output.line(format!(
        "\n{}",
        output.style.bold(&format!("{number}  {title}"))
    ))
}

fn learn(args: &DemoArgs, data: &Dataset, output: &Output) -> Result<(Model, Training), CliError> {
    let examples = data.part(Part::Train).len();
    let config = TrainConfig {
        steps: args.steps,
        ..TrainConfig::default()
    };
    output.line(format!(
        "   {} handwritten digits (8x8 pixels, UCI), {} steps of {}, on this CPU.",
        grouped(examples as u64),
        config.steps,
        config.batch
    ))?;
    let steps = config.steps;
    let mut trainer = Trainer::new(config, data).map_err(|error| failed(&error))?;
    trainer.set_threads(threads::or_all(None));
    let trained = training::train(&mut trainer, output, " learning", |_| {
        Ok(ControlFlow::Continue(()))
    })?;
    output.line(format!(
        "   Done in {}: loss {:.3}, {} of the training images right.",
        seconds(trained.elapsed.as_secs_f64()),
        trained.loss,
        percent(trained.accuracy)
    ))?;
    let training = Training {
        examples,
        steps,
        loss: trained.loss,
        accuracy: trained.accuracy,
        seconds: trained.elapsed.as_secs_f64(),
    };
    let model = trained
        .model
        .expect("seeds were trained, not float weights");
    Ok((model, training))
}

fn measure(
    args: &DemoArgs,
    model: &Model,
    data: &Dataset,
    output: &Output,
) -> Result<Test, CliError> {
    let begin = Instant::now();
    let evaluation = {
        let waiting = progress::spinner(output, " testing");
        waiting.say("exact integer arithmetic");
        let passes = points_up_to(args.passes);
        let options = EvalOptions {
            passes: &passes,
            skip: 0,
            threads: threads::or_all(None),
        };
        evaluate(model, data, Part::Test, options).map_err(|error| failed(&error))?
    };
    let footprint = Footprint::of(model);
    let test = Test {
        examples: evaluation.examples,
        rows: evaluation.rows.iter().map(Row::from).collect(),
        seed_bytes: footprint.seed_bytes,
        float32_bytes: footprint.float32_bytes,
        anchors: evaluation.anchors,
        oracle_digests: evaluation.oracle.digests,
        seconds: begin.elapsed().as_secs_f64(),
    };
    output.line(format!(
        "   {} images that the model has never seen, in exact integer arithmetic.\n",
        grouped(test.examples as u64)
    ))?;
    for line in table(&test.rows) {
        output.line(format!("   {line}"))?;
    }
    output.line(format!(
        "\n   {}\n   hashes   {} anchors, {} digests of dither; this CPU, {}",
        weights_line(test.seed_bytes, test.float32_bytes),
        grouped(test.anchors),
        grouped(test.oracle_digests),
        seconds(test.seconds)
    ))?;
    Ok(test)
}

fn answer(
    args: &DemoArgs,
    model: &Model,
    service: &Service,
    files: &Files,
    output: &Output,
) -> Result<(Answer, Demands), CliError> {
    let mode = Mode::Work {
        zero_bits: service.zero_bits(),
    };
    let options = Options {
        passes: args.passes,
        mode,
        ..Options::default()
    };
    output.line(
        "   Each pass is dithered by bits that grow from an anchor: a header of this\n   \
         very question, which the device must solve first. The device computes\n   \
         nothing of the network; what it adds is work that anyone can check.",
    )?;
    if let Some(line) = service.forecast(inference::expected_hashes(
        mode,
        inference::anchors_max(model, &options),
    ))? {
        output.line(format!("   {line}"))?;
    }
    output.line("")?;
    let image = test_image(IMAGE)?;
    let request = inference::request(&image, random_nonce()?);
    let client = service.connect()?;
    let answer = inference::by_work(model, &request, options, client, service.pace(), output)?;
    for line in answer.text(&image, output.style) {
        output.line(format!("   {line}").trim_end())?;
    }
    files.write_receipt(model, &request, &options, &answer.outcome)?;
    let demands = Demands {
        min_zero_bits: mode.zero_bits(),
        passes: Some(options.passes),
        early_stop: options.early_stop,
        level: Some(options.level),
        nonce: Some(*request.nonce()),
        pixels: Some(image.pixels),
    };
    Ok((answer, demands))
}

fn closing(output: &Output, files: &Files, begin: Instant) -> Result<(), CliError> {
    output.line(format!("\n{}", output.style.bold("Left behind")))?;
    for line in files.text() {
        output.line(format!("   {line}"))?;
    }
    let names = files.names();
    output.line(format!(
        "\n{}\n   hasher verify {} --model {}\n   hasher predict --model {} --index 7",
        output.style.bold("Try next"),
        names.receipt,
        names.model,
        names.model
    ))?;
    output.line(output.style.dim(&format!(
        "\nThe whole demo took {}.",
        seconds(begin.elapsed().as_secs_f64())
    )))
}
