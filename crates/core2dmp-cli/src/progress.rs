//! A progress bar with rate and remaining time on a terminal, and the place where an interruption is noticed.

use std::io::IsTerminal;
use std::ops::ControlFlow;

use core2dmp::progress::{Progress, Work};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt::Interrupt;

const TEMPLATE: &str = "{bar:32} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";

/// Watches one piece of work after the other.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    is_seen: bool,
    interrupt: Interrupt,
}

impl Bar {
    /// A bar on stderr if that is a terminal, else nothing to see. It shows when a piece of work begins.
    pub(crate) fn new(is_quiet: bool, interrupt: &Interrupt) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        Self {
            bar: ProgressBar::hidden().with_style(style),
            is_seen: !is_quiet && std::io::stderr().is_terminal(),
            interrupt: interrupt.clone(),
        }
    }

    /// Runs a piece of work that does not say itself when it begins.
    pub(crate) fn over<T>(&self, work: Work, bytes: u64, run: impl FnOnce(&Self) -> T) -> T {
        self.begin(work, bytes);
        let result = run(self);
        self.end();
        result
    }
}

impl Progress for Bar {
    fn begin(&self, _: Work, bytes: u64) {
        self.bar.reset();
        self.bar.set_length(bytes);
        if self.is_seen {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.bar.inc(bytes);
        if self.interrupt.is_raised() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
