//! Dump headers that were made in the guest, of this boot and of others: each is weighed, none is believed blindly.
//!
//! ```text
//! driver's header in memory, or given  --weigh against memory-->  confirmed, or what contradicts it
//! ```

use core2dmp::address::Gpa;
use core2dmp::audit::{FieldFact, field_facts};
use core2dmp::header::{FieldId, FieldValue};
use core2dmp::windows::{
    ContextPolicy, GivenHeader, GuestHeader, HeaderKind, HeaderOrigin, IdentifyOptions, Source,
};
use core2dmp_synth::{Guest, GuestSpec, RamHeader};

use crate::support::cases::Case;
use crate::support::dump_bytes::number;

const BODY: &str = "describes the body of another file; never taken from a header";

fn origin(guest: &Guest, header: usize) -> HeaderOrigin {
    let header = &guest.expected.ram_headers[header];
    let kind = match header.kind {
        "gplpv" => HeaderKind::Gplpv,
        "fwcfg" => HeaderKind::Fwcfg,
        _ => HeaderKind::Plain,
    };
    HeaderOrigin::Memory {
        gpa: Gpa::new(header.gpa),
        kind,
    }
}

/// The found header that stands where the guest's does.
fn found(case: &Case, header: usize) -> &GuestHeader {
    let origin = origin(&case.guest, header);
    let mut headers = case.windows.headers.iter();
    headers.find(|header| header.origin == origin).unwrap()
}

fn fact(facts: &[FieldFact], id: FieldId) -> &FieldFact {
    facts.iter().find(|fact| fact.field.id == id).unwrap()
}

/// Value and reason of what a header says of a field.
fn rejected(
    facts: &[FieldFact],
    id: FieldId,
    origin: &HeaderOrigin,
) -> Option<(FieldValue, String)> {
    let source = origin.to_string();
    let mut rejected = fact(facts, id).rejected.iter();
    let found = rejected.find(|rejected| rejected.source == source);
    found.map(|rejected| (rejected.value.clone(), rejected.why.clone()))
}

/// A stale header of another boot and a fresh one whose body is another dump's.
fn stale_and_fresh(spec: GuestSpec) -> Case {
    let stale = RamHeader::gplpv().stale().page_offset(0x40);
    let fresh = RamHeader::windows()
        .dump_type(2)
        .required_space(0x9999_0000);
    let spec = spec.processors(2).ram_header(stale);
    Case::new(spec.ram_header(fresh.runs(vec![(1, 0x20), (0x100, 0x400)])))
}

#[test]
fn a_stale_header_and_a_fresh_one_beside_it() {
    for spec in [
        GuestSpec::windows10(),
        GuestSpec::windows2003_x64(),
        GuestSpec::windows2003_x86(),
        GuestSpec::windows7_pae(),
    ] {
        let case = stale_and_fresh(spec);
        assert_eq!(case.windows.headers.len(), 2);
        let (stale, fresh) = (found(&case, 0), found(&case, 1));
        assert_eq!((stale.is_confirmed(), fresh.is_confirmed()), (false, true));
        let expected = &case.guest.expected;
        let dtb = stale.number(FieldId::DirectoryTableBase).unwrap();
        let made = stale.number(FieldId::SystemUpTime).unwrap();
        assert_ne!(dtb, expected.dtb);
        let mut wanted = vec![format!(
            "its page tables at {dtb:#x} do not map this kernel"
        )];
        if expected.build >= 6000 {
            wanted.push("its module list does not begin with this kernel".to_owned());
        }
        let now = expected.system_uptime;
        if made > now {
            wanted.push(format!(
                "it was made {made} ticks of 100 ns after boot, the system is up for {now}"
            ));
        }
        assert_eq!(stale.contradictions, wanted);
        assert_body_is_our_own(&case);
        assert_boot_is_this_one(&case, &wanted[0]);
    }
}

