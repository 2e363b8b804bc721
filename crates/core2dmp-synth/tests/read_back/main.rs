//! Everything that the crate writes, read back by naive readers that share no code with it.

mod naive;
mod windows;
mod xen;
