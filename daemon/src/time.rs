//! Waiting for moments that may not come.

use tokio::time::Instant;

/// Sleeps until `instant`, for ever when there is none.
pub(crate) async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
