//! What an engine said, of all that it printed.

/// Lines of the engine that a row shows.
const MAX_WORDS: usize = 3;

/// What the engine complained of, once each, without the name of the file.
pub fn words(text: &str) -> String {
    const MARKS: [&str; 17] = [
        "Could not match",
        "Could not open dump",
        "CORRUPT",
        "Invalid number",
        "Invalid directory",
        "KernBase <",
        "Dump file",
        "Dump header",
        "Unable to initialize",
        "Unable to read PsLoaded",
        "can not determine",
        "could not be read",
        "is NULL",
        "not available!",
        "partially valid",
        "Unknown exception",
        "is wrong",
    ];
    let mut said: Vec<String> = Vec::new();
    let facts = ["OpenDumpFile=", "WaitForEvent="];
    for line in text.lines().map(str::trim) {
        let failed = facts.iter().any(|fact| {
            let code = line.strip_prefix(fact);
            code.is_some_and(|code| code != "00000000")
        });
        if !failed && (line.starts_with("FAIL=") || !MARKS.iter().any(|mark| line.contains(mark))) {
            continue;
        }
        let line = without_name(line);
        if !said.contains(&line) {
            said.push(line);
        }
    }
    if said.is_empty() {
        let failed = text.lines().filter_map(|line| line.strip_prefix("FAIL="));
        said = failed.map(without_name).collect();
        said.dedup();
    }
    said.truncate(MAX_WORDS);
    said.join("; ")
}

/// A line without the `[file]` in it.
fn without_name(line: &str) -> String {
    match (line.find(" ["), line.find(']')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", &line[..start], &line[end + 1..])
        }
        _ => line.to_owned(),
    }
}

/// Whether the engine said what was predicted. Texts of error codes are the operating system's.
pub fn said(text: &str, predicted: &str) -> bool {
    let text = text.lines().map(without_name).collect::<Vec<_>>();
    let text = text.join("\n").to_lowercase();
    let predicted = predicted.to_lowercase();
    predicted
        .split(['.', ';', ':', ','])
        .map(str::trim)
        .filter(|part| !part.starts_with("the ") && !part.ends_with(" failed"))
        .all(|part| text.contains(part))
}
