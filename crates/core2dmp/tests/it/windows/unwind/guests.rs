//! Whole guests: a processor deep in drivers, and the images of a process.

use core2dmp::address::Gpa;
use core2dmp::paging::AddressSpace;
use core2dmp::windows::unwind::{Ended, How, Registers, Unwinder, X64, walk};
use core2dmp::windows::{self, ContextPolicy};
use core2dmp_synth::unwind::plant;
use core2dmp_synth::{Guest, GuestSpec};

use super::frames;
use crate::support::open::{file_of, open};

#[test]
fn every_kind_of_frame_on_the_processors_of_a_crashed_guest() {
    for spec in [
        GuestSpec::windows10,
        GuestSpec::windows7,
        GuestSpec::windows2003_x64,
        GuestSpec::windows10_la57,
    ] {
        let mut guest = spec()
            .processors(2)
            .crashed(0xd1, [8, 2, 0, 0x1234])
            .build();
        let planted = plant(&mut guest, 1);
        let opened = open(file_of(&guest.xen_core())).unwrap();
        let found = windows::identify(&opened).unwrap();
        let contexts = found.crash_state(&opened, ContextPolicy::Auto).contexts;
        let start = Registers::from_context(&contexts[1].context).unwrap();
        let space = found.space(&opened.memory);
        let stack = walk(&found, &space, &start);
        let hows = [
            How::Context,
            How::MachineFrame,
            How::UnwindData,
            How::UnwindData,
            How::UnwindData,
            How::UnwindData,
        ];
        let wanted: Vec<_> = hows
            .into_iter()
            .zip(planted.frames)
            .map(|(how, (ip, sp))| (how, ip, sp))
            .collect();
        assert_eq!(frames(&stack), wanted);
        assert_eq!(stack.ended, Ended::Bottom);
    }
}

/// Where a process's own pages begin, and EPROCESS.Peb of this Windows.
const USER: u64 = 0x1_0000;
const PEB: u64 = 0x550;

/// A guest whose third process has a loader list with these entries: base, size, name.
fn with_loader_list(entries: &[(u64, u32, &str)], last: u64) -> (Guest, u64) {
    let mut guest = GuestSpec::windows10().user_pages(8).build();
    let process = guest.expected.processes[2].clone();
    let user = guest
        .expected
        .user
        .iter()
        .find(|user| user.pid == process.pid);
    let pfns = user.unwrap().pfns.clone();
    let mut put = |va: u64, bytes: &[u8]| {
        let page = (va - USER) as usize / 0x1000;
        guest.frames.write(pfns[page] * 0x1000 + va % 0x1000, bytes);
    };
    let (ldr, entry) = (USER + 0x1000, |number: u64| USER + 0x2000 + number * 0x100);
    put(USER + 0x18, &ldr.to_le_bytes());
    let mut link = ldr + 0x10;
    for (number, (base, size, name)) in (0..).zip(entries) {
        let at = entry(number);
        put(link, &at.to_le_bytes());
        put(at + 0x30, &base.to_le_bytes());
        put(at + 0x40, &size.to_le_bytes());
        let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let buffer = USER + 0x4000 + number * 0x100;
        put(buffer, &text);
        for string in [0x48, 0x58] {
            put(at + string, &(text.len() as u16).to_le_bytes());
            put(at + string + 8, &buffer.to_le_bytes());
        }
        link = at;
    }
    put(link, &last.to_le_bytes());
    guest.write_va(process.eprocess + PEB, &USER.to_le_bytes());
    (guest, process.eprocess)
}

/// What the third process's loader says, and where an instruction is in it.
fn look(guest: &Guest, eprocess: u64, rip: u64) -> (Option<String>, Option<(String, u32)>) {
    let opened = open(file_of(&guest.xen_core())).unwrap();
    let found = windows::identify(&opened).unwrap();
    let process = found
        .processes
        .iter()
        .find(|it| it.eprocess.get() == eprocess)
        .unwrap();
    let space = AddressSpace::new(&opened.memory, found.mode, Gpa::new(process.dtb));
    let unwinder = Unwinder::of(&found, &space);
    let (unwinder, why) = unwinder.with_user_modules(&found, process.eprocess);
    let start = Registers::X64(X64 {
        rip,
        ..X64::default()
    });
    let place = unwinder.walk(&start).frames[0].place.clone();
    (
        why,
        place.map(|place| (place.module.name.clone(), place.rva)),
    )
}

const APP: u64 = 0x7ff6_1234_0000;

#[test]
fn images_of_a_process() {
    let head = USER + 0x1010;
    let entries = [
        (APP, 0x8000, "app.exe"),
        (APP + 0x10_0000, 0x1000, "ntdll.dll"),
    ];
    let (guest, eprocess) = with_loader_list(&entries, head);
    let named = |name: &str, rva| Some((name.to_owned(), rva));
    assert_eq!(
        look(&guest, eprocess, APP + 0x1234),
        (None, named("app.exe", 0x1234))
    );
    assert_eq!(
        look(&guest, eprocess, APP + 0x10_0008),
        (None, named("ntdll.dll", 8))
    );
    assert_eq!(look(&guest, eprocess, APP + 0x8000), (None, None));
    // The kernel's stay.
    let kernel = guest.expected.kernel.clone();
    let (_, place) = look(&guest, eprocess, kernel.base + 8);
    assert_eq!(place, named("ntoskrnl.exe", 8));
}

#[test]
fn a_loader_list_that_a_process_made_up() {
    let entries = [(APP, 0x8000, "app.exe")];
    // In a circle past its head; into nothing; and a PEB in the kernel's half.
    for (last, wanted) in [(USER + 0x2000, "leads back"), (0x1234_0000, "not present")] {
        let (guest, eprocess) = with_loader_list(&entries, last);
        let (why, place) = look(&guest, eprocess, APP + 1);
        assert!(why.clone().unwrap().contains(wanted), "{why:?}");
        assert_eq!(place, Some(("app.exe".to_owned(), 1)));
    }
    let (mut guest, eprocess) = with_loader_list(&entries, 0);
    let peb = |guest: &mut Guest, value: u64| guest.write_va(eprocess + PEB, &value.to_le_bytes());
    peb(&mut guest, 0xffff_f800_0000_0000);
    let (why, place) = look(&guest, eprocess, APP);
    assert!(why.unwrap().contains("kernel's half"));
    assert_eq!(place, None);
    peb(&mut guest, 0x5555_0000);
    assert!(
        look(&guest, eprocess, APP)
            .0
            .unwrap()
            .contains("not present")
    );
    // A process without user memory has none, and that is no fault.
    peb(&mut guest, 0);
    assert_eq!(look(&guest, eprocess, APP), (None, None));
}
