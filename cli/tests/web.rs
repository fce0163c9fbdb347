//! The live view of a run, as a browser asks for it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{ENDLESS, Program, Run, asked, get};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

/// Where the metrics of a run that trains are.
fn metrics(run: &Run) -> String {
    run.wait_for_training();
    let log = fs::read_to_string(run.directory().join("learner.log")).unwrap();
    log.split_once("metrics at http://").unwrap().1.split_once("/metrics").unwrap().0.to_owned()
}

fn json(address: &str, path: &str) -> Value {
    serde_json::from_str(&get(address, path).1).unwrap()
}

/// The data of the first event of this name.
fn event(address: &str, name: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.find(|line| *line == format!("event: {name}")).unwrap();
    serde_json::from_str(lines.next().unwrap().strip_prefix("data: ").unwrap()).unwrap()
}

fn stop(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_page_of_a_run_shows_what_the_run_tells_and_the_newest_policy_plays() {
    let run = Run::of(IMPALA);
    let _training = run.endless();
    let address = metrics(&run);
    let (head, page) = get(&address, "/");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(page.contains("<title>impala</title>"), "{page}");
    let about = json(&address, "/api/about");
    assert_eq!(about["run"].as_str(), run.directory().file_name().unwrap().to_str());
    assert_eq!((&about["environment"], &about["goal"]), (&"cartpole-v1".into(), &501.0.into()));
    assert!(about["settings"].as_str().unwrap().contains("\nseed = 1\n"), "{about}");
    // The second actor may be on its way still.
    let told = asked("both actors", || Some(event(&address, "snapshot")).filter(|told| told["actors"] == 2));
    assert!(told["state"] == "training" && told["frames"].as_u64() > Some(0), "{told}");
    let history = json(&address, "/api/history");
    assert!(!history["frames"].as_array().unwrap().is_empty(), "{history}");
    // Played for whoever looks.
    let frame = event(&address, "frame");
    assert!(!frame["scene"]["shapes"].as_array().unwrap().is_empty() && frame["update"].as_u64() > Some(0), "{frame}");
    // Gathered for whoever looks, so it may take a report.
    let fleet = asked("the fleet", || {
        event(&address, "snapshot");
        Some(json(&address, "/api/fleet")).filter(|fleet| fleet["total"] == 2)
    });
    assert_eq!(fleet["actors"][1]["name"], "actor-1", "{fleet}");
}

#[test]
fn the_page_is_served_only_where_that_is_wanted() {
    for (arguments, is_served) in [
        (&["--web", "false"][..], false),
        // Whoever reaches another address than loopback could read it.
        (&["--metrics-listen", "0.0.0.0:0"], false),
        (&["--metrics-listen", "0.0.0.0:0", "--web"], true),
    ] {
        let run = Run::of(IMPALA);
        let mut command = run.train(&[&ENDLESS[..], arguments].concat());
        let training = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let address = metrics(&run).replace("0.0.0.0", "127.0.0.1");
        let status = if is_served { "HTTP/1.1 200" } else { "HTTP/1.1 404" };
        assert!(get(&address, "/").0.starts_with(status), "{arguments:?}");
        assert!(get(&address, "/metrics").0.starts_with("HTTP/1.1 200"), "{arguments:?}");
        stop(training);
    }
}

#[test]
fn the_page_is_opened_where_that_is_wanted_and_where_there_is_no_browser_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (browser, opened) = (directory.path().join("xdg-open"), directory.path().join("opened"));
    fs::write(&browser, format!("#!/bin/sh\nprintf %s \"$1\" > {0}.part\nmv {0}.part {0}\n", opened.display()))
        .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let run = Run::of(IMPALA);
    let output = run.train(&["--open"]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = asked("the browser", || fs::read_to_string(&opened).ok());
    let log = fs::read_to_string(run.directory().join("learner.log")).unwrap();
    assert!(log.contains(&format!("live view at {page}\n")), "{page}: {log}");

    let run = Run::of(IMPALA);
    let nothing = directory.path().join("nothing");
    let said = run.train(&["--open"]).env("PATH", nothing).output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("no browser could be started") && said.contains(" by hand"), "{said}");

    let output = Run::of(IMPALA).train(&["--open", "--web", "false"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--open: this run has no live view"), "{said}");
}
