//! A guest that writes to the terminal of whoever looks at it.

use core2dmp_synth::{Guest, GuestSpec};

use crate::run::{run, scratch};

/// Clears the screen, sets the title, turns the line around; as long as "ntoskrnl.exe".
const EVIL: &str = "\x1b[2J\x1b]0;\u{9b}\u{202e}\x07\r";

/// The address of the first module's name.
fn name_of_the_kernel(guest: &Guest) -> u64 {
    let pointer = |va| u64::from_le_bytes(guest.read_va(va, 8).unwrap().try_into().unwrap());
    let entry = pointer(guest.expected.ps_loaded_module_list);
    // LDR_DATA_TABLE_ENTRY.BaseDllName.Buffer on x64.
    pointer(entry + 0x58 + 8)
}

#[test]
fn names_are_escaped() {
    let mut guest = GuestSpec::windows10().build();
    let name = name_of_the_kernel(&guest);
    let units: Vec<u8> = EVIL.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(units.len(), 2 * "ntoskrnl.exe".len());
    guest.write_va(name, &units);
    // The same for a process: the 15 bytes of its name.
    let process = guest
        .expected
        .processes
        .iter()
        .find(|process| process.pid != 4)
        .unwrap();
    let object = guest.read_va(process.eprocess, 0x800).unwrap();
    let at = object
        .windows(process.name.len())
        .position(|text| text == process.name.as_bytes());
    let at = process.eprocess + at.unwrap() as u64;
    guest.write_va(at, b"\x1b[31mX");

    let folder = scratch();
    let core = folder.path().join("guest.core");
    guest.xen_core().write_file(&core).unwrap();
    for options in [
        &["info", "--modules", "--processes"][..],
        &["info", "--json"],
        &["convert", "--dry-run", "--json"],
        &["convert", "--dry-run", "--verbose"],
    ] {
        let outcome = run(options, &[&core]).expect_code(0);
        let raw = |byte: &u8| !byte.is_ascii() || (byte.is_ascii_control() && *byte != b'\n');
        assert!(!outcome.stdout.iter().any(raw), "{options:?}");
        assert_eq!(outcome.stderr, "");
    }
    let text = run(&["info", "--modules"], &[&core]).expect_code(0).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains(r"\u{1b}[2J\u{1b}]0;\u{9b}\u{202e}\u{7}\r"),
        "{text}"
    );
    let json = run(&["info", "--json"], &[&core]).expect_code(0).json();
    assert_eq!(json["windows"]["modules"][0]["name"], EVIL);
}

#[test]
fn file_names_are_escaped() {
    let folder = scratch();
    let name = folder.path().join("a\x1b[2Jb");
    for options in [&["info"][..], &["info", "--json"], &["convert"]] {
        let outcome = run(options, &[&name]).expect_code(2);
        assert!(!outcome.stdout.contains(&0x1b), "{options:?}");
        assert!(!outcome.stderr.contains('\x1b'), "{options:?}");
    }
}
