//! Moving bytes.

mod faults;
mod image;
mod reshape;
mod ways;
