//! Finding Windows in memory.

mod contexts;
mod crash;
mod crash_frames;
mod guest_records;
mod identify;
mod ram_header_search;
mod ram_headers;
mod rebuild;