/// Type, space and runs are those of the dump, and what headers say of them is listed with the reason.
fn assert_body_is_our_own(case: &Case) {
    let plan = case.plan(ContextPolicy::Auto);
    let facts = field_facts(&case.windows, &plan);
    let expected = &case.guest.expected;
    let pages: u64 = expected.runs.iter().map(|run| run.1).sum();
    let count = expected.runs.len() as u64;
    for (id, ours, stale, fresh) in [
        (FieldId::DumpType, 1, 2, 2),
        (
            FieldId::RequiredDumpSpace,
            plan.image.size(),
            0x2862_5000,
            0x9999_0000,
        ),
        (FieldId::NumberOfRuns, count, 3, 2),
        (FieldId::NumberOfPages, pages, 0x9e + 0x1000 + 0x760, 0x420),
    ] {
        assert_eq!(fact(&facts, id).value, FieldValue::Number(ours), "{id:?}");
        for (header, value) in [(0, stale), (1, fresh)] {
            // A value that happens to be ours is no contradiction.
            let wanted = (value != ours).then(|| (FieldValue::Number(value), BODY.to_owned()));
            assert_eq!(
                rejected(&facts, id, &origin(&case.guest, header)),
                wanted,
                "{id:?}"
            );
        }
    }
    for header in [0, 1] {
        let (_, why) = rejected(&facts, FieldId::Runs, &origin(&case.guest, header)).unwrap();
        assert_eq!(why, BODY);
    }
    let first = if expected.arch.is_64() { 0x98 } else { 0x6c };
    let width = case.width();
    for (n, run) in expected.runs.iter().enumerate() {
        let at = first + n * 2 * width;
        let written = [at, at + width].map(|at| number(&plan.header()[at..at + width]));
        assert_eq!(written, [run.0, run.1]);
    }
    let source = &fact(&facts, FieldId::Runs).source;
    assert!(
        source.starts_with("MmPhysicalMemoryBlock at 0x"),
        "{source}"
    );
}

/// What is of this boot comes from memory; the stale header's is listed with what contradicts it.
fn assert_boot_is_this_one(case: &Case, contradiction: &str) {
    let plan = case.plan(ContextPolicy::Auto);
    let facts = field_facts(&case.windows, &plan);
    let expected = &case.guest.expected;
    let (stale, fresh) = (origin(&case.guest, 0), origin(&case.guest, 1));
    let why = format!("the header is of another boot: {contradiction}");
    let header = found(case, 0);
    let system = expected.processes.iter().find(|process| process.pid == 4);
    let system = format!("process System at {:#x}", system.unwrap().eprocess);
    for (id, ours, source) in [
        (FieldId::DirectoryTableBase, expected.dtb, system.as_str()),
        (
            FieldId::SystemTime,
            expected.system_time,
            "KUSER_SHARED_DATA SystemTime",
        ),
        (
            FieldId::SystemUpTime,
            expected.system_uptime,
            "KUSER_SHARED_DATA InterruptTime",
        ),
    ] {
        let found = fact(&facts, id);
        assert_eq!(
            (&found.value, found.source.as_str()),
            (&FieldValue::Number(ours), source)
        );
        let other = FieldValue::Number(header.number(id).unwrap());
        assert_eq!(
            rejected(&facts, id, &stale),
            Some((other, why.clone())),
            "{id:?}"
        );
        assert_eq!(rejected(&facts, id, &fresh), None, "{id:?}");
    }
    assert!(rejected(&facts, FieldId::PfnDataBase, &stale).is_some());
    assert_eq!(rejected(&facts, FieldId::NumberProcessors, &stale), None);
}

/// A running guest whose block stays encoded: no code names the keys, and the exports that load them are gone.
fn undecodable(header: RamHeader) -> Guest {
    let spec = GuestSpec::windows10().processors(2).code_scan(false);
    let mut guest = spec.ram_header(header).build();
    // KiSetTimerEx, KeSetTimerEx and KeSetTimer.
    let code = guest.expected.kernel.base + 0x1_d000;
    guest.write_va(code, &[0xcc; 0x800]);
    guest
}

