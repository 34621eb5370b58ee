//! What the desktop app knows and says, without any window or bus.
//!
//! ```text
//!  bus signals          every second            window
//!      │                     │                    ▲
//!      ▼                     ▼                    │
//!   Mirror ──► Device ──► History ──► Chart ──────┤ curves, axes
//!      │         └──────► DeviceView ─────────────┤ words, facts, buttons
//!      ├──► Session ────► SessionView ────────────┤
//!      └──► screen() ───► Screen, Advice ─────────┤ what to do when there is nothing
//!   Picture + Model ────► classify() ──► Answer ──┘ who computed what
//! ```
//!
//! Everything here takes values and returns values; only [`classify`] waits, on
//! the socket that the daemon handed out. So all of it is tested without GTK,
//! and this crate builds without any C library.

mod anchors;
mod call_error;
mod chart;
mod classify;
mod device;
mod device_view;
mod file;
mod history;
mod manager;
mod mirror;
mod picture;
mod screen;
mod session;
mod text;
mod value;

pub use call_error::CallError;
pub use chart::{Chart, Curve, Tick};
pub use classify::{Answer, ClassifyError, Effort, GivenUp, Plan, Progress, Waiting, classify};
pub use device::Device;
pub use device_view::{Action, DeviceView, Fact, Notice, Tone};
pub use file::{FileError, LoadedModel, OpenedFile};
pub use hasher_client::{DeviceKind, DeviceState};
pub use history::{History, SPAN, Sample};
pub use manager::Manager;
pub use mirror::{Interfaces, Mirror, ROOT};
pub use picture::{Picture, PictureError, WIDTH as PICTURE_WIDTH};
pub use screen::{Advice, Bus, Command, Connection, Screen, screen};
pub use session::{Session, SessionView};
pub use value::{Properties, Value};
