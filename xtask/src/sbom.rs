//! The bill of materials: CycloneDX 1.5, JSON, the same for the same lock file: no time, no serial number.

use std::fs;

use serde_json::{Value, json};

use crate::run::{Outcome, root};
use crate::supply::{self, Package};

/// What the program is made of.
pub fn document() -> Outcome<Value> {
    let packages = supply::linked("core2dmp-cli")?;
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    Ok(of(&packages, &lock))
}

fn of(packages: &[Package], lock: &str) -> Value {
    let is_program = |package: &&Package| package.name == "core2dmp-cli";
    let program = packages
        .iter()
        .find(is_program)
        .map(|p| component(p, lock, "application"));
    let libraries = packages.iter().filter(|package| !is_program(package));
    let components: Vec<Value> = libraries.map(|p| component(p, lock, "library")).collect();
    let dependencies: Vec<Value> = packages
        .iter()
        .map(|package| {
            let linked = packages
                .iter()
                .filter(|other| package.links.contains(&other.id));
            let names: Vec<String> = linked.map(reference).collect();
            json!({ "ref": reference(package), "dependsOn": names })
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
        "dependencies": dependencies,
    })
}

/// The package's address, which is its name in the document, too.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, lock: &str, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "purl": reference(package),
        "scope": "required",
    });
    if let Some(licence) = &package.licence {
        // The slash of older packages is no SPDX.
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let Some(sum) = checksum(lock, package) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// Of the package as the registry has it.
fn checksum(lock: &str, package: &Package) -> Option<String> {
    let name = format!("name = \"{}\"", package.name);
    let version = format!("version = \"{}\"", package.version);
    let entry = lock.split("[[package]]").find(|entry| {
        let has = |wanted: &str| entry.lines().any(|line| line == wanted);
        has(&name) && has(&version)
    })?;
    let line = entry
        .lines()
        .find_map(|line| line.strip_prefix("checksum = \""))?;
    Some(line.trim_end_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_there_once_with_its_checksum() {
        let document = document().unwrap();
        let components = document["components"].as_array().unwrap();
        assert!(components.len() > 20);
        let mut names: Vec<&str> = components
            .iter()
            .map(|c| c["bom-ref"].as_str().unwrap())
            .collect();
        for component in components.iter().filter(|c| {
            let name = c["name"].as_str().unwrap();
            !name.starts_with("core2dmp")
        }) {
            let sum = component["hashes"][0]["content"].as_str().unwrap();
            assert_eq!(sum.len(), 64, "{component}");
            assert!(
                component["licenses"][0]["expression"].is_string(),
                "{component}"
            );
        }
        names.push(
            document["metadata"]["component"]["bom-ref"]
                .as_str()
                .unwrap(),
        );
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        // Whatever is linked is described.
        for entry in document["dependencies"].as_array().unwrap() {
            for name in entry["dependsOn"].as_array().unwrap() {
                assert!(names.contains(&name.as_str().unwrap()), "{name}");
            }
        }
    }
}
