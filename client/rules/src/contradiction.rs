//! Rules as a satisfiability problem.
//!
//! Variables: each class, and for each number and each threshold that occurs "the
//! number is below it" and "at most it". Clauses: thresholds are ordered, numbers stay
//! within their bounds, exactly one class is predicted and the input belongs to it,
//! subsumptions and disjoint sets. Each rule and each relation has a
//! selector that is assumed, so that the solver's core names what contradicts.

use std::collections::{BTreeMap, BTreeSet};

use batsat::{BasicSolver, Lit, SolverInterface, Var, lbool};

use crate::condition::{Comparison, Condition, Quantity};
use crate::error::RuleError;
use crate::rule_set::{Rule, RuleSet};

/// A bound of a number: (value, is it included). `below` variables stand for "less
/// than", or "at most" where it is included.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    is_included: bool,
}

/// The solver with what its variables mean.
struct Problem {
    solver: BasicSolver,
    /// "The input belongs to this class."
    classes: BTreeMap<String, Var>,
    /// "This class is predicted."
    predicted: BTreeMap<String, Var>,
    /// Bounds of each number in rising order with their variables.
    bounds: BTreeMap<Quantity, Vec<(Bound, Var)>>,
    /// Selectors of rules and relations with their names.
    selectors: Vec<(Lit, String)>,
}

/// Whether every rule can be passed when it applies, together with all others.
pub(crate) fn check(set: &RuleSet) -> Result<(), RuleError> {
    let mut problem = Problem::new(set);
    let relations: Vec<Lit> = problem.relations(set);
    let rules: Vec<Lit> = set.rules.iter().map(|rule| problem.rule(rule)).collect();
    let all: Vec<Lit> = relations.iter().chain(&rules).copied().collect();
    for (rule, selector) in set.rules.iter().zip(&rules) {
        let applies: Vec<Lit> = rule.when.iter().map(|c| problem.literal(c)).collect();
        let with = |lits: &[Lit]| [lits, &applies[..]].concat();
        if problem.conflict(&with(&relations)).is_some() {
            return Err(RuleError::NeverApplies(rule.name.clone()));
        }
        let alone = [&relations[..], &[*selector]].concat();
        if problem.conflict(&with(&alone)).is_some() {
            return Err(RuleError::SelfContradiction(rule.name.clone()));
        }
        if let Some(with) = problem.conflict(&with(&all)) {
            return Err(RuleError::Contradiction {
                rule: rule.name.clone(),
                with,
            });
        }
    }
    Ok(())
}

/// The relations and facts with which a prediction cannot be true, if so.
pub(crate) fn conflict_of_facts(
    set: &RuleSet,
    prediction: &str,
    facts: &BTreeSet<String>,
) -> Option<Vec<String>> {
    if facts.is_empty() {
        return None;
    }
    let mut problem = Problem::new(set);
    let mut assumed = problem.relations(set);
    for class in facts.iter().map(String::as_str).chain([prediction]) {
        let lit = Lit::new(problem.class(class), true);
        problem.selectors.push((lit, class.to_owned()));
        assumed.push(lit);
    }
    problem.conflict(&assumed)
}

impl Problem {
    fn new(set: &RuleSet) -> Self {
        let mut problem = Self {
            solver: BasicSolver::default(),
            classes: BTreeMap::new(),
            predicted: BTreeMap::new(),
            bounds: BTreeMap::new(),
            selectors: Vec::new(),
        };
        problem.declare_classes(set);
        problem.declare_bounds(set);
        problem
    }

    fn class(&mut self, name: &str) -> Var {
        if let Some(var) = self.classes.get(name) {
            return *var;
        }
        let var = self.solver.new_var_default();
        self.classes.insert(name.to_owned(), var);
        var
    }

    fn add(&mut self, clause: &[Lit]) {
        self.solver.add_clause_reuse(&mut clause.to_vec());
    }

    fn selector(&mut self, name: String) -> Lit {
        let lit = Lit::new(self.solver.new_var_default(), true);
        self.selectors.push((lit, name));
        lit
    }

    /// Subsumptions, disjoint sets, and that one narrow class is predicted.
    fn relations(&mut self, set: &RuleSet) -> Vec<Lit> {
        let mut selectors = Vec::new();
        for (narrow, wide) in &set.subsumptions {
            let selector = self.selector(format!("{narrow} is {wide}"));
            let (narrow, wide) = (self.class(narrow), self.class(wide));
            self.add(&[!selector, Lit::new(narrow, false), Lit::new(wide, true)]);
            selectors.push(selector);
        }
        for classes in &set.disjoint {
            let selector = self.selector(format!("{} are disjoint", classes.join(" and ")));
            let vars: Vec<Var> = classes.iter().map(|class| self.class(class)).collect();
            for (at, first) in vars.iter().enumerate() {
                for second in &vars[at + 1..] {
                    self.add(&[!selector, Lit::new(*first, false), Lit::new(*second, false)]);
                }
            }
            selectors.push(selector);
        }
        selectors
    }

