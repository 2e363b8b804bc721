//! What several tests share: opening, comparing, breaking.

pub(crate) mod absent;
pub(crate) mod bad;
pub(crate) mod cases;
pub(crate) mod containers;
pub(crate) mod counted;
pub(crate) mod crashed;
pub(crate) mod dmp;
pub(crate) mod dump_bytes;
pub(crate) mod dumped;
pub(crate) mod endless;
pub(crate) mod every;
pub(crate) mod facts;
pub(crate) mod grown;
pub(crate) mod hand;
pub(crate) mod open;
pub(crate) mod patch;
pub(crate) mod peak;
pub(crate) mod power;
pub(crate) mod repaired;
pub(crate) mod rows;
pub(crate) mod sets;
pub(crate) mod small;
pub(crate) mod sparse;
pub(crate) mod specs;
pub(crate) mod vcpus;
