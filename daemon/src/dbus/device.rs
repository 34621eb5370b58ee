//! One device as an object.

use std::collections::HashMap;
use std::sync::Arc;

use hasher_wire::{DeviceCountersReport, DeviceReport};
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, interface};

use super::Context;
use super::access::Right;
use super::options::{DeviceSettings, wrong};
use crate::core::CallError;
use crate::hub::Inventory;
use crate::orders::{Order, TRIAL_TIME};

/// Properties whose changes are not told, because they change all the time.
pub(super) const SILENT: &[&str] = &["Counters"];

/// See the [module](self). Its properties are the newest report in the inventory.
pub(super) struct Device {
    id: String,
    inventory: watch::Receiver<Inventory>,
    context: Arc<Context>,
}

impl Device {
    pub(super) fn new(id: &str, context: Arc<Context>) -> Self {
        Self {
            id: id.to_owned(),
            inventory: context.hub.watch_inventory(),
            context,
        }
    }

    /// Something of the newest report; the default when the device was just forgotten.
    fn read<T: Default>(&self, property: impl FnOnce(&DeviceReport) -> T) -> T {
        let inventory = self.inventory.borrow();
        inventory.get(&self.id).map(property).unwrap_or_default()
    }

    async fn order(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        right: Right,
        order: Order,
    ) -> Result<(), CallError> {
        let _pass = self.context.enter(connection, header, right).await?;
        self.context.hub.orders().give(&self.id, order).await
    }
}

#[interface(name = "org.hasher.Hasher1.Device", introspection_docs = false)]
impl Device {
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> String {
        self.id.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> String {
        self.read(|report| report.kind.as_str().to_owned())
    }

    #[zbus(property)]
    fn model(&self) -> String {
        self.read(|report| report.model.clone())
    }

    #[zbus(property)]
    fn firmware(&self) -> String {
        self.read(|report| report.firmware.clone())
    }

    #[zbus(property)]
    fn layout(&self) -> String {
        self.read(|report| report.layout.clone())
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.read(|report| report.state.as_str().to_owned())
    }

    #[zbus(property)]
    fn state_reason(&self) -> String {
        self.read(|report| report.reason.clone().unwrap_or_default())
    }

    #[zbus(property)]
    fn remedy(&self) -> String {
        self.read(|report| report.remedy.clone().unwrap_or_default())
    }

    #[zbus(property)]
    fn held_by(&self) -> String {
        self.read(|report| report.held_by.clone().unwrap_or_default())
    }

    #[zbus(property)]
    fn chips_per_chain(&self) -> Vec<u8> {
        self.read(|report| report.chips_per_chain.clone())
    }

    #[zbus(property)]
    fn chains(&self) -> u32 {
        self.read(|report| report.chips_per_chain.len() as u32)
    }

    #[zbus(property)]
    fn chips(&self) -> u32 {
        self.read(|report| report.chips_per_chain.iter().map(|&n| u32::from(n)).sum())
    }

    #[zbus(property)]
    fn frequency_mhz(&self) -> f64 {
        self.read(|report| report.frequency_mhz)
    }

    #[zbus(property)]
    fn filter_zero_bits(&self) -> u32 {
        self.read(|report| report.filter_zero_bits)
    }

    #[zbus(property)]
    fn nominal_hash_rate_hps(&self) -> f64 {
        self.read(|report| report.nominal_hash_rate_hps)
    }

    #[zbus(property)]
    fn hash_rate_hps(&self) -> (f64, f64) {
        let rate = self.read(|report| report.hash_rate_hps);
        (rate.minute, rate.quarter_hour)
    }

    #[zbus(property)]
    fn temperatures_celsius(&self) -> Vec<u8> {
        self.read(|report| report.temperatures_celsius.clone())
    }

    #[zbus(property)]
    fn fans_rpm(&self) -> Vec<u32> {
        self.read(|report| report.fans_rpm.clone())
    }

    #[zbus(property)]
    fn hardware_errors(&self) -> u64 {
        self.read(|report| report.counters.hardware_errors)
    }

    #[zbus(property)]
    fn hits(&self) -> u64 {
        self.read(|report| report.counters.hits)
    }

    #[zbus(property)]
    fn works(&self) -> u64 {
        self.read(|report| report.counters.works)
    }

    #[zbus(property)]
    fn works_in_flight(&self) -> u32 {
        self.read(|report| report.works_in_flight)
    }

    #[zbus(property)]
    fn attachments(&self) -> u32 {
        self.read(|report| report.attachments)
    }

    #[zbus(property)]
    fn slowdown(&self) -> f64 {
        self.read(|report| report.slowdown.unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn counters(&self) -> HashMap<String, u64> {
        let counters = self.read(|report| report.counters);
        named(counters).map(|(name, n)| (name.to_owned(), n)).into()
    }

    async fn pause(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        self.order(connection, &header, Right::Pause, Order::Pause)
            .await
    }

    async fn resume(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        self.order(connection, &header, Right::Pause, Order::Resume)
            .await
    }

    async fn reset(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        self.order(connection, &header, Right::Reset, Order::Reset)
            .await
    }

    #[zbus(out_args("reverts_in_seconds"))]
    async fn configure(
        &self,
        settings: DeviceSettings,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32, CallError> {
        let mhz = settings.frequency_mhz;
        let mhz = mhz.ok_or_else(|| wrong("nothing is set; give frequency-mhz"))?;
        self.order(connection, &header, Right::Configure, Order::Configure(mhz))
            .await?;
        Ok(TRIAL_TIME.as_secs() as u32)
    }

    async fn confirm_configuration(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        self.order(connection, &header, Right::Configure, Order::Confirm)
            .await
    }

    async fn revert_configuration(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), CallError> {
        self.order(connection, &header, Right::Configure, Order::Revert)
            .await
    }
}

/// Every counter with the name that it has in the status document.
fn named(counters: DeviceCountersReport) -> [(&'static str, u64); 10] {
    let DeviceCountersReport {
        works,
        filler_works,
        hits,
        hardware_errors,
        stale,
        duplicates,
        unknown_works,
        lost_works,
        dropped_bytes,
        recoveries,
    } = counters;
    [
        ("works", works),
        ("filler_works", filler_works),
        ("hits", hits),
        ("hardware_errors", hardware_errors),
        ("stale", stale),
        ("duplicates", duplicates),
        ("unknown_works", unknown_works),
        ("lost_works", lost_works),
        ("dropped_bytes", dropped_bytes),
        ("recoveries", recoveries),
    ]
}