    /// Exactly one class is predicted, whatever else the input belongs to.
    fn declare_classes(&mut self, set: &RuleSet) {
        for name in &set.classes {
            let (class, predicted) = (self.class(name), self.solver.new_var_default());
            self.add(&[Lit::new(predicted, false), Lit::new(class, true)]);
            self.predicted.insert(name.clone(), predicted);
        }
        let all: Vec<Lit> = self
            .predicted
            .values()
            .map(|var| Lit::new(*var, true))
            .collect();
        if all.is_empty() {
            return;
        }
        self.add(&all);
        for (at, first) in all.iter().enumerate() {
            for second in &all[at + 1..] {
                self.add(&[!*first, !*second]);
            }
        }
    }

    /// A rule: where all of its `when` hold, each requirement does.
    fn rule(&mut self, rule: &Rule) -> Lit {
        let selector = self.selector(format!("\"{}\"", rule.name));
        let applies: Vec<Lit> = rule.when.iter().map(|c| !self.literal(c)).collect();
        for required in &rule.require {
            let required = self.literal(required);
            self.add(&[&[!selector, required][..], &applies[..]].concat());
        }
        selector
    }

    /// Variables for all bounds of all numbers, ordered, and within what is possible.
    fn declare_bounds(&mut self, set: &RuleSet) {
        let conditions = set
            .rules
            .iter()
            .flat_map(|rule| rule.when.iter().chain(&rule.require));
        let mut bounds: BTreeMap<Quantity, Vec<Bound>> = BTreeMap::new();
        for condition in conditions {
            if let Condition::Number(quantity, comparison) = condition {
                let all = bounds.entry(quantity.clone()).or_default();
                all.extend(bounds_of(*comparison));
            }
        }
        for (quantity, mut all) in bounds {
            // "Below 3" is narrower than "at most 3".
            all.sort_by(|a, b| {
                a.value
                    .total_cmp(&b.value)
                    .then(a.is_included.cmp(&b.is_included))
            });
            all.dedup();
            let (least, most) = quantity.bounds();
            let vars: Vec<(Bound, Var)> = all
                .into_iter()
                .map(|bound| (bound, self.solver.new_var_default()))
                .collect();
            for pair in vars.windows(2) {
                let (narrow, wide) = (pair[0].1, pair[1].1);
                self.add(&[Lit::new(narrow, false), Lit::new(wide, true)]);
            }
            for (bound, var) in &vars {
                let is_never = bound.value < least || bound.value == least && !bound.is_included;
                let is_always = bound.value > most || bound.value == most && bound.is_included;
                if is_never {
                    self.add(&[Lit::new(*var, false)]);
                } else if is_always {
                    self.add(&[Lit::new(*var, true)]);
                }
            }
            self.bounds.insert(quantity, vars);
        }
    }

    /// "The number is below (or at most) this bound".
    fn below(&self, quantity: &Quantity, bound: Bound) -> Lit {
        let all = self.bounds.get(quantity).map_or(&[][..], Vec::as_slice);
        let found = all.iter().find(|(known, _)| *known == bound);
        Lit::new(found.expect("every bound was declared").1, true)
    }

    /// A literal that is true exactly where the condition holds.
    fn literal(&mut self, condition: &Condition) -> Lit {
        match condition {
            Condition::Number(quantity, comparison) => {
                let below = |value, is_included| self.below(quantity, Bound { value, is_included });
                match *comparison {
                    Comparison::AtMost(value) => below(value, true),
                    Comparison::Below(value) => below(value, false),
                    Comparison::AtLeast(value) => !below(value, false),
                    Comparison::Above(value) => !below(value, true),
                    Comparison::Within(least, most) => {
                        let (low, high) = (!below(least, false), below(most, true));
                        self.both(low, high)
                    }
                }
            }
            Condition::Prediction(is_in, classes) => {
                let any = self.predicts(classes);
                if *is_in { any } else { !any }
            }
        }
    }

    /// A literal that is true exactly where two others are.
    fn both(&mut self, a: Lit, b: Lit) -> Lit {
        let both = Lit::new(self.solver.new_var_default(), true);
        self.add(&[!both, a]);
        self.add(&[!both, b]);
        self.add(&[both, !a, !b]);
        both
    }

    /// A literal that is true exactly where one of the classes is predicted.
    fn predicts(&mut self, classes: &[String]) -> Lit {
        let known = classes.iter().filter_map(|class| self.predicted.get(class));
        let own: Vec<Lit> = known.map(|var| Lit::new(*var, true)).collect();
        let any = Lit::new(self.solver.new_var_default(), true);
        for lit in &own {
            self.add(&[any, !*lit]);
        }
        self.add(&[&[!any][..], &own[..]].concat());
        any
    }

