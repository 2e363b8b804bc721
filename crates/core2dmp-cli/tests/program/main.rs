//! The built program, run as a user runs it.
//!
//! ```text
//! corpus     real containers with known contents, where the corpus is present
//! roundtrip  synthetic guests: dump, convert, read back by a reader that nobody here wrote, compare page by page
//! schema     the JSON of all of these is what docs/json-schema says
//! dumps      what is said of dumps, compared and mended in them
//! thread     the thread that this program comes from
//! sources    which files belong together, and which name is the output
//! unpack     compressed sources, whole and damaged
//! export     memory for other programs, read back
//! libkdumpfile  every page as that library reads it
//! hostile    a guest's names never reach a terminal raw
//! names      links, devices, the source itself, names that are no text
//! faults     a host that fails: calls, disks, sources; verification
//! kills      signals at random moments; what they leave
//! ways       sparse, in parts, with checksums
//! in_place   the core itself becomes the dump, killed at any call, and the core again
//! layering   the rooms of the program in their order
//! whole      interrupted, full disks, existing files: the output appears whole or not at all
//! ```

#![cfg(test)]
#![cfg(unix)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "files are read at offsets of known size"
)]

mod bytes;
mod core_file;
mod corpus;
mod dump_file;
mod dumps;
mod expected;
mod export;
mod faults;
mod hostile;
mod in_place;
mod kills;
mod layering;
mod libkdumpfile;
mod names;
mod roundtrip;
mod run;
mod schema;
mod sources;
mod space;
mod thread;
mod unpack;
mod ways;
mod whole;
