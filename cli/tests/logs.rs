//! Logs for collectors: every field that an event of the code names stands in the manual, and nothing else does; the lines of a real run
//! are JSON, have these fields only, and say whose they are.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{Program, Run};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));
/// What lines have that no event names: it comes from the process, or from what is told beside the log.
const OF_THE_LINE: &[&str] = &["timestamp", "level", "message", "target", "summary"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The fields in the manual with their types.
fn documented() -> BTreeMap<String, String> {
    let manual = std::fs::read_to_string(workspace().join("docs/how-to/logs.md")).unwrap();
    let row = |line: &str| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    };
    let rows: Vec<_> = manual.lines().filter_map(row).collect();
    let fields: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(fields.len(), rows.len(), "a field stands twice in the manual: {rows:?}");
    fields
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => Vec::from([path]),
    };
    paths.flat_map(found).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The fields of an event: what stands before its message, `name = value` or `name` with or without a sigil.
fn fields_of(arguments: &str) -> Vec<&str> {
    let (mut fields, mut start, mut depth, mut is_text) = (Vec::new(), 0, 0, false);
    for (place, character) in arguments.char_indices() {
        match character {
            '"' if depth == 0 && arguments[start..place].trim().is_empty() => break,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                let argument = arguments[start..place].trim();
                let name = argument.split('=').next().unwrap().trim();
                fields.push(name.trim_start_matches(['%', '?']));
                start = place + 1;
            }
            _ => {}
        }
    }
    fields
}

/// The fields that the events of a text name.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let events = ["error", "warn", "info", "debug"].map(|level| format!("tracing::{level}!("));
    events.into_iter().flat_map(move |event| {
        code.match_indices(&event)
            .flat_map(|(place, event)| fields_of(&code[place + event.len()..]))
            .collect::<Vec<_>>()
    })
}

#[test]
fn the_manual_has_the_fields_that_the_code_names_and_no_others() {
    let mut fields: BTreeSet<String> = OF_THE_LINE.iter().map(|name| (*name).to_owned()).collect();
    let mut events = 0;
    for member in ["common", "store", "worker", "learner", "actor", "cli", "web"] {
        for path in sources(&workspace().join(member).join("src")) {
            let text = std::fs::read_to_string(path).unwrap();
            events += text.matches("tracing::info!(").count();
            fields.extend(named(&text).map(str::to_owned));
        }
    }
    assert!(events > 20, "only {events} events were found: the test reads the wrong files");
    let documented: BTreeSet<_> = documented().into_keys().collect();
    let (missing, gone): (Vec<_>, Vec<_>) =
        (fields.difference(&documented).collect(), documented.difference(&fields).collect());
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in docs/how-to/logs.md: {missing:?}; not in the code: {gone:?}"
    );
}

#[test]
fn fields_are_found_in_events() {
    let text = r#"tracing::info!(
            learner = %url(1, 2),
            ?hidden, index = a.b().c == "x, y",
            "registered, as {} = {}", 1, 2
        ); tracing::warn!("{text}, {}", a = 1); tracing::error!(%error, "no");"#;
    assert_eq!(named(text).collect::<Vec<_>>(), ["error", "learner", "hidden", "index"]);
}

/// The lines of a log, each of which must be an object with documented fields of their types.
fn lines(text: &str) -> Vec<Map<String, Value>> {
    let documented = documented();
    let line = |line: &str| {
        let Ok(Value::Object(line)) = serde_json::from_str(line) else { panic!("not an object: {line}") };
        for (name, value) in &line {
            let kind = match value {
                Value::String(_) => "string",
                Value::Number(_) => "number",
                Value::Bool(_) => "boolean",
                Value::Object(_) => "object",
                Value::Null | Value::Array(_) => "another",
            };
            assert_eq!(documented.get(name).map(String::as_str), Some(kind), "`{name}` in {line:?}");
        }
        for name in ["timestamp", "level", "message"] {
            assert!(line.contains_key(name), "no `{name}` in {line:?}");
        }
        line
    };
    text.lines().map(line).collect()
}

#[test]
fn lines_of_a_run_are_json_and_say_whose_they_are() {
    let run = Run::of(IMPALA);
    let output = run.train(&["--actors", "2", "--log-format", "json", "--eval-interval", "0.01"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let directory = run.directory();
    let name = directory.file_name().unwrap().to_str().unwrap();
    let of_this_run = |line: &Map<String, Value>| line.get("run").and_then(Value::as_str) == Some(name);
    let read = |file: &str| lines(&std::fs::read_to_string(directory.join(file)).unwrap());

    let learner = read("learner.log");
    assert!(learner.len() > 8 && learner.iter().all(of_this_run), "{learner:?}");
    let verified = learner.iter().find(|line| line["message"] == "the policy is verified").unwrap();
    assert!(verified["version"].as_u64() > Some(0), "{verified:?}");

    for index in 0..2_u64 {
        let actor = read(&format!("actor-{index}.log"));
        let is_its_own = |line: &Map<String, Value>| line["actor"] == format!("actor-{index}");
        assert!(actor.iter().all(is_its_own), "{actor:?}");
        let registered = actor.iter().position(|line| line["message"] == "registered").unwrap();
        let since = &actor[registered..];
        assert!(since.len() > 1 && since.iter().all(|line| of_this_run(line) && line["index"] == index), "{actor:?}");
        let seen =
            learner.iter().filter(|line| line.get("actor").is_some_and(|actor| actor == &format!("actor-{index}")));
        assert!(seen.clone().count() >= 2 && seen.clone().all(|line| line["index"] == index), "{learner:?}");
    }

    let printed = lines(&String::from_utf8(output.stdout).unwrap());
    assert!(printed.len() == 1 && of_this_run(&printed[0]), "{printed:?}");
    assert_eq!(printed[0]["summary"]["end"], "solved");
}
