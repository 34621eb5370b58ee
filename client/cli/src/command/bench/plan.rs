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
    pub name: &'static str,
    pub config: TrainConfig,
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
}

impl Plan {
    /// Less than five minutes on two cores.
    pub fn quick() -> Self {
        let base = TrainConfig {
            steps: 250,
            ..TrainConfig::default()
        };
        let one_bit = TrainConfig {
            code_bits: 1,
            ..base.clone()
        };
        let frozen = TrainConfig {
            surrogate: Surrogate::Frozen,
            ..base.clone()
        };
        Self {
            entries: vec![
                digits("float, GELU", float(&base)),
                digits("hb32, HashAct", base.clone()),
                digits("kron, HashAct", of_kind(&base, Kind::Kron)),
                digits("hb32, HashAct 1 bit", one_bit),
                digits("hb32, frozen control", frozen),
            ],
        }
    }

    /// The rows of the reference's tables that short training reaches.
    pub fn table() -> Self {
        let base = TrainConfig {
            steps: 500,
            ..TrainConfig::default()
        };
        let mut entries = vec![
            digits("float, GELU", float(&base)),
            digits(
                "float, HashAct",
                TrainConfig {
                    weights: Weights::Float,
                    ..base.clone()
                },
            ),
            digits(
                "hb32, GELU",
                TrainConfig {
                    activation: Activation::Gelu,
                    ..base.clone()
                },
            ),
            digits("hb32, HashAct", base.clone()),
            digits("hb32, HashAct, 800 steps", TrainConfig::default()),
            digits(
                "hb32, HashAct, r = 1",
                TrainConfig {
                    dither_bits: 1,
                    ..base.clone()
                },
            ),
            digits(
                "hb32, nearest",
                TrainConfig {
                    activation: Activation::Nearest,
                    ..base.clone()
                },
            ),
            digits(
                "hb32, HashAct 2 bit",
                TrainConfig {
                    code_bits: 2,
                    ..base.clone()
                },
            ),
            digits(
                "hb32, HashAct 1 bit",
                TrainConfig {
                    code_bits: 1,
                    ..base.clone()
                },
            ),
            digits("hb16, HashAct", of_kind(&base, Kind::Hb16)),
            digits("kron, HashAct", of_kind(&base, Kind::Kron)),
            digits("bin, HashAct", of_kind(&base, Kind::Bin)),
            digits("tern, HashAct", of_kind(&base, Kind::Tern)),
        ];
        for (name, surrogate) in [
            ("hb32, straight-through", Surrogate::StraightThrough),
            ("hb32, logistic noise", Surrogate::Logistic),
            ("hb32, frozen control", Surrogate::Frozen),
        ] {
            let config = TrainConfig {
                surrogate,
                ..base.clone()
            };
            entries.push(digits(name, config));
        }
        let text = TrainConfig {
            steps: 1000,
            peak_learning_rate: 3e-3,
            kinds: Kinds::all(Kind::Hb16),
            ..TrainConfig::default()
        };
        entries.push(entry(TaskName::Text, "float, GELU, d 64", float(&text)));
        entries.push(entry(TaskName::Text, "hb16, HashAct, d 64", text));
        Self { entries }
    }

    /// Wider and longer.
    pub fn long() -> Self {
        let mut plan = Self::table();
        let digits_long = TrainConfig {
            steps: 3000,
            ..TrainConfig::default()
        };
        plan.entries
            .push(digits("hb32, HashAct, 3000 steps", digits_long));
        let text = TrainConfig {
            width: 128,
            hidden: 256,
            peak_learning_rate: 3e-3,
            steps: 1000,
            ..TrainConfig::default()
        };
        let wide = |kind, steps| TrainConfig {
            steps,
            ..of_kind(&text, kind)
        };
        for (name, config) in [
            ("float, GELU, d 128", float(&text)),
            ("hb32, HashAct, d 128", wide(Kind::Hb32, 1000)),
            ("hb16, HashAct, d 128", wide(Kind::Hb16, 1000)),
            ("hb16, HashAct, d 128, 6000 steps", wide(Kind::Hb16, 6000)),
        ] {
            plan.entries.push(entry(TaskName::Text, name, config));
        }
        let fashion = TrainConfig {
            steps: 600,
            batch: 64,
            kinds: Kinds::all(Kind::Hb16),
            ..TrainConfig::default()
        };
        let longer = TrainConfig {
            steps: 9000,
            ..fashion.clone()
        };
        for (name, config) in [
            ("float, GELU", float(&fashion)),
            ("hb16, HashAct", fashion.clone()),
            ("hb32, HashAct", of_kind(&fashion, Kind::Hb32)),
            ("hb16, HashAct, 9000 steps", longer),
        ] {
            plan.entries.push(entry(TaskName::Image, name, config));
        }
        plan
    }
}

fn entry(task: TaskName, name: &'static str, config: TrainConfig) -> Entry {
    Entry { task, name, config }
}

fn digits(name: &'static str, config: TrainConfig) -> Entry {
    entry(TaskName::Digits, name, config)
}

fn float(config: &TrainConfig) -> TrainConfig {
    TrainConfig {
        weights: Weights::Float,
        activation: Activation::Gelu,
        ..config.clone()
    }
}

fn of_kind(config: &TrainConfig, kind: Kind) -> TrainConfig {
    TrainConfig {
        kinds: Kinds::all(kind),
        ..config.clone()
    }
}
