//! `cargo xtask driver [--no-run] [TARGET ...]`: the guest driver of each architecture, as far as this machine can
//! build it, and its harness on what was built.
//!
//! ```text
//! guest-driver/shim --rustc for Windows, or core from its sources--> core2dmp-guest.sys --checksum--> target/driver/
//!                                                                                            \--> cargo test -p harness
//! ```
//!
//! `core` for a target comes with rustup's target, or is built from the sources beside a compiler: those of
//! `CORE2DMP_DRIVER_RUSTC`, of `rustc` itself (rustup's `rust-src`), or of Debian's rustc-web as guest-driver/README.md
//! unpacks it. What is missing is reported, target by target.
//!
//! Drivers of other machines run in Unicorn, whose library is taken out of its wheel on PyPI. `ci` takes what is there
//! and fetches nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::run::{Outcome, cargo, check, have, root, target_dir};

/// A driver: what it is called, rustc's target, and how it is linked.
struct Target {
    name: &'static str,
    triple: &'static str,
    linker: Linker,
    /// Its sources of `core` have to be built here: no toolchain brings them.
    is_own: bool,
}

enum Linker {
    /// Microsoft's flavour, with the least Windows that the image names.
    Lld(&'static str),
    /// mingw's gcc of this name.
    Mingw(&'static str),
}

/// 5.02 is Server 2003; Windows on ARM64 begins with 10.
const TARGETS: &[Target] = &[
    Target {
        name: "x64-msvc",
        triple: "x86_64-pc-windows-msvc",
        linker: Linker::Lld("5.02"),
        is_own: false,
    },
    Target {
        name: "x64-gnu",
        triple: "x86_64-pc-windows-gnu",
        linker: Linker::Mingw("x86_64-w64-mingw32-gcc"),
        is_own: false,
    },
    Target {
        name: "arm64-msvc",
        triple: "aarch64-pc-windows-msvc",
        linker: Linker::Lld("10.00"),
        is_own: false,
    },
    // A kernel of 32 bit must not use SSE, which rustc's own target cannot do without.
    Target {
        name: "x86-msvc",
        triple: "i686-kernel-windows-msvc",
        linker: Linker::Lld("5.02"),
        is_own: true,
    },
];

/// Why mingw's 32-bit target is not in the table.
const NOT_BUILT: &str = "x86-gnu: not built; rustc's target needs SSE and start files of mingw (x86-msvc is the 32-bit driver)";
/// Where guest-driver/README.md unpacks Debian's packages.
const DEBIAN: &str = "/opt/rust-web/root/usr/bin/rustc";
const IMAGE: &str = "core2dmp-guest";
/// The version whose numbers the harness has.
const UNICORN: &str = "unicorn==2.1.4";

/// Builds all that can be, says what could not, and runs the harness.
pub fn task(arguments: &[String]) -> Outcome {
    let run = !arguments.iter().any(|argument| argument == "--no-run");
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| TARGETS.iter().all(|t| t.name != **name))
    {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!(
            "no driver is named {unknown}; there are {}",
            names.join(", ")
        )
        .into());
    }
    let targets: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| wanted.is_empty() || wanted.iter().any(|name| *name == target.name))
        .collect();
    let outcomes = build(&targets)?;
    println!();
    for (name, outcome) in outcomes {
        println!("    {name:12} {outcome}");
    }
    println!("    {NOT_BUILT}");
    if run {
        if let Err(why) = fetch_unicorn() {
            eprintln!("==> emulator: SKIPPED, {why}");
        }
        harness(true)?;
    }
    Ok(())
}

