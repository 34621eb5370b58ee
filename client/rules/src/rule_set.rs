//! The rule file: classes, how they relate, and rules in order.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::condition::Condition;
use crate::contradiction;
use crate::error::RuleError;
use crate::judge::Decision;

/// Most rules of a file.
pub const RULES_MAX: usize = 256;
/// Most classes of a file, those that no model predicts included.
pub const CLASSES_MAX: usize = 1024;
/// Most relations of classes.
const RELATIONS_MAX: usize = 4096;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, unique in the file.
    pub name: String,
    /// It applies where all of these hold; always if there are none.
    pub when: Vec<Condition>,
    /// All of these must hold then.
    pub require: Vec<Condition>,
    /// What becomes of an answer that fails.
    pub otherwise: Decision,
}

/// Rules that were checked not to contradict one another.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSet {
    /// Names of all classes: those that are predicted, and wider ones.
    pub(crate) classes: Vec<String>,
    /// Pairs (narrow, wide): whatever is the first is the second, too.
    pub(crate) subsumptions: Vec<(String, String)>,
    /// Sets of classes of which nothing is two.
    pub(crate) disjoint: Vec<Vec<String>>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    is: Vec<[String; 2]>,
    #[serde(default)]
    disjoint: Vec<Vec<String>>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    name: String,
    #[serde(default)]
    when: OneOrMore,
    #[serde(default)]
    require: OneOrMore,
    #[serde(default)]
    otherwise: FileDecision,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum FileDecision {
    Flag,
    #[default]
    Reject,
}

impl RuleSet {
    /// Reads a rule file and checks that its rules do not contradict one another.
    ///
    /// ```toml
    /// classes = ["whale", "trout", "mammal", "fish"]
    /// is = [["whale", "mammal"], ["trout", "fish"]]     # subsumption
    /// disjoint = [["mammal", "fish"]]
    ///
    /// [[rule]]
    /// name = "sure"
    /// when = "prediction in {whale}"                    # always, if left out
    /// require = ["confidence >= 0.8", "input.length in [1, 40]"]
    /// otherwise = "flag"                                # or "reject", the default
    /// ```
    ///
    /// # Errors
    /// [`RuleError`] names the line or the rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            RuleError::Syntax {
                line: text.as_bytes()[..at]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1,
                reason: error.message().replace('\n', " "),
            }
        })?;
        let count = |what, got, most| match got > most {
            true => Err(RuleError::TooMany { what, got, most }),
            false => Ok(()),
        };
        count("rules", file.rule.len(), RULES_MAX)?;
        count("classes", file.classes.len(), CLASSES_MAX)?;
        count(
            "relations",
            file.is.len() + file.disjoint.len(),
            RELATIONS_MAX,
        )?;
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(file.rule.len());
        for rule in file.rule {
            if rule.name.is_empty() || !names.insert(rule.name.clone()) {
                return Err(RuleError::Name(rule.name));
            }
            rules.push(Rule {
                when: conditions(&rule.name, rule.when)?,
                require: conditions(&rule.name, rule.require)?,
                name: rule.name,
                otherwise: match rule.otherwise {
                    FileDecision::Flag => Decision::Flag,
                    FileDecision::Reject => Decision::Reject,
                },
            });
        }
        let set = Self {
            classes: file.classes,
            subsumptions: file
                .is
                .into_iter()
                .map(|[narrow, wide]| (narrow, wide))
                .collect(),
            disjoint: file.disjoint,
            rules,
        };
        set.check_classes()?;
        contradiction::check(&set)?;
        Ok(set)
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Names of the classes; empty if the file lists none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn check_classes(&self) -> Result<(), RuleError> {
        let known = |place: String, class: &String| match self.classes.contains(class) {
            true => Ok(()),
            false => Err(RuleError::UnknownClass {
                place,
                class: class.clone(),
            }),
        };
        for (narrow, wide) in &self.subsumptions {
            known("is".to_owned(), narrow)?;
            known("is".to_owned(), wide)?;
        }
        for class in self.disjoint.iter().flatten() {
            known("disjoint".to_owned(), class)?;
        }
        for rule in &self.rules {
            for condition in rule.when.iter().chain(&rule.require) {
                if let Condition::Prediction(_, classes) = condition {
                    for class in classes {
                        known(format!("rule \"{}\"", rule.name), class)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn conditions(rule: &str, texts: OneOrMore) -> Result<Vec<Condition>, RuleError> {
    let texts = match texts {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    };
    texts
        .into_iter()
        .map(|text| {
            Condition::parse(&text).map_err(|reason| RuleError::Condition {
                rule: rule.to_owned(),
                text,
                reason,
            })
        })
        .collect()
}
