//! `CrashState`: where the processors were and what went wrong, computed once for a dump.

use super::{Exception, Scene};
use crate::container::Guest;
use crate::windows::contexts::{self, ContextPolicy, ProcessorContext};
use crate::windows::{Fact, Windows};

/// Where the processors were when the memory was taken, and what went wrong: computed once for a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashState {
    /// The registers of each processor, and whose they are.
    pub contexts: Vec<ProcessorContext>,
    /// The processor that crashed, or the first one of a live guest: the header's context is its.
    pub processor: Fact<u32>,
    /// The exception behind the stop code, or a breakpoint where the processor was.
    pub exception: Fact<Exception>,
}

impl CrashState {
    /// The registers of the processor that crashed.
    #[must_use]
    pub fn crashed(&self) -> Option<&ProcessorContext> {
        let mut contexts = self.contexts.iter();
        contexts.find(|context| context.number == self.processor.value)
    }
}

impl Windows {
    /// Where the processors were, which of them crashed, and by which exception.
    #[must_use]
    pub fn crash_state(&self, guest: &Guest, policy: ContextPolicy) -> CrashState {
        let contexts = contexts::contexts(guest, self, policy);
        let space = self.space(&guest.memory);
        let scene = Scene {
            space: &space,
            kernel: &self.kernel.image,
            modules: &self.modules,
            processors: &self.processors,
            bugcheck: &self.bugcheck.value,
            contexts: &contexts,
        };
        let processor = scene.processor();
        let exception = scene.exception(processor.value);
        CrashState {
            contexts,
            processor,
            exception,
        }
    }
}