/// Builds what can be; what came of each.
fn build(targets: &[&'static Target]) -> Outcome<Vec<(&'static str, String)>> {
    let mut outcomes = Vec::new();
    for target in targets {
        let outcome = match Toolchain::find(target) {
            Ok(toolchain) => {
                println!("==> driver {}", target.name);
                let image = toolchain.build(target)?;
                let bytes = fs::metadata(&image)?.len();
                format!("built, {bytes} bytes: {}", show(&image))
            }
            Err(why) => format!("NOT BUILT: {why}"),
        };
        outcomes.push((target.name, outcome));
    }
    Ok(outcomes)
}

/// The harness, with the program that it converts by. `thorough`: the host is asked after each of thousands of stores,
/// not after those that publish something and some between, and Microsoft's engine where it is set up.
fn harness(thorough: bool) -> Outcome {
    check(&mut cargo(&["build", "--package", "core2dmp-cli"]))?;
    let program = target_dir()
        .join("debug")
        .join(format!("core2dmp{}", std::env::consts::EXE_SUFFIX));
    let mut tests = beside(&["test", "--package", "guest-harness"]);
    tests.env("CORE2DMP_PROGRAM", std::path::absolute(program)?);
    if thorough {
        tests.env("CORE2DMP_THOROUGH", "1");
    }
    check(&mut tests)
}

/// Takes Unicorn's library out of its wheel, which is a zip.
fn fetch_unicorn() -> Outcome {
    const UNPACK: &str = "import glob, sys, zipfile\n\
        wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/unicorn-*.whl')[0])\n\
        open(sys.argv[1] + '/libunicorn.so.2', 'wb').write(wheel.read('unicorn/lib/libunicorn.so.2'))\n";
    let folder = folder().join("target").join("unicorn");
    if folder.join("libunicorn.so.2").is_file() {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "-q", "download", "--no-deps"]);
    download.args(["--only-binary=:all:", "-d"]).arg(&folder);
    check(download.arg(UNICORN))?;
    check(Command::new("python3").args(["-c", UNPACK]).arg(&folder))
}

/// What `ci` runs: the logic always, images where they can be built.
pub fn short() -> Outcome<String> {
    for arguments in [
        &["fmt", "--all", "--check"][..],
        &["clippy", "--all-targets", "--", "-D", "warnings"],
        &["test", "--package", "guest-record"],
    ] {
        check(&mut beside(arguments))?;
    }
    let mut can = Vec::new();
    for target in TARGETS {
        match Toolchain::find(target) {
            Ok(_) => can.push(target),
            Err(why) => eprintln!("==> driver {}: SKIPPED, {why}", target.name),
        }
    }
    if can.is_empty() {
        return Ok("logic ok; every .sys SKIPPED, see above".to_owned());
    }
    let start = Instant::now();
    build(&can)?;
    harness(false)?;
    Ok(format!(
        "logic ok; {} of {} .sys in {:.1} s",
        can.len(),
        TARGETS.len(),
        start.elapsed().as_secs_f64()
    ))
}

fn folder() -> PathBuf {
    root().join("guest-driver")
}

fn show(path: &Path) -> String {
    let shown = path.strip_prefix(root()).unwrap_or(path);
    shown.display().to_string()
}

/// `cargo` in the driver's workspace for what runs here: it shares the target folder of this one, and what both need.
fn beside(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.current_dir(folder());
    command.env("CARGO_TARGET_DIR", target_dir());
    command
}

/// `cargo` in the driver's workspace for what runs in Windows, with a target folder of its own.
fn workspace(arguments: &[&str]) -> Command {
    let mut command = cargo(arguments);
    command.current_dir(folder()).env_remove("CARGO_TARGET_DIR");
    command
}

/// What builds a target.
struct Toolchain {
    rustc: PathBuf,
    /// `core` is built from the sources beside the compiler.
    from_source: bool,
    linker: PathBuf,
}

impl Toolchain {
    /// `Err` says what is missing, and how it is had.
    fn find(target: &Target) -> Outcome<Self> {
        let (rustc, from_source) = compiler(target).ok_or_else(|| {
            format!(
                "no core for {}: `rustup target add`, `rustup component add rust-src`, or Debian's packages as in \
                 guest-driver/README.md",
                target.triple
            )
        })?;
        let linker = match target.linker {
            Linker::Lld(_) => {
                lld(&rustc).ok_or("no lld-link and no rust-lld (apt-get install lld)")?
            }
            Linker::Mingw(gcc) if have(gcc) => PathBuf::from(gcc),
            Linker::Mingw(gcc) => {
                return Err(format!("no {gcc} (apt-get install mingw-w64)").into());
            }
        };
        Ok(Self {
            rustc,
            from_source,
            linker,
        })
    }

    fn build(&self, target: &Target) -> Outcome<PathBuf> {
        let spec = folder()
            .join("shim")
            .join(format!("{}.json", target.triple));
        let triple = if target.is_own {
            spec.as_os_str()
        } else {
            target.triple.as_ref()
        };
        let mut build = workspace(&["build", "--release", "--package", IMAGE]);
        build.arg("--target").arg(triple);
        build
            .env("RUSTC", &self.rustc)
            .env("RUSTFLAGS", self.flags(target));
        if self.from_source {
            build.args(["-Zbuild-std=core,compiler_builtins"]);
            build.arg("-Zbuild-std-features=compiler-builtins-mem");
            build.env("RUSTC_BOOTSTRAP", "1");
            if let Some(libraries) = libraries(&self.rustc) {
                build.env("LD_LIBRARY_PATH", libraries);
            }
        }
        if target.is_own {
            // Pieces that small leave out 128-bit division, which wants functions of Microsoft's C library.
            build.args([
                "-Zjson-target-spec",
                "--config",
                "profile.release.codegen-units=1000",
            ]);
        }
        check(&mut build)?;
        let built = folder().join("target").join(target.triple).join("release");
        let mut image = fs::read(built.join(format!("{IMAGE}.exe")))?;
        put_checksum(&mut image)?;
        let to = folder().join("target").join("driver").join(target.name);
        fs::create_dir_all(&to)?;
        let to = to.join(format!("{IMAGE}.sys"));
        fs::write(&to, image)?;
        Ok(to)
    }

