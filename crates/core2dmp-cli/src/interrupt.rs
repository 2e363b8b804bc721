//! SIGINT, SIGTERM and SIGHUP: at once while there is nothing to clean up, in order while a file is being written.
//!
//! ```text
//! read, identify, plan    -- signal -->  exit 130
//! Guard::new() .. drop    -- signal -->  flag  -->  the writer stops, removes its file  -->  exit 130
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use core2dmp::error::Error;

/// The exit code of an interrupted program.
pub(crate) const EXIT_CODE: u8 = 130;

/// The state of the signal handlers.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    idle: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handlers.
    pub(crate) fn install() -> Result<Self, Error> {
        let failed = |e| Error::io("cannot watch for signals", e);
        let interrupt = Self {
            raised: Arc::new(AtomicBool::new(false)),
            idle: Arc::new(AtomicBool::new(true)),
        };
        #[cfg(unix)]
        let signals = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
        #[cfg(not(unix))]
        let signals = [SIGINT, SIGTERM];
        for signal in signals {
            let idle = Arc::clone(&interrupt.idle);
            flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), idle)
                .map_err(failed)?;
            flag::register(signal, Arc::clone(&interrupt.raised)).map_err(failed)?;
        }
        #[cfg(unix)]
        // Where files may not grow further (`ulimit -f`) the default is death, with the file left behind; a handler
        // makes it an error like a full disk.
        flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map_err(failed)?;
        Ok(interrupt)
    }

    /// While the guard lives a signal only raises the flag.
    pub(crate) fn guard(&self) -> Guard<'_> {
        self.idle.store(false, Ordering::SeqCst);
        Guard(self)
    }

    /// Whether a signal came.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}

/// There is something to clean up.
#[derive(Debug)]
pub(crate) struct Guard<'a>(&'a Interrupt);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.idle.store(true, Ordering::SeqCst);
    }
}
