//! Which models are compared. Owns the rows; never trains.

use hasher_data::TaskName;
use hasher_model::Kind;
use hasher_train::{Activation, Kinds, Surrogate, TrainConfig, Trainer, Weights};

/// Rows in order.
pub struct Plan {
    pub entries: Vec<Entry>,
}

/// One row.
pub struct Entry {
    pub task: TaskName,
    pub name: String,
    pub config: TrainConfig,
    /// How much a float model of the same sizes and steps, trained first, teaches.
    pub teacher: Option<f32>,
    /// Whether there are moved copies of the images, too.
    pub shifts: bool,
}

/// (better, worse) of the quick plan with 21 passes: differences far above chance.
pub const EXPECTED_ORDER: [(&str, &str); 4] = [
    ("float, GELU", "hb32, frozen control"),
    ("hb32, HashAct", "hb32, frozen control"),
    ("hb32, HashAct", "hb32, HashAct 1 bit"),
    ("kron, HashAct", "hb32, frozen control"),
];

impl Entry {
    /// Task and name, as the table has them side by side.
    pub fn title(&self) -> String {
        format!("{} {}", self.task.name(), self.name)
    }

    /// Whether the row is measured with the exact integer model.
    pub fn is_exact(&self) -> bool {
        self.config.weights == Weights::Seeds && self.config.activation == Activation::Hash
    }

    /// Bytes of everything that was learned.
    pub fn bytes(&self, trainer: &Trainer<'_>) -> usize {
        match trainer.model() {
            Ok(model) => model.weight_bytes(),
            // Float weights: no model file.
            Err(_) => trainer.float_bytes(),
        }
    }

    /// What the row's teacher is trained by.
    pub fn teacher_config(&self) -> TrainConfig {
        float(&self.config)
    }
}

impl Plan {
    /// Less than five minutes on two cores.
    pub fn quick() -> Self {
        let base = steps(&TrainConfig::default(), 250);
        let mut plan = Self::empty();
        plan.add(TaskName::Digits, "float, GELU", float(&base));
        plan.add(TaskName::Digits, "hb32, HashAct", base.clone());
        plan.add(TaskName::Digits, "kron, HashAct", kind(&base, Kind::Kron));
        plan.add(TaskName::Digits, "hb32, HashAct 1 bit", code_bits(&base, 1));
        let frozen = surrogate(&base, Surrogate::Frozen);
        plan.add(TaskName::Digits, "hb32, frozen control", frozen);
        plan
    }

    /// The rows of the specification's section 12 whose kinds of seeds exist.
    pub fn table() -> Self {
        let mut plan = Self::empty();
        plan.add_digits();
        plan.add_text();
        let fashion = TrainConfig {
            steps: 600,
            batch: 64,
            ..kind(&TrainConfig::default(), Kind::Hb16)
        };
        for (task, config) in [
            (TaskName::Image, fashion.clone()),
            (TaskName::Crypto, steps(&fashion, 500)),
        ] {
            plan.add(task, "float, GELU", float(&config));
            plan.add(task, "hb16, HashAct", config.clone());
            plan.add(task, "hb32, HashAct", kind(&config, Kind::Hb32));
        }
        plan.add(TaskName::Image, "bin, HashAct", kind(&fashion, Kind::Bin));
        plan
    }

    fn add_digits(&mut self) {
        let base = steps(&TrainConfig::default(), 500);
        let nearest = activation(&base, Activation::Nearest);
        for (name, config) in [
            ("float, GELU", float(&base)),
            ("float, HashAct", with_float_weights(&base)),
            ("hb32, GELU", activation(&base, Activation::Gelu)),
            ("hb32, HashAct", base.clone()),
            ("hb32, HashAct, 800 steps", steps(&base, 800)),
            ("hb32, HashAct, r = 8", dither_bits(&base, 8)),
            ("hb32, HashAct, r = 1", dither_bits(&base, 1)),
            ("hb32, nearest", nearest.clone()),
            ("hb32, HashAct 2 bit", code_bits(&base, 2)),
            ("hb32, nearest 2 bit", code_bits(&nearest, 2)),
            ("hb32, HashAct 1 bit", code_bits(&base, 1)),
            ("hb16, HashAct", kind(&base, Kind::Hb16)),
            ("kron, HashAct", kind(&base, Kind::Kron)),
            ("bin, HashAct", kind(&base, Kind::Bin)),
            ("tern, HashAct", kind(&base, Kind::Tern)),
            (
                "hb32, straight-through",
                surrogate(&base, Surrogate::StraightThrough),
            ),
            (
                "hb32, logistic noise",
                surrogate(&base, Surrogate::Logistic),
            ),
            ("hb32, frozen control", surrogate(&base, Surrogate::Frozen)),
        ] {
            self.add(TaskName::Digits, name, config);
        }
        let longer = batch(&steps(&base, 1600), 128);
        self.add(TaskName::Digits, "hb32, HashAct, moved copies", longer);
        if let Some(entry) = self.entries.last_mut() {
            entry.shifts = true;
        }
    }

