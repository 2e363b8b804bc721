//! Finding Windows in memory.

mod absent;
mod arm64;
mod cases;
mod contexts;
mod crash;
mod crash_frames;
mod earlier;
mod guest_records;
mod identify;
mod lost_processors;
mod ram_header_search;
mod ram_headers;
mod rebuild;
#[expect(
    clippy::cast_possible_truncation,
    reason = "tests build inputs of known size"
)]
mod unwind;
