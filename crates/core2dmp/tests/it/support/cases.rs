//! A guest that was opened and identified, and its plan.

use core2dmp::container;
use core2dmp::dump::{self, Plan, PlanOptions};
use core2dmp::windows::{self, ContextPolicy, IdentifyOptions, Windows};
use core2dmp_synth::{Guest, GuestSpec};

use super::open::{file_of, open};

/// A guest, and what the library makes of it.
pub(crate) struct Case {
    pub(crate) guest: Guest,
    pub(crate) opened: container::Guest,
    pub(crate) windows: Windows,
}

impl Case {
    pub(crate) fn new(spec: GuestSpec) -> Self {
        Self::of(spec.build())
    }

    /// Of a guest that a test has broken.
    pub(crate) fn of(guest: Guest) -> Self {
        Self::with(guest, &IdentifyOptions::default())
    }

    pub(crate) fn with(guest: Guest, options: &IdentifyOptions) -> Self {
        let file = file_of(&guest.xen_core());
        let opened = open(file).unwrap();
        let windows = windows::identify_with(&opened, options).unwrap();
        Self {
            guest,
            opened,
            windows,
        }
    }

    pub(crate) fn plan(&self, contexts: ContextPolicy) -> Plan {
        let options = PlanOptions::default().contexts(contexts);
        dump::plan(&self.opened, &self.windows, &options).unwrap()
    }
}
