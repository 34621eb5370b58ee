//! What is wrong with a rule file.

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The file is no TOML, or has a key that means nothing.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Line of the file, from 1.
        line: usize,
        /// What the reader says.
        reason: String,
    },
    /// A condition cannot be read.
    #[error("rule \"{rule}\": \"{text}\": {reason}")]
    Condition {
        /// Name of the rule.
        rule: String,
        /// The condition as it is written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is not among the classes.
    #[error("{place} names the class \"{class}\", which is not among the classes")]
    UnknownClass {
        /// The rule, or the list.
        place: String,
        /// The name.
        class: String,
    },
    /// Two rules have one name, or a rule has none.
    #[error("rule name \"{0}\" is empty or used twice")]
    Name(String),
    /// More than the file may hold.
    #[error("{got} {what}, at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there may be.
        most: usize,
    },
    /// The condition of a rule never holds.
    #[error("rule \"{0}\" never applies: its `when` contradicts itself or the classes")]
    NeverApplies(String),
    /// A rule that no answer passes when it applies.
    #[error("rule \"{0}\" contradicts itself: no answer passes it when it applies")]
    SelfContradiction(String),
    /// Rules that no answer passes together.
    #[error("rules contradict each other when rule \"{rule}\" applies: {}", .with.join(", "))]
    Contradiction {
        /// The rule that applies.
        rule: String,
        /// Names of the rules, and relations of classes, that cannot hold together.
        with: Vec<String>,
    },
}
