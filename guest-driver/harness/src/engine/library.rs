//! Unicorn's library, loaded where it is: `CORE2DMP_UNICORN`, or where `cargo xtask driver` has put it.
//!
//! Names and numbers are those of its public headers (unicorn.h, x86.h, arm64.h; 2.1).

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

pub(crate) type Uc = *mut c_void;

pub(crate) const ARCH_ARM64: c_int = 2;
pub(crate) const ARCH_X86: c_int = 4;
pub(crate) const MODE_32: c_int = 4;
pub(crate) const MODE_64: c_int = 8;
pub(crate) const MODE_ARM: c_int = 0;
pub(crate) const HOOK_INSN: c_int = 1 << 1;
pub(crate) const HOOK_CODE: c_int = 1 << 2;
pub(crate) const HOOK_MEM_WRITE: c_int = 1 << 11;
pub(crate) const INSN_IN: c_int = 218;
pub(crate) const INSN_OUT: c_int = 500;

/// Registers by Unicorn's numbers.
pub(crate) mod register {
    use std::ffi::c_int;

    pub(crate) const EAX: c_int = 19;
    pub(crate) const EDX: c_int = 24;
    pub(crate) const EIP: c_int = 26;
    pub(crate) const ESP: c_int = 30;
    pub(crate) const RAX: c_int = 35;
    pub(crate) const RIP: c_int = 41;
    pub(crate) const RSP: c_int = 44;
    /// rcx, rdx, r8, r9.
    pub(crate) const X64_ARGUMENTS: [c_int; 4] = [38, 40, 106, 107];
    pub(crate) const ARM64_X0: c_int = 199;
    pub(crate) const ARM64_LR: c_int = 2;
    pub(crate) const ARM64_SP: c_int = 4;
    pub(crate) const ARM64_PC: c_int = 260;
}

type Open = unsafe extern "C" fn(c_int, c_int, *mut Uc) -> c_int;
type Close = unsafe extern "C" fn(Uc) -> c_int;
type Map = unsafe extern "C" fn(Uc, u64, u64, u32, *mut c_void) -> c_int;
type Protect = unsafe extern "C" fn(Uc, u64, u64, u32) -> c_int;
type Write = unsafe extern "C" fn(Uc, c_int, *const c_void) -> c_int;
type Read = unsafe extern "C" fn(Uc, c_int, *mut c_void) -> c_int;
type Start = unsafe extern "C" fn(Uc, u64, u64, u64, usize) -> c_int;
/// Behind the range of addresses comes an instruction's number, for `HOOK_INSN`.
type Hook =
    unsafe extern "C" fn(Uc, *mut usize, c_int, *const c_void, *mut c_void, u64, u64, ...) -> c_int;

/// The functions that are used.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    pub(crate) open: Open,
    pub(crate) close: Close,
    pub(crate) map: Map,
    pub(crate) protect: Protect,
    pub(crate) write: Write,
    pub(crate) read: Read,
    pub(crate) start: Start,
    pub(crate) hook: Hook,
}

/// The library; `Err` says why there is none.
pub(crate) fn get() -> Result<Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY.get_or_init(load).clone()
}

fn load() -> Result<Library, String> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/unicorn/libunicorn.so.2");
    let path = std::env::var_os("CORE2DMP_UNICORN").map_or(own, PathBuf::from);
    if !path.is_file() {
        return Err("no emulator: cargo xtask driver fetches Unicorn from PyPI".to_owned());
    }
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: the library's constructors are Unicorn's, which may run anywhere.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    if handle.is_null() {
        return Err(format!("{} cannot be loaded", path.display()));
    }
    let symbol = |name: &'static [u8]| {
        // SAFETY: the handle is open, and the names end in zero.
        let at = unsafe { libc::dlsym(handle, name.as_ptr().cast::<c_char>()) };
        (!at.is_null())
            .then_some(at)
            .ok_or_else(|| format!("{} is not Unicorn 2", path.display()))
    };
    macro_rules! function {
        ($name:literal, $kind:ty) => {
            // SAFETY: the function of this name has this signature in unicorn.h.
            unsafe { std::mem::transmute::<*mut c_void, $kind>(symbol($name)?) }
        };
    }
    Ok(Library {
        open: function!(b"uc_open\0", Open),
        close: function!(b"uc_close\0", Close),
        map: function!(b"uc_mem_map_ptr\0", Map),
        protect: function!(b"uc_mem_protect\0", Protect),
        write: function!(b"uc_reg_write\0", Write),
        read: function!(b"uc_reg_read\0", Read),
        start: function!(b"uc_emu_start\0", Start),
        hook: function!(b"uc_hook_add\0", Hook),
    })
}
