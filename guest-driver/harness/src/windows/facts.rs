//! What the harness's Windows knows: one driver lives at a time, and its functions have no context.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{IN_CALLBACK, Setup};

#[derive(Default)]
pub(super) struct Facts {
    pub(super) setup: Option<Setup>,
    pub(super) calls: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) events: Vec<(u32, i32, String)>,
    /// Registered callbacks: reason (-1 for the plain one), record, routine.
    pub(super) callbacks: Vec<(i32, usize, usize)>,
    pub(super) allocations: Vec<(usize, usize)>,
    pub(super) bug_check_data: usize,
    pub(super) threads: Vec<std::thread::JoinHandle<()>>,
    pub(super) ticks: u32,
    pub(super) is_waiting: bool,
    pub(super) is_stopped: bool,
}

static FACTS: Mutex<Option<Facts>> = Mutex::new(None);
pub(super) static CHANGED: Condvar = Condvar::new();
pub(super) static IS_CALLBACK: AtomicBool = AtomicBool::new(false);

pub(super) fn facts<T>(act: impl FnOnce(&mut Facts) -> T) -> T {
    let mut facts = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
    act(facts.get_or_insert_default())
}

/// Waits as long as it is so; then `act`.
pub(super) fn after<T>(is_so: impl Fn(&Facts) -> bool, act: impl FnOnce(&mut Facts) -> T) -> T {
    let guard: MutexGuard<'_, _> = FACTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut guard = CHANGED
        .wait_while(guard, |facts| is_so(facts.get_or_insert_default()))
        .unwrap_or_else(PoisonError::into_inner);
    let made = act(guard.get_or_insert_default());
    CHANGED.notify_all();
    made
}

/// Writes the call down; one that may not be made in a callback is a violation.
pub(super) fn called(name: &str) {
    let forbidden = IS_CALLBACK.load(Ordering::SeqCst) && name != IN_CALLBACK;
    facts(|facts| {
        facts.calls.push(name.to_owned());
        if forbidden {
            facts.violations.push(name.to_owned());
        }
    });
}
