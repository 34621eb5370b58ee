//! `hasher rules`: check a rule file, and judge answers by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use hasher_rules::{Answer, Decision, Reason, RuleSet};
use hasher_train::data::Part;
use hasher_train::{EvalOptions, Judgement, evaluate};
use serde::Serialize;

use super::Context;
use crate::error::{CliError, Exit};
use crate::evaluation::percent;
use crate::examples::ExampleArgs;
use crate::table::{Align, grouped, lines};
use crate::training::failed;
use crate::{card, model_file, parse, progress, rule_file, threads};

/// Check rules for contradictions, and judge a model's answers by them
///
/// A rule file (TOML) names classes and how they relate, and rules over prediction,
/// confidence, agreement, margin, entropy and input values. A solver shows that every
/// rule can be met when it applies, together with all others. With --model the answers
/// to the test part are judged; inputs are `input.COLUMN` for a table (as coarse as the
/// model sees them) and `input.mean` of all codes otherwise.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hasher rules rules.toml
  hasher rules digits --model digits.hsh
  hasher rules rules.toml --model digits.hsh --index 7 --fact even")]
pub struct RulesArgs {
    /// Rule file, or `digits` for the rules that ship
    #[arg(value_name = "FILE")]
    rules: PathBuf,
    /// Model file whose answers are judged
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    examples: ExampleArgs,
    /// Judge one example of the test part only, counted from 0, and say why
    #[arg(long, value_name = "N", requires = "model")]
    index: Option<usize>,
    /// A class that the inputs are known to belong to; may be given again
    #[arg(long, value_name = "CLASS", requires = "model")]
    fact: Vec<String>,
    /// Passes to average, 1 to 255
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = parse::passes)]
    passes: u16,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N", value_parser = threads::parse)]
    threads: Option<usize>,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    rules: usize,
    /// Null without a model.
    judged: Option<Judged>,
}

#[derive(Serialize)]
struct Judged {
    answers: usize,
    accept: Share,
    flag: Share,
    reject: Share,
    /// How many answers failed each rule.
    failed: BTreeMap<String, usize>,
    /// With --index: the answer and every reason.
    one: Option<One>,
}

#[derive(Serialize, Default, Clone, Copy)]
struct Share {
    answers: usize,
    errors: usize,
}

#[derive(Serialize)]
struct One {
    prediction: String,
    label: String,
    decision: String,
    reasons: Vec<String>,
}

/// Checks, and judges if there is a model.
///
/// # Errors
/// Rules that cannot be read or contradict one another.
pub fn run(args: &RulesArgs, context: &Context) -> Result<Exit, CliError> {
    let rules = rule_file::load(&args.rules)?;
    let judged = match &args.model {
        Some(model) => Some(judge(args, model, &rules, context)?),
        None => None,
    };
    let report = Report {
        schema: "hasher.rules/1",
        rules: rules.rules().len(),
        judged,
    };
    context.output.report(&report)?;
    for line in text(&report) {
        context.output.line(line)?;
    }
    Ok(Exit::Done)
}

