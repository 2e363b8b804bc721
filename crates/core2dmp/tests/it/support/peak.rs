//! What the kernel counts of this process: Linux, proc(5).

/// The most memory that this process ever had, in bytes.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Whether this process runs `test` and nothing else, since the peak is the whole process'; if not, `test` has passed in a
/// process of its own.
pub(crate) fn alone(test: &str) -> bool {
    if std::env::var_os("CORE2DMP_TEST_ALONE").is_some_and(|name| name == test) {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("CORE2DMP_TEST_ALONE", test)
        .output()
        .unwrap();
    let [printed, errors] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{printed}");
    // A name that no test has runs none, and that is a success, too.
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{test}: {}\n{errors}",
        output.status
    );
    false
}
