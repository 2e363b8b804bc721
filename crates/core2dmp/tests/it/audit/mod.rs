//! Checking, comparing and repairing dumps.

mod check;
mod osr_thread;
mod repair;