/// The block is the decoded copy, in the place of the encoded one.
fn assert_copy_is_used(case: &Case, origin: &HeaderOrigin) {
    let block = case.guest.expected.kdbg.as_ref().unwrap();
    let kdbg = &case.windows.kdbg;
    assert!(block.keys.is_some());
    assert_eq!(kdbg.value.gva.get(), block.va);
    assert!(kdbg.value.bytes == block.plain);
    assert_eq!(
        kdbg.source,
        Source::Header {
            origin: origin.to_string(),
            field: "KdDebuggerDataBlock"
        }
    );
    let plan = case.plan(ContextPolicy::Auto);
    assert!(case.dumped(&plan, block.va, block.plain.len()) == block.plain);
    assert_eq!(number(&plan.header()[0x80..0x88]), block.va);
    assert_eq!(plan.header()[0xf98], 1);
    assert_eq!(case.windows.processors.len(), 2);
}

#[test]
fn the_decoded_copy_of_a_fwcfg_header() {
    let case = Case::of(undecodable(RamHeader::fwcfg()));
    let origin = origin(&case.guest, 0);
    assert_copy_is_used(&case, &origin);
}

#[test]
fn a_header_that_is_given() {
    let mut guest = undecodable(RamHeader::fwcfg());
    let gpa = guest.expected.ram_headers[0].gpa;
    let mut bytes = vec![0; 0x2000];
    guest.frames.read(gpa, &mut bytes);
    guest.frames.write(gpa, &[0; 0x2000]);
    let name = "guest.dmp".to_owned();
    let given = |bytes: &[u8]| {
        IdentifyOptions::default().headers(vec![GivenHeader {
            name: name.clone(),
            bytes: bytes.to_vec(),
        }])
    };
    // More than a header: the first pages of a dump.
    bytes.extend_from_slice(&[0x5a; 0x1000]);
    let case = Case::with(guest.clone(), &given(&bytes));
    let origin = HeaderOrigin::Given(name.clone());
    assert_eq!(origin.to_string(), "header of guest.dmp");
    assert_eq!(case.windows.headers[0].origin, origin);
    assert_eq!(case.windows.headers[0].bytes.len(), 0x2000);
    assert_copy_is_used(&case, &origin);
    // Of another boot: not believed, and the block is rebuilt.
    bytes[0x10..0x18].copy_from_slice(&0x7ee_c000_u64.to_le_bytes());
    let case = Case::with(guest, &given(&bytes));
    assert!(!case.windows.headers[0].is_confirmed());
    assert!(matches!(case.windows.kdbg.source, Source::Rebuilt(_)));
}

#[test]
fn a_stale_fwcfg_header_decodes_nothing() {
    let case = Case::of(undecodable(RamHeader::fwcfg().stale()));
    assert!(!found(&case, 0).is_confirmed());
    assert!(matches!(case.windows.kdbg.source, Source::Rebuilt(_)));
}

#[test]
fn headers_of_another_machine() {
    for (spec, machine, other, known) in [
        (GuestSpec::windows10(), 0x8664, 0xaa64_u32, true),
        (GuestSpec::windows10(), 0x8664, 0x14c, true),
        (GuestSpec::windows10(), 0x8664, 0x200, false),
        (GuestSpec::windows2003_pae(), 0x14c, 0x8664, true),
    ] {
        let mut guest = spec.ram_header(RamHeader::windows()).build();
        let field = if guest.expected.arch.is_64() {
            0x30
        } else {
            0x20
        };
        let gpa = guest.expected.ram_headers[0].gpa;
        guest.frames.write(gpa + field, &other.to_le_bytes());
        let case = Case::of(guest);
        let headers = &case.windows.headers;
        assert_eq!(headers.len(), usize::from(known), "{other:#x}");
        if known {
            assert_eq!(
                headers[0].contradictions,
                [format!("it is for another machine than {machine:#x}")]
            );
        }
    }
    // One of 32 bit in a guest of 64.
    let narrow = GuestSpec::windows2003_x86()
        .ram_header(RamHeader::windows())
        .build();
    let mut bytes = vec![0; 0x1000];
    narrow
        .frames
        .read(narrow.expected.ram_headers[0].gpa, &mut bytes);
    let mut guest = GuestSpec::windows10()
        .ram_header(RamHeader::windows())
        .build();
    let gpa = guest.expected.ram_headers[0].gpa;
    guest.frames.write(gpa, &bytes);
    let case = Case::of(guest);
    assert_eq!(
        case.windows.headers[0].contradictions,
        ["it is for another machine than 0x8664"]
    );
}
