//! docs/json-schema says what the program prints, and the program prints what it says.

use std::path::Path;
use std::sync::LazyLock;

use core2dmp_synth::{CrashRecord, GuestRecord, GuestSpec};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::run::{run, scratch};

/// The published schema allows keys to be added and to go away; the test does not: what the program prints today is
/// what is documented today.
static STRICT: LazyLock<Validator> = LazyLock::new(|| {
    let mut schema = published();
    tighten(&mut schema["$defs"]);
    jsonschema::validator_for(&schema).unwrap()
});

fn published() -> Value {
    let text = include_str!("../../../../docs/json-schema/core2dmp.schema.json");
    serde_json::from_str(text).unwrap()
}

/// Makes every key required and every other key forbidden.
fn tighten(schema: &mut Value) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let keys: Vec<Value> = properties.keys().cloned().map(Value::from).collect();
        let object = schema.as_object_mut().unwrap();
        object.insert("required".to_owned(), keys.into());
        object.insert("additionalProperties".to_owned(), false.into());
    }
    match schema {
        Value::Object(object) => object.values_mut().for_each(tighten),
        Value::Array(values) => values.iter_mut().for_each(tighten),
        _ => {}
    }
}

/// Holds a document to the schema.
#[track_caller]
pub(crate) fn check(document: &Value) {
    let errors: Vec<String> = STRICT
        .iter_errors(document)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::meta::is_valid(&published()));
    let empty = json!({ "schema": 1, "program": "core2dmp 1.0", "command": "info" });
    let published = jsonschema::validator_for(&published()).unwrap();
    assert!(published.is_valid(&empty), "every field is optional");
    assert!(!STRICT.is_valid(&empty));
    let wrong = json!({ "schema": 1, "program": "core2dmp 1.0", "command": "info", "file": 7 });
    assert!(!published.is_valid(&wrong));
}

#[test]
fn every_key_is_explained() {
    let manual = include_str!("../../../../docs/json.md");
    let mut keys = Vec::new();
    collect(&published()["$defs"], &mut keys);
    for key in keys {
        assert!(
            manual.contains(&format!("\"{key}\"")),
            "docs/json.md lacks {key}"
        );
    }
}

fn collect(schema: &Value, keys: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    keys.extend(properties.into_iter().flat_map(Map::keys).cloned());
    match schema {
        Value::Object(object) => object.values().for_each(|value| collect(value, keys)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn errors_and_dry_runs_keep_to_it() {
    let folder = scratch();
    let core = folder.path().join("guest.core");
    let crash = GuestSpec::windows10().crash_record(CrashRecord::PageFault);
    crash.build().xen_core().write_file(&core).unwrap();
    let dry = run(&["convert", "--json", "--dry-run"], &[&core])
        .expect_code(0)
        .json();
    check(&dry);
    assert_eq!(
        (&dry["written"], &dry["error"]),
        (&json!(false), &Value::Null)
    );
    let absent = folder.path().join("absent");
    for command in ["info", "convert"] {
        let outcome = run(&[command, "--json"], &[&absent]).expect_code(2);
        assert!(outcome.stderr.starts_with("error: cannot open "));
        check(&outcome.json());
    }
    std::fs::write(folder.path().join("text"), "no container").unwrap();
    let text = run(&["info", "--json"], &[&folder.path().join("text")])
        .expect_code(2)
        .json();
    check(&text);
    assert_eq!(text["container"], Value::Null);
    assert!(
        text["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("not a container")
    );
}

#[test]
fn a_guest_record_keeps_to_it() {
    let folder = scratch();
    let core = folder.path().join("guest.core");
    let stopped = GuestSpec::windows2003_x64().crashed(0xd1, [1, 2, 3, 4]);
    let guest = stopped.guest_record(GuestRecord::new()).build();
    guest.xen_core().write_file(&core).unwrap();
    let info = run(&["info", "--json"], &[&core]).expect_code(0).json();
    check(&info);
    let record = &info["windows"]["records"][0];
    assert_eq!(
        (&record["state"], &record["stop_code"], &record["confirmed"]),
        (&json!("refreshed"), &json!("0xd1"), &json!(true))
    );
    let known = &guest.expected.guest_records[0];
    assert_eq!(record["gpa"], json!(format!("{:#x}", known.gpa)));
}

#[test]
fn a_stream_leaves_stdout_to_the_dump() {
    let folder = scratch();
    let core = folder.path().join("guest.core");
    GuestSpec::windows7()
        .build()
        .xen_core()
        .write_file(&core)
        .unwrap();
    let outcome = run(&["convert", "--json"], &[&core, Path::new("-")]).expect_code(0);
    let document: Value = serde_json::from_str(&outcome.stderr).unwrap();
    check(&document);
    assert_eq!(document["output"], "-");
    assert_eq!(document["dump"]["size"], outcome.stdout.len());
    assert_eq!(&outcome.stdout[..8], b"PAGEDU64");
}
