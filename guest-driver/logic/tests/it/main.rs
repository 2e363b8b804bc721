//! The logic on a machine of the tests: every order of events, and the guest killed after every store.

#![cfg(test)]

mod fuzz;
mod killed;
mod machine;
mod pieces;
mod reader;
mod sequences;
