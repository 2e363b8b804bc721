//! All tests of the library through its public interface, in one binary.

#![cfg(test)]

mod audit;
mod containers;
mod dump;
mod layering;
mod limits;
mod support;
mod windows;
mod write;
