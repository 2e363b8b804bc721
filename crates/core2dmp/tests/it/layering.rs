//! Keeps the modules in their order.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Each may import only itself and those before it.
const ORDER: [&str; 19] = [
    "address",
    "text",
    "error",
    "progress",
    "format",
    "header",
    "source",
    "codec",
    "memory",
    "image",
    "container",
    "paging",
    "windows",
    "measure",
    "open",
    "dump",
    "export",
    "audit",
    "write",
];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The names behind `crate::` or `super::` in a line of code.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    ["crate::", "super::"]
        .into_iter()
        .flat_map(|path| code.split(path).skip(1))
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
}

#[test]
fn modules_import_only_those_before_them() -> Outcome<()> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rank = |name: &str| ORDER.iter().position(|module| *module == name);
    let (mut files, mut wrong) = (Vec::new(), Vec::new());
    sources(&src, &mut files)?;
    for file in &files {
        let name = file.strip_prefix(&src)?;
        let text = std::fs::read_to_string(file)?;
        let module = name.with_extension("");
        let module = module.iter().next().and_then(|first| first.to_str());
        let Some(own) = module.filter(|module| *module != "lib").map(rank) else {
            continue;
        };
        let own = own.ok_or_else(|| format!("{} has no place in the order", name.display()))?;
        for (number, line) in text.lines().enumerate() {
            // A group would hide names from this test.
            let group = line.contains("crate::{");
            if group || imports(line).filter_map(rank).any(|other| other > own) {
                wrong.push(format!(
                    "{}:{}: {}",
                    name.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(files.len() > ORDER.len(), "the sources are elsewhere");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
