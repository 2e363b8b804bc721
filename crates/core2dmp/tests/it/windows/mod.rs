//! Finding Windows in memory.

mod contexts;
mod crash;
mod crash_frames;
mod identify;
mod ram_header_search;
mod ram_headers;
mod rebuild;
