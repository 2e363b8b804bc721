//! `core2dmp`: a virtual machine's memory becomes a Windows crash dump that WinDbg opens.
//!
//! ```text
//! args  ->  commands/convert, info, check, diff, repair, demo  ->  render/text, render/json  ->  stdout
//!                      |                                                              message -> stderr
//!                 core2dmp (the library)
//! ```
//!
//! The exit code: 0 done, 1 findings or differences, 2 error, 130 interrupted. A reader that closes the
//! pipe early is no error.

mod args;
mod commands;
mod confine;
mod escape;
mod hash;
mod interrupt;
mod map;
mod memory_diff;
mod message;
mod progress;
mod registers;
mod render;
mod sources;
mod time;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Args, Command};
use self::confine::Needs;
use self::message::Outcome;

fn main() -> ExitCode {
    let args = Args::parse();
    let verbose = args.command.is_verbose();
    let done = |()| Outcome::Done;
    confine(&args);
    let result = match args.command {
        Command::Convert(args) => commands::convert::run(&args).map(done),
        Command::Info(args) => commands::info::run(&args).map(done),
        Command::Check(args) => commands::check::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Repair(args) => commands::repair::run(&args),
        Command::Demo(args) => commands::demo::run(&args).map(done),
    };
    match result {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => message::report(&failure, verbose),
    }
}

/// Gives up what the command does not need, before it looks at a guest.
fn confine(args: &Args) {
    let needs = match &args.command {
        // Its guest is its own.
        Command::Demo(_) => return,
        _ if args.no_sandbox => return confine::stay_out(),
        Command::Convert(args) => Needs::of_convert(args),
        Command::Info(args) => Needs::of_info(args),
        Command::Check(args) => Needs::of_check(args),
        Command::Diff(args) => Needs::of_diff(args),
        Command::Repair(args) => Needs::of_repair(args),
    };
    confine::enter(&needs);
}
