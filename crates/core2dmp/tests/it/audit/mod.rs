//! Checking, comparing and repairing dumps.

mod check;
mod microsoft;
mod missing_pages;
mod osr_thread;
mod repair;
mod space;
