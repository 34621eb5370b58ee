//! `hasher search`: nonces of a header, found by whatever the daemon drives.

use std::time::Duration;

use clap::Args;
use hasher_client::ComputedBy;
use hasher_work::{
    Header, Hit, NonceRange, SearchEnd, SearchJob, SearchMode, SearchResult, Target,
};
use serde::Serialize;

use super::Context;
use crate::computed_by::{Computer, who};
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::parse;
use crate::style::Style;
use crate::table::{grouped, hashes_in_words};

/// Search nonces of an 80-byte header
///
/// Asks the daemon for nonces with which the header's double SHA-256 meets a
/// target. A device on a timer cannot promise to have tried every nonce, so the
/// answer says how the search ended and which part of it is certain. Every nonce
/// printed was verified.
///
/// Ends like grep: exit code 0 when a nonce was found, 1 when none was.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  The nonce of Bitcoin's first block, on a daemon with `--device cpu`:
    HEADER=$(printf %s \\
      0100000000000000000000000000000000000000000000000000000000000000 \\
      000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa \\
      4b1e5e4a29ab5f49ffff001d00000000)
    hasher search --nonce-range 0x7c2b0000..0x7c2bffff --header $HEADER

  Three nonces with 14 leading zero bits, rolling the time field if need be:
    hasher search --zero-bits 14 --count 3 --rolls 16 --header $HEADER")]
pub struct SearchArgs {
    /// The header, 160 hexadecimal digits; its nonce is ignored
    #[arg(long, value_name = "HEX160")]
    header: String,
    /// Nonces that count, both ends included, decimal or 0x [default: all]
    #[arg(long, value_name = "A..B", value_parser = parse::nonce_range)]
    nonce_range: Option<NonceRange>,
    /// Leading zero bits wanted, 0 to 256 [default: the header's own target]
    #[arg(long, value_name = "N", conflicts_with = "nbits",
        value_parser = clap::value_parser!(u32).range(0..=256))]
    zero_bits: Option<u32>,
    /// Compact target wanted, 8 hexadecimal digits such as 1d00ffff
    #[arg(long, value_name = "HEX", value_parser = parse::compact_target)]
    nbits: Option<u32>,
    /// Stop after so many hits, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "exhaust",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(SearchJob::MAX_HITS)))]
    count: u16,
    /// Go through everything and print every hit
    #[arg(long)]
    exhaust: bool,
    /// Further time fields to try, each one second later
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=i64::from(SearchJob::MAX_ROLLS)))]
    rolls: u16,
    /// Give up after this time, such as 500ms, 30s, 5m [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    deadline: Option<Duration>,
}

/// The JSON answer.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    header: String,
    nonce_first: u32,
    nonce_last: u32,
    target: String,
    hits: Vec<HitReport>,
    end: &'static str,
    certain_nonces: u64,
    works: u32,
    computed_by: Vec<Computer>,
}

#[derive(Serialize)]
struct HitReport {
    nonce: u32,
    nonce_hex: String,
    time: u32,
    digest: String,
    zero_bits: u32,
    header: String,
}