    fn flags(&self, target: &Target) -> String {
        let linker = self.linker.display();
        let arguments: Vec<String> = match target.linker {
            Linker::Lld(version) => [
                "/DRIVER".to_owned(),
                format!("/SUBSYSTEM:NATIVE,{version}"),
                "/ENTRY:DriverEntry".to_owned(),
                "/NODEFAULTLIB".to_owned(),
            ]
            .into(),
            Linker::Mingw(_) => [
                "-nostartfiles",
                "-nostdlib",
                "-Wl,--subsystem,native:5.02",
                "-Wl,-e,DriverEntry",
                "-Wl,--gc-sections",
            ]
            .map(str::to_owned)
            .into(),
        };
        let flavour = match target.linker {
            Linker::Lld(_) => "lld-link",
            Linker::Mingw(_) => "gcc",
        };
        let mut flags = format!("-Clinker={linker} -Clinker-flavor={flavour}");
        for argument in arguments {
            flags.push_str(" -Clink-arg=");
            flags.push_str(&argument);
        }
        flags
    }
}

/// A compiler that has `core` for the target, or its sources (`true`).
fn compiler(target: &Target) -> Option<(PathBuf, bool)> {
    let named = std::env::var_os("CORE2DMP_DRIVER_RUSTC").map(PathBuf::from);
    let candidates = named
        .into_iter()
        .chain([PathBuf::from("rustc"), PathBuf::from(DEBIAN)]);
    candidates.into_iter().find_map(|rustc| {
        let sysroot = PathBuf::from(ask(&rustc, &["--print", "sysroot"])?);
        let library = sysroot.join("lib").join("rustlib");
        let ready = !target.is_own && library.join(target.triple).join("lib").is_dir();
        let sources = library.join("src/rust/library/core/Cargo.toml").is_file();
        (ready || sources).then_some((rustc, !ready))
    })
}

fn ask(rustc: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(rustc);
    command.args(arguments);
    if let Some(libraries) = libraries(rustc) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where the libraries of a compiler are that was unpacked and not installed.
fn libraries(rustc: &Path) -> Option<PathBuf> {
    let usr = rustc.parent()?.parent().filter(|usr| usr.is_absolute())?;
    let libraries = usr.join("lib").join("x86_64-linux-gnu");
    libraries.is_dir().then_some(libraries)
}

/// Microsoft's flavour of lld: installed, or rustup's own.
fn lld(rustc: &Path) -> Option<PathBuf> {
    if have("lld-link") {
        return Some(PathBuf::from("lld-link"));
    }
    let numbered = (14..30).rev().map(|version| format!("lld-link-{version}"));
    numbered
        .into_iter()
        .find(|name| have(name))
        .map(PathBuf::from)
        .or_else(|| {
            let host = ask(rustc, &["--print", "host-tuple"])?;
            let sysroot = PathBuf::from(ask(Path::new("rustc"), &["--print", "sysroot"])?);
            let wrapper = sysroot
                .join("lib/rustlib")
                .join(host)
                .join("bin/gcc-ld/lld-link");
            wrapper.is_file().then_some(wrapper)
        })
}

/// Windows refuses a driver whose header has no checksum, and not every linker writes one: the words of the file added
/// with their carry, and its length (documented with `CheckSumMappedFile`).
fn put_checksum(image: &mut [u8]) -> Outcome {
    let at = image
        .get(0x3c..0x40)
        .and_then(|field| Some(u32::from_le_bytes(field.try_into().ok()?)))
        .map(|header| header as usize + 0x58)
        .filter(|at| at + 4 <= image.len())
        .ok_or("the image has no PE header")?;
    image[at..at + 4].fill(0);
    let words = image
        .chunks(2)
        .map(|word| u32::from(word[0]) | u32::from(*word.get(1).unwrap_or(&0)) << 8);
    let sum = words.fold(0_u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    let sum = sum + u32::try_from(image.len())?;
    image[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}