    /// Names of selectors that cannot be true together with the rest, if so.
    fn conflict(&mut self, assumed: &[Lit]) -> Option<Vec<String>> {
        if self.solver.solve_limited(assumed) != lbool::FALSE {
            return None;
        }
        let core: BTreeSet<Var> = self
            .solver
            .unsat_core()
            .iter()
            .map(|lit| lit.var())
            .collect();
        let named = self
            .selectors
            .iter()
            .filter(|(lit, _)| core.contains(&lit.var()));
        Some(named.map(|(_, name)| name.clone()).collect())
    }
}

fn bounds_of(comparison: Comparison) -> Vec<Bound> {
    let bound = |value, is_included| Bound { value, is_included };
    match comparison {
        Comparison::AtMost(value) | Comparison::Above(value) => vec![bound(value, true)],
        Comparison::Below(value) | Comparison::AtLeast(value) => vec![bound(value, false)],
        Comparison::Within(least, most) => vec![bound(least, false), bound(most, true)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let classes = "classes = [\"a\", \"b\", \"c\", \"ab\"]\nis = [[\"a\", \"ab\"]]\n";
        RuleSet::parse(&format!("{classes}{text}"))
            .map(|_| "fine".to_owned())
            .unwrap_or_else(|error| error.to_string())
    }

    fn rule(name: &str, rest: &str) -> String {
        format!("[[rule]]\nname = \"{name}\"\n{rest}\n")
    }

    #[test]
    fn rules_that_no_answer_passes_together_are_named() {
        let high = rule(
            "high",
            "when = 'prediction in {a, b}'\nrequire = 'confidence >= 0.9'",
        );
        let low = rule(
            "low",
            "when = 'prediction in {b, c}'\nrequire = 'confidence < 0.5'",
        );
        // Class b can satisfy neither, but a and c can: rules may differ by class.
        assert_eq!(error(&format!("{high}{low}")), "fine");
        let low = rule(
            "low",
            "when = 'prediction in {a, b}'\nrequire = 'confidence < 0.5'",
        );
        let text = error(&format!("{high}{low}"));
        assert_eq!(
            text,
            "rules contradict each other when rule \"high\" applies: \"high\", \"low\""
        );
    }

    #[test]
    fn the_ends_of_ranges_are_exact() {
        let both = |first: &str, second: &str| {
            let (first, second) = (
                format!("require = '{first}'"),
                format!("require = '{second}'"),
            );
            error(&(rule("x", &first) + &rule("y", &second)))
        };
        assert_eq!(both("margin >= 0.5", "margin <= 0.5"), "fine");
        assert!(both("margin > 0.5", "margin <= 0.5").contains("contradict"));
        assert!(both("margin >= 0.5", "margin < 0.5").contains("contradict"));
        assert!(both("input.x in [1, 2]", "input.x in [3, 4]").contains("contradict"));
        assert_eq!(both("input.x in [1, 3]", "input.x in [3, 4]"), "fine");
        assert_eq!(both("input.x in [1, 2]", "input.y in [3, 4]"), "fine");
    }

    #[test]
    fn a_rule_that_never_applies_or_contradicts_itself_is_named() {
        let text = error(&rule("x", "require = 'confidence > 1'"));
        assert!(text.starts_with("rule \"x\" contradicts itself"), "{text}");
        let text = error(&rule("x", "when = 'entropy < 0'\nrequire = 'margin > 0'"));
        assert!(text.starts_with("rule \"x\" never applies"), "{text}");
        let when = "when = ['prediction in {a}', 'prediction not in {a, b}']";
        assert!(error(&rule("x", when)).contains("never applies"));
        let when = "when = 'prediction in {a}'\nrequire = 'prediction in {b}'";
        assert!(error(&rule("x", when)).contains("contradicts itself"));
    }

    #[test]
    fn disjoint_classes_make_rules_contradict() {
        let rules = rule("x", "when = 'prediction in {a}'");
        assert_eq!(error(&rules), "fine");
        let text = error(&format!("disjoint = [[\"a\", \"ab\"]]\n{rules}"));
        assert!(text.contains("never applies"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_named_by_line_or_rule() {
        assert!(error("[[rule]]\nname = \"x\"\nwhen = 3\n").starts_with("line "));
        assert!(error("[[rule]]\nname = \"x\"\nif = \"y\"\n").contains("unknown field"));
        assert!(error(&rule("x", "require = 'sure >= 1'")).contains("rule \"x\": \"sure >= 1\""));
        assert!(error(&rule("x", "when = 'prediction in {z}'")).contains("class \"z\""));
        assert!(error(&(rule("x", "") + &rule("x", ""))).contains("used twice"));
    }
}