/// Sends the job and prints its answer.
///
/// # Errors
/// A header or target that is none, no daemon, no device, a missed deadline.
pub fn run(args: &SearchArgs, context: &Context) -> Result<Exit, CliError> {
    let job = job(args)?;
    let client = daemon::connect(context.socket.as_deref(), args.deadline)?;
    let answer = client.search(job)?;
    let report = report(&job, &answer.result, &answer.by);
    context.output.report(&report)?;
    for line in text(&report, &answer.result, &answer.by, context.output.style) {
        context.output.line(line)?;
    }
    Ok(if answer.result.hits.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn job(args: &SearchArgs) -> Result<SearchJob, CliError> {
    let header: Header = args.header.parse().map_err(|error| {
        CliError::usage(format!("cannot read --header: {error}"))
            .hint("a header is 80 bytes: give 160 hexadecimal digits")
    })?;
    let wrong_target = |error| CliError::usage(format!("cannot use the target: {error}"));
    let target = match (args.zero_bits, args.nbits) {
        (Some(bits), _) => Target::from_zero_bits(bits).map_err(wrong_target)?,
        (None, Some(nbits)) => Target::from_compact(nbits).map_err(wrong_target)?,
        (None, None) => Target::from_compact(own_nbits(&header)).map_err(|error| {
            CliError::usage(format!("cannot use the header's own target: {error}"))
                .hint("say what to look for with --zero-bits or --nbits")
        })?,
    };
    let job = SearchJob {
        header,
        range: args.nonce_range.unwrap_or(NonceRange::WHOLE),
        target,
        mode: if args.exhaust {
            SearchMode::Exhaust
        } else {
            SearchMode::FirstFound(args.count)
        },
        rolls: args.rolls,
    };
    job.check()
        .map_err(|error| CliError::usage(error.to_string()))?;
    Ok(job)
}

/// The nbits field, header bytes 72 to 75.
fn own_nbits(header: &Header) -> u32 {
    let bytes = &header.0[72..76];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn report(job: &SearchJob, result: &SearchResult, computed_by: &[ComputedBy]) -> Report {
    let hit = |hit: &Hit| HitReport {
        nonce: hit.nonce.0,
        nonce_hex: hit.nonce.to_string(),
        time: hit.time,
        digest: hit.digest.display_order(),
        zero_bits: hit.digest.leading_zero_bits(),
        header: job
            .header
            .with_time(hit.time)
            .with_nonce(hit.nonce)
            .to_string(),
    };
    Report {
        schema: "hasher.search/1",
        header: job.header.to_string(),
        nonce_first: job.range.first().0,
        nonce_last: job.range.last().0,
        target: job.target.to_string(),
        hits: result.hits.iter().map(hit).collect(),
        end: match result.end {
            SearchEnd::Found => "found",
            SearchEnd::Exhausted => "exhausted",
            SearchEnd::TimerEnded => "timer-ended",
            SearchEnd::HitLimit => "hit-limit",
            _ => "other",
        },
        certain_nonces: result.certain_nonces,
        works: result.works,
        computed_by: computed_by.iter().map(Computer::from).collect(),
    }
}

fn text(
    report: &Report,
    result: &SearchResult,
    computed_by: &[ComputedBy],
    style: Style,
) -> Vec<String> {
    let mut text = Vec::new();
    for hit in &report.hits {
        text.push(format!(
            "nonce    {}  ({}), time {}",
            style.bold(&hit.nonce_hex),
            hit.nonce,
            hit.time
        ));
        text.push(format!("digest   {}", hit.digest));
        text.push(format!(
            "         {} leading zero bits, worth {} on average",
            hit.zero_bits,
            hashes_in_words(2f64.powi(hit.zero_bits as i32))
        ));
    }
    if report.hits.is_empty() {
        text.push(style.bold("no nonce found"));
        if result.end == SearchEnd::TimerEnded {
            text.push(
                "         a device tries each header for one short period and often finds\n         \
                 nothing: offer it more of them with --rolls, or ask for fewer zero bits"
                    .to_owned(),
            );
        }
    }
    text.push(format!(
        "ended    {}",
        match result.end {
            SearchEnd::Found => "all hits asked for were found",
            SearchEnd::Exhausted => "everything asked for was tried",
            SearchEnd::TimerEnded => "the device's timer ended every work",
            SearchEnd::HitLimit => "the limit of 256 hits was reached",
            _ => "for a reason this version does not know",
        }
    ));
    text.push(format!(
        "certain  {}",
        match report.certain_nonces {
            0 => "nothing: nobody knows which nonces the device tried".to_owned(),
            n => format!(
                "{} nonces from {} on were tried without a gap",
                grouped(n),
                hasher_work::Nonce(report.nonce_first)
            ),
        }
    ));
    text.push(format!(
        "by       {}, {} {}",
        who(computed_by),
        grouped(u64::from(report.works)),
        if report.works == 1 { "work" } else { "works" }
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000\
        000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa\
        4b1e5e4a29ab5f49ffff001d1dac2b7c";

    fn args(header: &str) -> SearchArgs {
        SearchArgs {
            header: header.to_owned(),
            nonce_range: None,
            zero_bits: None,
            nbits: None,
            count: 1,
            exhaust: false,
            rolls: 0,
            deadline: None,
        }
    }

    #[test]
    fn without_a_target_the_headers_own_counts() {
        let job = job(&args(GENESIS)).unwrap();
        assert_eq!(job.target, Target::from_compact(0x1d00_ffff).unwrap());
        assert_eq!(job.range, NonceRange::WHOLE);
    }

    #[test]
    fn a_header_without_a_target_needs_one_from_the_user() {
        let error = job(&args(&"00".repeat(80))).unwrap_err();
        assert!(error.hint.unwrap().contains("--zero-bits"));
    }

    #[test]
    fn a_header_of_wrong_length_is_wrong_usage() {
        let error = job(&args(&GENESIS[2..])).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains("must be 80 bytes long, got 79"));
        assert!(error.hint.unwrap().contains("160 hexadecimal digits"));
    }

    #[test]
    fn a_device_on_a_timer_is_certain_of_nothing() {
        let job = job(&args(GENESIS)).unwrap();
        let result = SearchResult {
            hits: Vec::new(),
            end: SearchEnd::TimerEnded,
            certain_nonces: 0,
            works: 3,
        };
        let report = report(&job, &result, &[]);
        let text = text(&report, &result, &[], Style::plain(true)).join("\n");
        assert!(text.contains("no nonce found"), "{text}");
        assert!(text.contains("certain  nothing"), "{text}");
        assert_eq!(report.end, "timer-ended");
    }
}
