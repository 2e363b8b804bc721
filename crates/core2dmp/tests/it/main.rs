//! All tests of the library through its public interface, in one binary.

#![cfg(test)]

mod audit;
mod containers;
mod dump;
mod layering;
mod limits;
#[expect(
    clippy::cast_possible_truncation,
    reason = "tests build inputs of known size"
)]
mod support;
mod windows;
mod write;
