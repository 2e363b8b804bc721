//! seccomp: which system calls the program makes. Any other kills it, before it does anything.
//!
//! ```text
//! filter 1   the calls below are let through, some with their arguments; all else: SIGSYS, at once
//! filter 2   clone3 fails with ENOSYS: its flags are behind a pointer that no filter can follow, and the C library
//!            then takes clone, whose flags are checked
//! ```
//!
//! The list has what glibc and musl call for the same thing: the tests run every command on every container under it.
//! Numbers are those of libc.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Bytes in and out, and where the files are: Landlock decides which can be opened.
const FILES: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    libc::SYS_fchmod,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
];

/// Memory, threads, signals, time.
const PROCESS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_ppoll,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Older names of the same, which later architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_link,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_poll,
    libc::SYS_time,
    libc::SYS_dup2,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Requests on a terminal (its kind and width) and on a file (sharing of extents).
const REQUESTS: &[u64] = &[
    0x5401,      // TCGETS
    0x802c_542a, // TCGETS2, which newer C libraries ask
    0x5413,      // TIOCGWINSZ
    0x4004_9409, // FICLONE
    0x4020_940d, // FICLONERANGE
];

/// `prctl`: a thread's name, and the name of a mapping.
const NAMES: &[u64] = &[15, 0x5356_4d41];

/// A mapping that can be run: `PROT_EXEC`.
const EXECUTABLE: u64 = 4;

/// `clone` for a thread: `CLONE_THREAD`.
const THREAD: u64 = 0x1_0000;

/// Installs both filters in every thread.
pub(super) fn restrict() -> Result<(), Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let allowed = SeccompFilter::new(
        rules()?,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )?;
    let refused = SeccompFilter::new(
        Rules::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        arch,
    )?;
    // The second one first: the other does not let `seccomp` through.
    for filter in [refused, allowed] {
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter_all_threads(&program)?;
    }
    Ok(())
}

fn rules() -> Result<Rules, Error> {
    let plain = FILES.iter().chain(PROCESS).chain(OLDER);
    let mut rules: Rules = plain.map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    let thread = (0, SeccompCmpOp::MaskedEq(THREAD), THREAD);
    rules.insert(libc::SYS_clone, vec![rule(thread)?]);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let not_run = (2, SeccompCmpOp::MaskedEq(EXECUTABLE), 0);
        rules.insert(call, vec![rule(not_run)?]);
    }
    let own = u64::from(std::process::id());
    // An abort; of no other process.
    rules.insert(libc::SYS_tgkill, vec![rule((0, SeccompCmpOp::Eq, own))?]);
    // A thread asks for the size of its stack; limits are read, and of this process alone.
    let read = vec![condition((0, SeccompCmpOp::Eq, 0))?, {
        SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?
    }];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(read)?]);
    rules.insert(libc::SYS_ioctl, one_of(1, REQUESTS)?);
    rules.insert(libc::SYS_prctl, one_of(0, NAMES)?);
    Ok(rules)
}

/// An argument's number, how it is compared, and with what.
type Comparison = (u8, SeccompCmpOp, u64);

fn condition((argument, operation, value): Comparison) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operation,
        value,
    )?)
}

fn rule(comparison: Comparison) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(vec![condition(comparison)?])?)
}

fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, Error> {
    let rules = values.iter();
    rules
        .map(|value| rule((argument, SeccompCmpOp::Eq, *value)))
        .collect()
}
