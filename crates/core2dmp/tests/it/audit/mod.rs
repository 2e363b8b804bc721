//! Checking, comparing and repairing dumps.

mod check;
mod missing_pages;
mod osr_thread;
mod repair;
