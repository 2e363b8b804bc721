//! What hostile input can cost.

mod containers;
mod dumps;
mod hostile;
mod hostile_cost;
mod kdump_terabyte;
mod streams;
mod terabyte;
mod windows;
