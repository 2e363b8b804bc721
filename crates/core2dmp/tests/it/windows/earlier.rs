//! Running guests whose container has no registers: what memory proves of each processor.

use std::sync::Arc;

use core2dmp::audit::check::{Severity, check};
use core2dmp::container::dmp::DumpFile;
use core2dmp::container::{self, OpenOptions};
use core2dmp::dump::{self, PlanOptions};
use core2dmp::windows::{self, ContextPolicy, ContextSource};
use core2dmp::write::{self, Silent, WriteOptions};
use core2dmp_synth::{Guest, GuestSpec};

use crate::support::open::{file_of, open};
use crate::support::specs::context_places;

/// A word of a guest's debugger data block: an offset in a structure.
fn offset(guest: &Guest, at: usize) -> u64 {
    let block = &guest.expected.kdbg.as_ref().unwrap().plain;
    u64::from(u16::from_le_bytes(block[at..at + 2].try_into().unwrap()))
}

/// Gives the current thread of every processor a switch frame: instruction and stack pointers that it proves.
fn switched(guest: &mut Guest) -> Vec<(u64, u64)> {
    let width = if guest.expected.arch.is_64() { 8 } else { 4 };
    let kernel_stack = offset(guest, 0x29c);
    let processors = guest.expected.processors.clone();
    let site = guest.expected.kernel.base + 0x1_0000 + 0x100;
    let put = |guest: &mut Guest, va: u64, value: u64| {
        guest.write_va(va, &value.to_le_bytes()[..width]);
    };
    let of_one = |(n, processor): (u64, &core2dmp_synth::Processor)| {
        // call +0x40: KiSwapContext, as it were.
        let call = site + n * 0x20;
        guest.write_va(call, &[0xe8, 0x40, 0, 0, 0]);
        let stack = guest
            .read_va(processor.thread + kernel_stack, width)
            .unwrap();
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&stack);
        let stack = u64::from_le_bytes(bytes);
        // What no call stands before: data, the code itself, an address in between.
        put(guest, stack, 0x1234);
        put(guest, stack + width as u64, site);
        let slot = stack + 7 * width as u64;
        put(guest, slot, call + 5);
        (call + 5, slot + width as u64)
    };
    (0..).zip(&processors).map(of_one).collect()
}

fn opened(guest: &Guest) -> container::Guest {
    let (first, frames) = *guest.present.last().unwrap();
    let file = guest.raw(0, (first + frames).next_multiple_of(256));
    container::open(Arc::new(file), OpenOptions::default()).unwrap()
}

fn dump_of(guest: &container::Guest, plan: &dump::Plan) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.dmp");
    let options = WriteOptions::default().sync(false);
    write::to_file(&plan.image, &guest.memory, &path, options, &Silent).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn a_threads_last_switch_is_what_memory_proves() {
    for spec in context_places() {
        let mut guest = spec.processors(2).contexts_zero().build();
        let wanted = switched(&mut guest);
        let opened = opened(&guest);
        let found = windows::identify(&opened).unwrap();
        let plan = dump::plan(&opened, &found, &PlanOptions::default()).unwrap();
        for (context, (rip, rsp)) in plan.crash.contexts.iter().zip(&wanted) {
            assert_eq!(context.source, ContextSource::Earlier);
            assert_eq!((context.rip.get(), context.rsp.get()), (*rip, *rsp));
            assert!(matches!(context.code_selector(), Some(0x10 | 8)));
        }
        assert_eq!(plan.crash.contexts.len(), 2);
        // The dump says so itself, and check says it of the dump.
        let dump = dump_of(&opened, &plan);
        let said = "; registers of an earlier moment";
        let comment = dump.windows(said.len()).take(0x2000);
        assert_eq!(comment.filter(|text| *text == said.as_bytes()).count(), 1);
        let findings = check(&DumpFile::open(Arc::new(dump)).unwrap()).findings;
        let lines: Vec<_> = findings
            .iter()
            .map(|finding| (finding.severity, finding.field, finding.found.as_str()))
            .collect();
        let line = |n| {
            let found = [
                "processor 0: registers of an earlier moment, no others",
                "processor 1: registers of an earlier moment, no others",
            ][n];
            (Severity::Cosmetic, "PRCB context", found)
        };
        assert_eq!(lines, [line(0), line(1)]);
    }
}

/// A return address further up than a switch frame and what its caller saved may be of anything.
#[test]
fn only_the_first_words_of_the_stack_are_looked_at() {
    let mut guest = GuestSpec::windows10().contexts_zero().build();
    let (rip, rsp) = switched(&mut guest)[0];
    let bottom = rsp - 8 * 8;
    guest.write_va(rsp - 8, &[0; 8]);
    let first = |guest: &Guest| {
        let opened = opened(guest);
        let found = windows::identify(&opened).unwrap();
        found.crash_state(&opened, ContextPolicy::Auto).contexts[0].source
    };
    // The stack ends before 64 words: it is made deeper.
    let thread = guest.expected.processors[0].thread;
    let kernel_stack = thread + offset(&guest, 0x29c);
    let deeper = bottom - 0x800;
    guest.write_va(kernel_stack, &deeper.to_le_bytes());
    guest.write_va(deeper + 64 * 8, &rip.to_le_bytes());
    assert_eq!(first(&guest), ContextSource::Memory);
    guest.write_va(deeper + 63 * 8, &rip.to_le_bytes());
    assert_eq!(first(&guest), ContextSource::Earlier);
}

/// Nothing on the stack follows a call: nothing is made up.
#[test]
fn without_a_proof_there_are_no_registers() {
    for spec in context_places() {
        let guest = spec.processors(2).contexts_zero().build();
        let opened = opened(&guest);
        let found = windows::identify(&opened).unwrap();
        let state = found.crash_state(&opened, ContextPolicy::Auto);
        for context in &state.contexts {
            assert_eq!(context.source, ContextSource::Memory);
            assert_eq!((context.rip.get(), context.rsp.get()), (0, 0));
        }
    }
}

/// What Windows saved at a bug check is better than any earlier moment, and a vCPU than both.
#[test]
fn an_earlier_moment_is_the_last_resort() {
    for spec in context_places() {
        let mut guest = spec.clone().processors(2).build();
        switched(&mut guest);
        let saved = opened(&guest);
        let found = windows::identify(&saved).unwrap();
        let state = found.crash_state(&saved, ContextPolicy::Auto);
        let sources = state.contexts.iter().map(|context| context.source);
        assert_eq!(sources.collect::<Vec<_>>(), [ContextSource::Memory; 2]);

        let mut guest = spec.processors(2).contexts_zero().build();
        switched(&mut guest);
        let core = file_of(&guest.xen_core());
        let live = open(core).unwrap();
        let found = windows::identify(&live).unwrap();
        let state = found.crash_state(&live, ContextPolicy::Auto);
        let sources = state.contexts.iter().map(|context| context.source);
        assert_eq!(
            sources.collect::<Vec<_>>(),
            [ContextSource::Vcpu(0), ContextSource::Vcpu(1)]
        );
    }
}
