//! `core2dmp`: a virtual machine's memory becomes a Windows crash dump that WinDbg opens.
//!
//! ```text
//! args --> request --> confine      what the process gives up
//!              \---> commands --> outcome --> render: text, JSON --> stdout
//!                        |                                 message --> stderr
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
mod message;
mod outcome;
mod progress;
mod registers;
mod remedy;
mod render;
mod request;
mod time;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Args, Command};
use self::confine::Access;
use self::interrupt::Interrupt;
use self::message::Failure;
use self::outcome::Verdict;
use self::render::report;
use self::request::Request;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(failure) => message::report(&failure, args.command.is_verbose()),
    }
}

fn run(args: &Args) -> Result<Verdict, Failure> {
    let interrupt = Interrupt::install()?;
    let request = Request::resolve(&args.command);
    confine(args, request.as_ref().ok());
    match request {
        Err(failure) => report::unresolved(&args.command, failure),
        Ok(Request::Convert(request)) => {
            report::convert(&request, commands::convert::run(&request, &interrupt))
        }
        Ok(Request::Undo(request)) => {
            report::undo(&request, commands::in_place::undo(&request, &interrupt))
        }
        Ok(Request::Info(request)) => {
            report::info(&request, commands::info::run(&request, &interrupt))
        }
        Ok(Request::Check(request)) => {
            report::check(&request, commands::check::run(&request, &interrupt))
        }
        Ok(Request::Diff(request)) => {
            report::diff(&request, commands::diff::run(&request, &interrupt))
        }
        Ok(Request::Repair(request)) => {
            report::repair(&request, commands::repair::run(&request, &interrupt))
        }
        Ok(Request::Demo(dir)) => commands::demo::run(&dir, &interrupt).map(|()| Verdict::Done),
    }
}

/// Gives up what the request does not need, before a guest is looked at.
fn confine(args: &Args, request: Option<&Request>) {
    match &args.command {
        // Its guest is its own.
        Command::Demo(_) => {}
        _ if args.no_sandbox => confine::stay_out(),
        _ => confine::enter(&request.map(Access::of).unwrap_or_default()),
    }
}
