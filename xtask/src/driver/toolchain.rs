//! What builds a driver of each target: a compiler with `core` for it, and a linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{IMAGE, folder, workspace};
use crate::run::{Outcome, have, show};

/// A driver: what it is called, rustc's target, and how it is linked.
pub(super) struct Target {
    pub(super) name: &'static str,
    triple: &'static str,
    linker: Linker,
    /// Its sources of `core` have to be built here: no toolchain brings them.
    is_own: bool,
}

enum Linker {
    /// Microsoft's flavour, with the least Windows that the image names.
    Lld(&'static str),
    /// mingw's gcc of this name, and what it calls the entry.
    Mingw(&'static str, &'static str),
}

/// 5.02 is Server 2003; Windows on ARM64 begins with 10.
pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "x64-msvc",
        triple: "x86_64-pc-windows-msvc",
        linker: Linker::Lld("5.02"),
        is_own: false,
    },
    Target {
        name: "x64-gnu",
        triple: "x86_64-pc-windows-gnu",
        linker: Linker::Mingw("x86_64-w64-mingw32-gcc", "DriverEntry"),
        is_own: false,
    },
    Target {
        name: "arm64-msvc",
        triple: "aarch64-pc-windows-msvc",
        linker: Linker::Lld("10.00"),
        is_own: false,
    },
    // A kernel of 32 bit must not use SSE, which rustc's own targets cannot do without.
    Target {
        name: "x86-msvc",
        triple: "i686-kernel-windows-msvc",
        linker: Linker::Lld("5.02"),
        is_own: true,
    },
    Target {
        name: "x86-gnu",
        triple: "i686-kernel-windows-gnu",
        linker: Linker::Mingw("i686-w64-mingw32-gcc", "_DriverEntry@8"),
        is_own: true,
    },
];

/// Where guest-driver/README.md unpacks Debian's packages.
const DEBIAN: &str = "/opt/rust-web/root/usr/bin/rustc";
/// What builds a target.
pub(super) struct Toolchain {
    rustc: PathBuf,
    /// `core` is built from the sources beside the compiler.
    from_source: bool,
    linker: PathBuf,
}

impl Toolchain {
    /// `Err` says what is missing, and how it is had.
    pub(super) fn find(target: &Target) -> Outcome<Self> {
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
            Linker::Mingw(gcc, _) if have(gcc) => PathBuf::from(gcc),
            Linker::Mingw(gcc, _) => {
                return Err(format!("no {gcc} (apt-get install mingw-w64)").into());
            }
        };
        Ok(Self {
            rustc,
            from_source,
            linker,
        })
    }

    /// Whether `core` has to be built from its sources, and has not been yet.
    pub(super) fn is_slow(&self, target: &Target) -> bool {
        self.from_source && !folder().join("target").join(target.name).is_dir()
    }

    pub(super) fn build(&self, target: &Target) -> Outcome<PathBuf> {
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
        let own = folder().join("target").join(target.name);
        build.arg("--target-dir").arg(&own);
        quietly(&mut build)?;
        let built = own.join(target.triple).join("release");
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
            Linker::Mingw(_, entry) => [
                "-nostartfiles".to_owned(),
                "-nostdlib".to_owned(),
                "-Wl,--subsystem,native:5.02".to_owned(),
                format!("-Wl,-e,{entry}"),
                "-Wl,--gc-sections".to_owned(),
            ]
            .into(),
        };
        let flavour = match target.linker {
            Linker::Lld(_) => "lld-link",
            Linker::Mingw(..) => "gcc",
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

/// Runs a command beside others; what it prints is printed if it fails.
fn quietly(command: &mut Command) -> Outcome {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (output.stdout, output.stderr);
    let text = String::from_utf8_lossy(&[out, err].concat()).into_owned();
    Err(format!("`{}` failed\n{text}", show(command)).into())
}
