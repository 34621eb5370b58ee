//! How many calls are carried out at once, in all and for one caller.
//!
//! The bus library starts a task for every call. Those beyond these bounds are refused
//! at once, so that no caller can pile them up; nothing here waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hasher_wire::Status;

use crate::core::CallError;

/// Calls at once: as many as there may be sessions, because a search lasts as long as
/// one.
const CALLS_MAX: usize = 64;

/// Calls of one connection to the bus at once: more than a script has, and a quarter of
/// all.
const CALLS_OF_CALLER_MAX: usize = 16;

/// Calls that are being carried out, by the caller's unique name.
type ByCaller = HashMap<String, usize>;

/// See the [module](self). Its mutex is never held across a wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<ByCaller>>);

/// A call that is being carried out, until this is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Calls,
    caller: String,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, ByCaller> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a call.
    ///
    /// # Errors
    /// [`Status::Busy`] says which bound is reached.
    pub(super) fn begin(&self, caller: &str) -> Result<Call, CallError> {
        let busy = |message| Err(CallError::failed(Status::Busy, message));
        let mut by_caller = self.lock();
        if by_caller.get(caller).copied().unwrap_or_default() >= CALLS_OF_CALLER_MAX {
            return busy(format!(
                "hasherd carries out {CALLS_OF_CALLER_MAX} calls of one caller at once"
            ));
        }
        if by_caller.values().sum::<usize>() >= CALLS_MAX {
            return busy(format!("hasherd carries out {CALLS_MAX} calls at once"));
        }
        *by_caller.entry(caller.to_owned()).or_default() += 1;
        Ok(Call {
            calls: self.clone(),
            caller: caller.to_owned(),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut by_caller = self.calls.lock();
        if let Some(calls) = by_caller.get_mut(&self.caller) {
            *calls -= 1;
            if *calls == 0 {
                by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_leaves_room_for_others_and_no_call_leaves_a_trace() {
        let calls = Calls::default();
        let mut greedy: Vec<Call> = std::iter::from_fn(|| calls.begin(":1.1").ok()).collect();
        assert_eq!(greedy.len(), CALLS_OF_CALLER_MAX);
        let error = calls.begin(":1.1").unwrap_err();
        assert_eq!(error.name(), "org.hasher.Hasher1.Error.Busy");
        drop(calls.begin(":1.2").unwrap());
        greedy.pop();
        greedy.push(calls.begin(":1.1").unwrap());
        let others: Vec<Call> = (2..)
            .map_while(|number| calls.begin(&format!(":1.{number}")).ok())
            .collect();
        assert_eq!(greedy.len() + others.len(), CALLS_MAX);
        drop((greedy, others));
        assert!(calls.lock().is_empty());
    }
}
