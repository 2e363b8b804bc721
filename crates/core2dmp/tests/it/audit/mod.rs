//! Checking, comparing and repairing dumps.

mod check;
mod microsoft;
mod osr_thread;
mod repair;
mod space;
