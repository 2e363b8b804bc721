//! What the program is made of: `cargo xtask supply` checks it against deny.toml and README; `dist` lists it in the
//! SBOM.
//!
//! ```text
//! cargo metadata (this machine's target, the lock file)  -->  packages that the program links
//!     licences, bans, sources   against deny.toml, where cargo-deny is not installed as well
//!     how many                  against the number in README
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::run::{Outcome, cargo, root};

/// The only place that packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// The package that is shipped.
const PROGRAM: &str = "core2dmp-cli";

/// A package.
#[derive(Debug, Clone)]
pub struct Package {
    /// Cargo's identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression, if it names one.
    pub licence: Option<String>,
    /// Where it comes from; `None` for a member of this workspace.
    pub source: Option<String>,
    /// Where it is developed.
    pub repository: Option<String>,
    /// What it links; identifiers.
    pub links: Vec<String>,
}

/// `cargo xtask supply`.
pub fn task(_arguments: &[String]) -> Outcome {
    let packages = linked(PROGRAM)?;
    let others: Vec<&Package> = packages.iter().filter(|p| p.source.is_some()).collect();
    let deny = fs::read_to_string(root().join("deny.toml"))?;
    let mut wrong = complaints(&others, &deny);
    wrong.extend(count_in_readme(others.len())?);
    for (name, versions) in doubled(&others) {
        println!("    two versions of {name}: {}", versions.join(", "));
    }
    println!("    {} third-party crates in the program", others.len());
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// The packages that a package links, itself included, sorted by name; for this machine.
pub fn linked(name: &str) -> Outcome<Vec<Package>> {
    let target = host()?;
    let output = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        &target,
    ])
    .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    select(&serde_json::from_slice(&output.stdout)?, name)
}

/// This machine's target.
pub fn host() -> Outcome<String> {
    let text = crate::run::text_of("rustc", &["-vV"]).ok_or("rustc does not run")?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or("rustc names no host")?.to_owned())
}

fn select(metadata: &Value, name: &str) -> Outcome<Vec<Package>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all: BTreeMap<String, Package> = BTreeMap::new();
    for package in array(&metadata["packages"]) {
        let id = text(&package["id"]).ok_or("a package without an identifier")?;
        let field = |key: &str| text(&package[key]);
        all.insert(
            id.clone(),
            Package {
                id,
                name: field("name").unwrap_or_default(),
                version: field("version").unwrap_or_default(),
                licence: field("license"),
                source: field("source"),
                repository: field("repository"),
                links: Vec::new(),
            },
        );
    }
    for node in array(&metadata["resolve"]["nodes"]) {
        let links = array(&node["deps"])
            .iter()
            // Neither what tests need nor what runs while building.
            .filter(|dep| {
                array(&dep["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].is_null())
            })
            .filter_map(|dep| text(&dep["pkg"]))
            .collect();
        if let Some(package) = text(&node["id"]).and_then(|id| all.get_mut(&id)) {
            package.links = links;
        }
    }
    let start = all.values().find(|p| p.source.is_none() && p.name == name);
    let mut wanted = vec![start.ok_or("no such package")?.id.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = wanted.pop() {
        if seen.insert(id.clone()) {
            wanted.extend(all.get(&id).map(|p| p.links.clone()).unwrap_or_default());
        }
    }
    let mut found: Vec<Package> = all.into_values().filter(|p| seen.contains(&p.id)).collect();
    found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(found)
}

/// What deny.toml forbids. Its lists are read as text: they are ours, one entry a line.
fn complaints(packages: &[&Package], deny: &str) -> Vec<String> {
    let listed = |from: &str, to: &str| -> Vec<String> {
        let rest = deny.split_once(from).map_or("", |(_, rest)| rest);
        let list = rest.split_once(to).map_or("", |(list, _)| list);
        let quoted = list.lines().filter_map(|line| line.split('"').nth(1));
        quoted.map(str::to_owned).collect()
    };
    let allowed = listed("\nallow = [", "\n]");
    let banned = listed("\ndeny = [", "\n]");
    let mut wrong = Vec::new();
    if allowed.is_empty() || banned.is_empty() {
        wrong.push("deny.toml has other lists than are read here".to_owned());
    }
    for package in packages {
        let Package { name, version, .. } = package;
        if package.source.as_deref() != Some(REGISTRY) {
            wrong.push(format!("{name} {version} is not from crates.io"));
        }
        if banned.contains(name) {
            wrong.push(format!("{name} {version} is banned"));
        }
        let licence = package.licence.as_deref().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            wrong.push(format!("{name} {version} has the licence {licence}"));
        }
    }
    wrong
}

/// Whether an SPDX expression can be met with these licences: one side of each OR, both of each AND.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    // Older packages write a slash for OR.
    let spaced = spaced.replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest, allowed) == Some(true) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = both(rest, allowed)?;
    while let Some((&"OR", later)) = rest.split_first() {
        *rest = later;
        met |= both(rest, allowed)?;
    }
    Some(met)
}

fn both(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = single(rest, allowed)?;
    while let Some((&"AND", later)) = rest.split_first() {
        *rest = later;
        met &= single(rest, allowed)?;
    }
    Some(met)
}

fn single(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let (first, later) = rest.split_first()?;
    *rest = later;
    if *first == "(" {
        let met = either(rest, allowed)?;
        let (close, later) = rest.split_first()?;
        *rest = later;
        return (*close == ")").then_some(met);
    }
    let mut licence = (*first).to_owned();
    if let [exception @ ("WITH" | "with"), name, later @ ..] = *rest {
        licence = format!("{licence} {} {name}", exception.to_uppercase());
        *rest = later;
    }
    Some(allowed.contains(&licence))
}

/// Names of which there is more than one version.
fn doubled<'p>(packages: &[&'p Package]) -> BTreeMap<&'p str, Vec<&'p str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

/// README says how many; `None` if it is right.
fn count_in_readme(count: usize) -> Outcome<Option<String>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let right = format!("depends on {count} third-party crates");
    if readme.replace('\n', " ").contains(&right) {
        return Ok(None);
    }
    Ok(Some(format!("README.md does not say \"{right}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_expressions() {
        let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "",
            "none",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "MIT MIT",
            "Apache-2.0",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn what_is_forbidden_is_found() {
        let package = |name: &str, licence: &str, source: &str| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: Some(licence.to_owned()),
            source: Some(source.to_owned()),
            repository: None,
            links: Vec::new(),
        };
        let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
        let found = |package: &Package| complaints(&[package], &deny);
        assert!(found(&package("good", "MIT", REGISTRY)).is_empty());
        assert_eq!(found(&package("openssl", "MIT", REGISTRY)).len(), 1);
        assert_eq!(found(&package("x", "AGPL-3.0", REGISTRY)).len(), 1);
        assert_eq!(
            found(&package("x", "MIT", "git+https://example.org")).len(),
            1
        );
    }
}
