//! One answer against all rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::condition::{Condition, Quantity};
use crate::contradiction::conflict_of_facts;
use crate::rule_set::RuleSet;

/// What a model says, and what is known of its input.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Name of the predicted class.
    pub prediction: String,
    /// Mean probability of the prediction.
    pub confidence: f64,
    /// Share of the passes that agree.
    pub agreement: f64,
    /// Confidence less the next class's probability.
    pub margin: f64,
    /// Entropy of the mean probabilities, in bits.
    pub entropy_bits: f64,
    /// Values of the input by name.
    pub inputs: BTreeMap<String, f64>,
    /// Classes that the input is known to belong to.
    pub facts: BTreeSet<String>,
}

impl Answer {
    /// A certain answer, to be changed field by field.
    pub fn of(prediction: &str) -> Self {
        Self {
            prediction: prediction.to_owned(),
            confidence: 1.0,
            agreement: 1.0,
            margin: 1.0,
            entropy_bits: 0.0,
            inputs: BTreeMap::new(),
            facts: BTreeSet::new(),
        }
    }

    /// A number of the answer; nothing for an input value that is not there.
    pub fn value(&self, quantity: &Quantity) -> Option<f64> {
        match quantity {
            Quantity::Confidence => Some(self.confidence),
            Quantity::Agreement => Some(self.agreement),
            Quantity::Margin => Some(self.margin),
            Quantity::Entropy => Some(self.entropy_bits),
            Quantity::Input(name) => self.inputs.get(name).copied(),
        }
    }

    /// Whether a condition holds; one about a value that is not there does not.
    pub fn satisfies(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Number(quantity, comparison) => self
                .value(quantity)
                .is_some_and(|value| comparison.holds(value)),
            Condition::Prediction(is_in, classes) => classes.contains(&self.prediction) == *is_in,
        }
    }
}

/// What becomes of an answer; the worst of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decision {
    /// It may be used.
    Accept,
    /// A person should look at it.
    Flag,
    /// It must not be used.
    Reject,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Flag => "flag",
            Self::Reject => "reject",
        })
    }
}

/// Why an answer was not accepted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A rule's requirement does not hold.
    Rule {
        /// Name of the rule.
        rule: String,
        /// What was required.
        required: String,
        /// What is.
        found: String,
    },
    /// The prediction cannot be true together with what is known of the input.
    Facts {
        /// The relations and facts that exclude one another.
        conflict: Vec<String>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                rule,
                required,
                found,
            } => write!(f, "rule \"{rule}\": {required}, but {found}"),
            Self::Facts { conflict } => {
                write!(f, "classes exclude one another: {}", conflict.join(", "))
            }
        }
    }
}

/// The decision about one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What becomes of it.
    pub decision: Decision,
    /// Every rule that it failed, in order; empty if it is accepted.
    pub reasons: Vec<Reason>,
}

impl RuleSet {
    /// Judges an answer by all rules.
    pub fn judge(&self, answer: &Answer) -> Verdict {
        let mut verdict = Verdict {
            decision: Decision::Accept,
            reasons: Vec::new(),
        };
        if let Some(conflict) = conflict_of_facts(self, &answer.prediction, &answer.facts) {
            verdict.decision = Decision::Reject;
            verdict.reasons.push(Reason::Facts { conflict });
        }
        for rule in &self.rules {
            if !rule
                .when
                .iter()
                .all(|condition| answer.satisfies(condition))
            {
                continue;
            }
            let failed = rule
                .require
                .iter()
                .filter(|required| !answer.satisfies(required));
            for required in failed {
                verdict.decision = verdict.decision.max(rule.otherwise);
                verdict.reasons.push(Reason::Rule {
                    rule: rule.name.clone(),
                    required: required.to_string(),
                    found: found(answer, required),
                });
            }
        }
        verdict
    }
}

fn found(answer: &Answer, condition: &Condition) -> String {
    match condition {
        Condition::Number(quantity, _) => match answer.value(quantity) {
            Some(value) => format!("{quantity} is {value}"),
            None => format!("{quantity} is not known"),
        },
        Condition::Prediction(..) => format!("prediction is {}", answer.prediction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZOO: &str = r#"
        classes = ["whale", "trout", "mammal", "fish", "animal"]
        is = [["whale", "mammal"], ["trout", "fish"], ["mammal", "animal"], ["fish", "animal"]]
        disjoint = [["mammal", "fish"]]
        [[rule]]
        name = "sure"
        require = ["confidence >= 0.8", "margin > 0.1"]
        [[rule]]
        name = "whales are long"
        when = "prediction in {whale}"
        require = "input.length in [2, 40]"
        otherwise = "flag"
    "#;

    fn answer(prediction: &str, facts: &[&str]) -> Answer {
        Answer {
            inputs: [("length".to_owned(), 9.0)].into(),
            facts: facts.iter().map(|fact| (*fact).to_owned()).collect(),
            ..Answer::of(prediction)
        }
    }

    #[test]
    fn every_failed_requirement_is_named_with_its_value_and_the_worst_decides() {
        let rules = RuleSet::parse(ZOO).unwrap();
        assert_eq!(
            rules.judge(&answer("whale", &[])).decision,
            Decision::Accept
        );
        let mut long = answer("whale", &[]);
        long.inputs.insert("length".to_owned(), 99.0);
        let verdict = rules.judge(&long);
        assert_eq!(verdict.decision, Decision::Flag);
        assert_eq!(
            verdict.reasons[0].to_string(),
            "rule \"whales are long\": input.length in [2, 40], but input.length is 99"
        );
        long.confidence = 0.5;
        long.margin = 0.0;
        let verdict = rules.judge(&long);
        assert_eq!(
            (verdict.decision, verdict.reasons.len()),
            (Decision::Reject, 3)
        );
        long.inputs.clear();
        let text = rules.judge(&long).reasons[2].to_string();
        assert!(text.ends_with("input.length is not known"), "{text}");
    }

    #[test]
    fn a_prediction_that_excludes_a_known_fact_is_rejected_with_the_relations() {
        let rules = RuleSet::parse(ZOO).unwrap();
        assert_eq!(
            rules.judge(&answer("whale", &["animal"])).decision,
            Decision::Accept
        );
        let verdict = rules.judge(&answer("whale", &["trout"]));
        assert_eq!(verdict.decision, Decision::Reject);
        let text = verdict.reasons[0].to_string();
        for part in [
            "whale is mammal",
            "trout is fish",
            "mammal and fish are disjoint",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("animal"), "{text}");
    }
}
