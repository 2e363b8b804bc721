//! A bar with rate and remaining time, where somebody looks; and the place where an interruption is noticed.

use std::io::IsTerminal;
use std::ops::ControlFlow;

use core2dmp::write::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::interrupt::Interrupt;

const TEMPLATE: &str = "{bar:32} {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";

/// Watches the writer.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    interrupt: Interrupt,
}

impl Bar {
    /// A bar on stderr if that is a terminal, else nothing to see.
    pub(crate) fn new(bytes: u64, is_quiet: bool, interrupt: Interrupt) -> Self {
        let target = if is_quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = ProgressStyle::with_template(TEMPLATE)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(Some(bytes), target).with_style(style);
        Self { bar, interrupt }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.bar.inc(bytes);
        if self.interrupt.is_raised() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
