//! Rules over a model's answers: each answer is accepted, flagged or rejected, with
//! the rule and the values that decided.
//!
//! ```text
//! rules.toml ──► RuleSet::parse ──► contradictions? (SAT) ──► RuleSet
//!                                                               │ judge
//! Answer: prediction, confidence, …, input values ──────────────┴──► Verdict
//! ```
//!
//! Owns the rule file, its grammar and the check that rules do not contradict one
//! another. Rules are pure functions of an [`Answer`]; nothing here knows a model, a
//! file or a clock. The command line calls it.
//!
//! ```
//! use hasher_rules::{Answer, Decision, RuleSet};
//!
//! let rules = RuleSet::parse(
//!     r#"
//!     classes = ["cat", "dog"]
//!     [[rule]]
//!     name = "sure"
//!     require = "confidence >= 0.8"
//!     "#,
//! )?;
//! let answer = Answer { confidence: 0.6, ..Answer::of("cat") };
//! let verdict = rules.judge(&answer);
//! assert_eq!(verdict.decision, Decision::Reject);
//! assert_eq!(
//!     verdict.reasons[0].to_string(),
//!     "rule \"sure\": confidence >= 0.8, but confidence is 0.6"
//! );
//! # Ok::<(), hasher_rules::RuleError>(())
//! ```

mod condition;
mod contradiction;
mod error;
mod judge;
mod rule_set;

pub use condition::{Comparison, Condition, Quantity};
pub use error::RuleError;
pub use judge::{Answer, Decision, Reason, Verdict};
pub use rule_set::{CLASSES_MAX, RULES_MAX, Rule, RuleSet};