fn judge(
    args: &RulesArgs,
    path: &Path,
    rules: &RuleSet,
    context: &Context,
) -> Result<Judged, CliError> {
    let model = model_file::load(path)?;
    let card = card::find(path, &model)?;
    let examples = args.examples.or_card(card.as_ref())?;
    let loaded = examples.load(examples.test_percent)?;
    let names = loaded.recipe.classes();
    if names.is_empty() {
        return Err(
            CliError::failed("rules judge classifiers, the model writes text")
                .hint("name the model of a classification"),
        );
    }
    if let Some(fact) = args
        .fact
        .iter()
        .find(|fact| !rules.classes().contains(fact))
    {
        return Err(
            CliError::usage(format!("--fact {fact} is no class of the rule file"))
                .hint("list it under `classes`"),
        );
    }
    let test = loaded.data.part(Part::Test).to_vec();
    let (data, first) = match args.index {
        None => (loaded.data.clone(), 0),
        Some(index) => {
            let example = test.get(index).ok_or_else(|| {
                CliError::usage(format!("there is no test example {index}"))
                    .hint(format!("choose 0 to {}", test.len().saturating_sub(1)))
            })?;
            let one = loaded.data.with_test(vec![*example]);
            (
                one.map_err(|error| CliError::failed(error.to_string()))?,
                index,
            )
        }
    };
    let waiting = progress::spinner(&context.output, "judging");
    waiting.say("the exact integer model on the test part");
    let options = EvalOptions {
        passes: &[args.passes],
        skip: 0,
        threads: threads::or_all(args.threads),
    };
    let evaluation = evaluate(&model, &data, Part::Test, options).map_err(|e| failed(&e))?;
    drop(waiting);
    let mut judged = Judged {
        answers: evaluation.judgements.len(),
        accept: Share::default(),
        flag: Share::default(),
        reject: Share::default(),
        failed: rules
            .rules()
            .iter()
            .map(|rule| (rule.name.clone(), 0))
            .collect(),
        one: None,
    };
    let facts: BTreeSet<String> = args.fact.iter().cloned().collect();
    for (at, judgement) in evaluation.judgements.iter().enumerate() {
        let codes = loaded.data.codes(test[first + at]);
        let inputs = rule_file::inputs(&loaded.recipe, codes);
        let answer = answer(judgement, &names, inputs, facts.clone());
        let verdict = rules.judge(&answer);
        let share = match verdict.decision {
            Decision::Accept => &mut judged.accept,
            Decision::Flag => &mut judged.flag,
            Decision::Reject => &mut judged.reject,
        };
        share.answers += 1;
        share.errors += usize::from(!judgement.is_correct());
        let mut seen = BTreeSet::new();
        for reason in &verdict.reasons {
            if let Reason::Rule { rule, .. } = reason
                && seen.insert(rule.clone())
            {
                *judged.failed.entry(rule.clone()).or_default() += 1;
            }
        }
        if args.index.is_some() {
            judged.one = Some(One {
                prediction: answer.prediction,
                label: name(&names, judgement.label),
                decision: verdict.decision.to_string(),
                reasons: verdict.reasons.iter().map(Reason::to_string).collect(),
            });
        }
    }
    Ok(judged)
}

fn name(names: &[String], class: u16) -> String {
    names.get(usize::from(class)).cloned().unwrap_or_default()
}

fn answer(
    judgement: &Judgement,
    names: &[String],
    inputs: BTreeMap<String, f64>,
    facts: BTreeSet<String>,
) -> Answer {
    Answer {
        confidence: judgement.confidence,
        agreement: judgement.agreement,
        margin: judgement.margin,
        entropy_bits: judgement.entropy_bits,
        inputs,
        facts,
        ..Answer::of(&name(names, judgement.prediction))
    }
}

fn text(report: &Report) -> Vec<String> {
    let mut text = vec![format!(
        "{} rules; each can be met when it applies, together with all others",
        report.rules
    )];
    let Some(judged) = &report.judged else {
        return text;
    };
    if let Some(one) = &judged.one {
        text.push(format!(
            "{}: prediction {}, label {}",
            one.decision, one.prediction, one.label
        ));
        text.extend(one.reasons.iter().map(|reason| format!("  {reason}")));
        return text;
    }
    text.push(String::new());
    let columns = [
        ("verdict", Align::Left),
        ("answers", Align::Right),
        ("share", Align::Right),
        ("errors", Align::Right),
    ];
    let row = |name: &str, share: &Share| {
        vec![
            name.to_owned(),
            grouped(share.answers as u64),
            percent(share.answers as f64 / judged.answers.max(1) as f64),
            share.errors.to_string(),
        ]
    };
    let rows = [
        row("accept", &judged.accept),
        row("flag", &judged.flag),
        row("reject", &judged.reject),
    ];
    text.extend(lines(&columns, &rows));
    for (rule, count) in &judged.failed {
        text.push(format!("rule \"{rule}\" failed by {count} answers"));
    }
    text
}
