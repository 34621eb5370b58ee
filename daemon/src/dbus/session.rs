//! One client of the daemon as an object.

use std::collections::HashMap;
use std::sync::Arc;

use hasher_wire::SessionReport;
use zbus::interface;

use super::Context;
use crate::core::SessionId;

/// Properties whose changes are not told, because they change all the time.
pub(super) const SILENT: &[&str] = &["Counters"];

/// See the [module](self). Its properties are the hub's newest report.
pub(super) struct Session {
    id: SessionId,
    context: Arc<Context>,
}

impl Session {
    pub(super) fn new(id: SessionId, context: Arc<Context>) -> Self {
        Self { id, context }
    }

    /// The newest report; empty when the session has just ended.
    fn report(&self) -> SessionReport {
        let report = self.context.hub.session_report(self.id);
        report.unwrap_or_default()
    }
}

#[interface(name = "org.hasher.Hasher1.Session", introspection_docs = false)]
impl Session {
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> u64 {
        self.id.0
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.report().name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn uid(&self) -> u32 {
        self.report().uid.unwrap_or(u32::MAX)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn pid(&self) -> i32 {
        self.report().pid.unwrap_or(-1)
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn protocol(&self) -> String {
        self.report().protocol
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn credits(&self) -> u16 {
        self.report().credits
    }

    #[zbus(property)]
    fn credits_free(&self) -> u16 {
        self.report().credits_free
    }

    #[zbus(property)]
    fn jobs_live(&self) -> u32 {
        self.report().jobs_live
    }

    #[zbus(property)]
    fn share(&self) -> f64 {
        self.report().share
    }

    #[zbus(property)]
    fn works(&self) -> u64 {
        self.report().works
    }

    #[zbus(property)]
    fn digests(&self) -> u64 {
        self.report().digests
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn counters(&self) -> HashMap<String, u64> {
        let report = self.report();
        [
            ("jobs_accepted", report.jobs_accepted),
            ("jobs_done", report.jobs_done),
            ("jobs_failed", report.jobs_failed),
            ("refused", report.refused),
        ]
        .map(|(name, n)| (name.to_owned(), n))
        .into()
    }
}
