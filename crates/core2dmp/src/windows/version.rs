//! Which Windows: build, flavour, and the version block that debuggers read.

use std::ops::ControlFlow;

use super::fact::{Fact, Source};
use super::kdbg::DebuggerData;
use super::kernel::{KernelImage, machine};
use super::kuser::Kuser;
use crate::address::{Gva, PAGE_SIZE};
use crate::format::kdbg::{
    CM_NT_CSD_VERSION, NT_BUILD_LAB, PS_LOADED_MODULE_LIST, VERSION_KD_SECONDARY,
    VERSION_KERN_BASE, VERSION_MACHINE, VERSION_MAJOR, VERSION_MINOR,
    VERSION_PS_LOADED_MODULE_LIST, VERSION_SIZE,
};
use crate::format::{u16_at, u64_at};
use crate::paging::AddressSpace;

/// Pages on both sides of the KDBG in which the version block is looked for.
const NEAR_PAGES: u64 = 8;
/// Bytes of `NtBuildLab` that are read.
const BUILD_LAB_BYTES: usize = 128;
/// `KdVersionBlock.MajorVersion` of a free build: 0xC would be a checked one.
const FREE_BUILD: u16 = 0xf;

/// Which Windows it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Version {
    /// The build number, such as 19041.
    pub build: Option<Fact<u32>>,
    /// 0xF free build, 0xC checked build.
    pub flavour: Fact<u16>,
    /// Major and minor version, such as (10, 0).
    pub nt: (u32, u32),
    /// Version of the debugger protocol; 0 if there is no version block.
    pub kd_secondary: u8,
    /// Where the version block is.
    pub block: Option<Gva>,
    /// The service pack, major and minor; `None` if there is none or it is not known.
    pub service_pack: Option<(u8, u8)>,
    /// Such as "19041.1.amd64fre.vb_release.191206-1406". Guest text.
    pub build_lab: Option<String>,
}

/// `DBGKD_GET_VERSION64`.
struct VersionBlock {
    gva: Gva,
    major: u16,
    minor: u16,
    kd_secondary: u8,
}

pub(super) fn read(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    kdbg: Option<&DebuggerData>,
    kuser: &Kuser,
) -> Version {
    let block = kdbg.and_then(|kdbg| find_block(space, kernel, kdbg));
    let export = kernel
        .image
        .export(space, "NtBuildNumber")
        .and_then(|gva| space.u32(gva).ok());
    let build_lab = kdbg.and_then(|kdbg| read_build_lab(space, kdbg));
    let lab_build = build_lab
        .as_deref()
        .and_then(|lab| lab.split('.').next())
        .and_then(|build| build.parse::<u32>().ok());
    // Its top four bits are the flavour; without one it is something else, or another system's, and comes last.
    let (marked, other) = match export {
        Some(number) if is_flavour(number >> 28) => (export, None),
        number => (None, number),
    };
    let exported = |number: u32| (number & 0xffff, Source::Export("NtBuildNumber"));
    let builds = [
        block
            .as_ref()
            .map(|block| (u32::from(block.minor), Source::VersionBlock(block.gva))),
        marked.map(exported),
        lab_build.map(|build| (build, Source::Kdbg("NtBuildLab"))),
        kuser
            .build()
            .map(|build| (build, Source::Kuser("NtBuildNumber"))),
        other.map(exported),
    ];
    let known = builds
        .into_iter()
        .flatten()
        .filter(|(build, _)| *build != 0);
    let flavours = [
        block
            .as_ref()
            .map(|block| (block.major, Source::VersionBlock(block.gva))),
        marked.and_then(|number| {
            let flavour = u16::try_from(number >> 28).ok()?;
            Some((flavour, Source::Export("NtBuildNumber")))
        }),
    ];
    let plausible = flavours
        .into_iter()
        .flatten()
        .filter(|(flavour, _)| is_flavour(u32::from(*flavour)));
    Version {
        build: Fact::best(known),
        flavour: Fact::best(plausible)
            .unwrap_or_else(|| Fact::new(FREE_BUILD, Source::Rule("a free build"))),
        nt: match kuser.version() {
            (0, _) => kernel.image.os_version,
            version => version,
        },
        kd_secondary: block.as_ref().map_or(0, |block| block.kd_secondary),
        block: block.map(|block| block.gva),
        service_pack: kdbg.and_then(|kdbg| read_service_pack(space, kdbg)),
        build_lab,
    }
}

/// Whether a build's flavour is one: 0xF free, 0xC checked.
const fn is_flavour(flavour: u32) -> bool {
    matches!(flavour, 0xc | 0xf)
}

/// A structure near the KDBG that names the same kernel, module list and machine.
fn find_block(
    space: &AddressSpace<'_>,
    kernel: &KernelImage,
    kdbg: &DebuggerData,
) -> Option<VersionBlock> {
    let mode = space.mode();
    let list = kdbg.pointer(PS_LOADED_MODULE_LIST)?;
    let around = kdbg.gva.page_start();
    let reach = NEAR_PAGES.saturating_mul(PAGE_SIZE);
    let first = Gva::new(around.get().saturating_sub(reach));
    let last = around.saturating_add(reach).saturating_add(PAGE_SIZE - 1);
    let mut found = None;
    space.scan(first, last, |gva, bytes| {
        for at in (0..bytes.len()).step_by(8) {
            let candidate = bytes.get(at..at.saturating_add(VERSION_SIZE));
            let block = candidate
                .and_then(|candidate| parse_block(candidate, mode, kernel.image.base, list));
            if let Some((major, minor, kd_secondary)) = block {
                found = Some(VersionBlock {
                    gva: gva.saturating_add(at as u64),
                    major,
                    minor,
                    kd_secondary,
                });
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    found
}

fn parse_block(
    bytes: &[u8],
    mode: crate::paging::PagingMode,
    base: Gva,
    list: Gva,
) -> Option<(u16, u16, u8)> {
    let pointer = |offset| mode.canonical(Gva::new(u64_at(bytes, offset)?));
    let is_ours = u32::from(u16_at(bytes, VERSION_MACHINE)?) == machine(mode)
        && pointer(VERSION_KERN_BASE)? == base
        && pointer(VERSION_PS_LOADED_MODULE_LIST)? == list;
    is_ours.then_some((
        u16_at(bytes, VERSION_MAJOR)?,
        u16_at(bytes, VERSION_MINOR)?,
        *bytes.get(VERSION_KD_SECONDARY)?,
    ))
}

/// `CmNtCSDVersion`: 0x200 is service pack 2. As `CSDVersion` in the registry's Control\Windows, which it is read from.
fn read_service_pack(space: &AddressSpace<'_>, kdbg: &DebuggerData) -> Option<(u8, u8)> {
    let value = space.u32(kdbg.pointer(CM_NT_CSD_VERSION)?).ok()?;
    let [minor, major, ..] = value.to_le_bytes();
    (major != 0).then_some((major, minor))
}

fn read_build_lab(space: &AddressSpace<'_>, kdbg: &DebuggerData) -> Option<String> {
    let raw = space
        .bytes(kdbg.pointer(NT_BUILD_LAB)?, BUILD_LAB_BYTES)
        .ok()?;
    let text = raw.split(|byte| *byte == 0).next()?;
    let printable = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    printable.then(|| text.escape_ascii().to_string())
}
