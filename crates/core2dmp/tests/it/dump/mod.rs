//! Planning dumps and exports.

mod bitmap;
mod export;
mod full;
mod kernel_active;
mod loss;
