//! Moving bytes.

mod faults;
mod reshape;
mod ways;