    fn add_text(&mut self) {
        let narrow = text(64, 1000);
        let wide = text(128, 1000);
        let nearest = activation(&narrow, Activation::Nearest);
        // What is of no hash basis learns with larger steps.
        let direct = with(&narrow, |c| c.peak_learning_rate = 3e-3);
        for (name, config) in [
            ("float, GELU, d 64", float(&direct)),
            ("float, HashAct, d 64", with_float_weights(&direct)),
            ("tern, HashAct, d 64", kind(&direct, Kind::Tern)),
            ("hb8, HashAct, d 64", kind(&narrow, Kind::Hb8)),
            ("bin, HashAct, d 64", kind(&direct, Kind::Bin)),
            ("hb16, HashAct, d 64", narrow.clone()),
            ("hb16, nearest, d 64", nearest.clone()),
            ("kron, HashAct, d 64", kind(&direct, Kind::Kron)),
            ("hb32, HashAct, d 64", kind(&narrow, Kind::Hb32)),
            ("hb16, HashAct 2 bit, d 64", code_bits(&narrow, 2)),
            ("hb16, nearest 2 bit, d 64", code_bits(&nearest, 2)),
            ("hb16, HashAct, d 64, 3000 steps", steps(&narrow, 3000)),
            ("hb32, HashAct, d 128", kind(&wide, Kind::Hb32)),
            ("hb16, HashAct, d 128", wide),
        ] {
            self.add(TaskName::Text, name, config);
        }
    }

    /// The specification's open options, one change to the text model each, and what a
    /// budget of their own brings text and images; hours.
    pub fn long() -> Self {
        let mut plan = Self::empty();
        let digits = steps(&TrainConfig::default(), 3000);
        plan.add(TaskName::Digits, "hb32, HashAct, 3000 steps", digits);

        let base = text(128, 1000);
        let mixed = |kinds: &str| TrainConfig {
            kinds: kinds.parse().unwrap_or(base.kinds),
            ..base.clone()
        };
        let slower = with(&base, |c| c.peak_learning_rate = 1.5e-3);
        let large = batch(&base, 128);
        for (name, config) in [
            ("hb32, HashAct, d 192", kind(&text(192, 1000), Kind::Hb32)),
            (
                "hb16 with head and embedding of hb8, d 128",
                mixed("hb16,head=hb8,emb=hb8"),
            ),
            ("hb16 with head of nib, d 128", mixed("hb16,head=nib")),
            ("hb16, HashAct, d 128, rate 0.0015", slower),
            ("float, GELU, d 128, large batch", float(&large)),
            ("hb16, HashAct, d 128, large batch", large),
        ] {
            plan.add(TaskName::Text, name, config);
        }
        plan.add_taught(TaskName::Text, "hb16 taught by float, d 128", base);

        let fashion = |width| TrainConfig {
            steps: 8000,
            batch: 256,
            width,
            hidden: 2 * width,
            ..kind(&TrainConfig::default(), Kind::Hb16)
        };
        for (name, config) in [
            ("hb16, HashAct, d 64, large batch", fashion(64)),
            ("float, GELU, d 80, large batch", float(&fashion(80))),
            ("hb16, HashAct, d 80, large batch", fashion(80)),
        ] {
            plan.add(TaskName::Image, name, config);
        }
        let name = "hb16 taught by float, d 80, large batch";
        plan.add_taught(TaskName::Image, name, fashion(80));
        plan
    }

    fn empty() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    fn add(&mut self, task: TaskName, name: &str, config: TrainConfig) {
        self.entries.push(Entry {
            task,
            name: name.to_owned(),
            config,
            teacher: None,
            shifts: false,
        });
    }

    fn add_taught(&mut self, task: TaskName, name: &str, config: TrainConfig) {
        self.add(task, name, config);
        if let Some(entry) = self.entries.last_mut() {
            entry.teacher = Some(TEACHER_SHARE);
        }
    }
}

/// How much of a target is the teacher's.
const TEACHER_SHARE: f32 = 0.5;

/// The language model of the specification's section 12.2.
fn text(width: u32, steps: u32) -> TrainConfig {
    TrainConfig {
        width,
        hidden: 2 * width,
        vector_rate: 4.0,
        steps,
        ..kind(&TrainConfig::default(), Kind::Hb16)
    }
}

/// A configuration with one change.
fn with(config: &TrainConfig, change: impl FnOnce(&mut TrainConfig)) -> TrainConfig {
    let mut config = config.clone();
    change(&mut config);
    config
}

fn steps(config: &TrainConfig, steps: u32) -> TrainConfig {
    with(config, |c| c.steps = steps)
}

fn batch(config: &TrainConfig, batch: u32) -> TrainConfig {
    with(config, |c| c.batch = batch)
}

fn kind(config: &TrainConfig, kind: Kind) -> TrainConfig {
    with(config, |c| c.kinds = Kinds::all(kind))
}

fn activation(config: &TrainConfig, activation: Activation) -> TrainConfig {
    with(config, |c| c.activation = activation)
}

fn surrogate(config: &TrainConfig, surrogate: Surrogate) -> TrainConfig {
    with(config, |c| c.surrogate = surrogate)
}

fn code_bits(config: &TrainConfig, code_bits: u32) -> TrainConfig {
    with(config, |c| c.code_bits = code_bits)
}

fn dither_bits(config: &TrainConfig, dither_bits: u32) -> TrainConfig {
    with(config, |c| c.dither_bits = dither_bits)
}

fn with_float_weights(config: &TrainConfig) -> TrainConfig {
    with(config, |c| c.weights = Weights::Float)
}

fn float(config: &TrainConfig) -> TrainConfig {
    activation(&with_float_weights(config), Activation::Gelu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_title_of_its_own_and_can_be_trained() {
        let plans = [Plan::quick(), Plan::table(), Plan::long()];
        for plan in plans {
            let mut titles: Vec<_> = plan.entries.iter().map(Entry::title).collect();
            let count = titles.len();
            titles.sort();
            titles.dedup();
            assert_eq!(titles.len(), count);
            for entry in plan.entries {
                assert!(entry.config.check().is_ok(), "{}", entry.title());
                let is_mixed = entry.name.contains(" with head");
                let has_mixed = entry.config.kinds != Kinds::all(Kind::Hb16);
                assert!(!is_mixed || has_mixed, "{}", entry.title());
            }
        }
    }
}
