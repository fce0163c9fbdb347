//! `impala train` with real processes: it solves, it ends when it is told to, it leaves nobody behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
use impala_harness::processes::{ENDLESS, address, file_with, get, signal, start, start_printing_to, wait_for_end};
use impala_harness::processes::{Program, Run};
use impala_policy::model_file;
use safetensors::SafeTensors;
use std::fs;
#[cfg(target_os = "linux")]
use std::io::{Read, Write};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

#[test]
fn train_solves_cartpole_and_leaves_a_complete_run_directory() {
    let run = Run::of(IMPALA);
    let output = run.train(&["--seed", "1"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in
        ["result        solved", "limited by    ", "greedy        mean", "lost in transit + 0 in flight", "wall time"]
    {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    let directory = run.directory();
    for name in ["learner.log", "actor-0.log", "summary.json", "summary.txt"] {
        assert!(fs::metadata(directory.join(name)).unwrap().len() > 0, "{name} is empty");
    }
    let csv = fs::read_to_string(directory.join("metrics.csv")).unwrap();
    assert!(csv.starts_with("seconds,frames,updates,") && csv.lines().count() >= 2, "{csv}");
    assert!(csv.lines().next().unwrap().contains(",verifications,verification_mean_return,"), "{csv}");
    // The policy that is left is the one that was verified, and not evaluated again.
    let json = fs::read_to_string(directory.join("summary.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let verified = &json["verification"]["verified"];
    assert!(json["greedy"]["mean"].as_f64() >= Some(475.0) && json["greedy"] == verified["score"], "{json}");
    assert_eq!(text.matches("greedy        mean").count(), 1, "{text}");
    assert_eq!(
        model_file::load(&directory.join("model.safetensors")).unwrap().description.updates,
        verified["updates"]
    );
    assert!(fs::read_to_string(directory.join("learning_curve.svg")).unwrap().contains("<svg"));
    let model = fs::read(directory.join("model.safetensors")).unwrap();
    assert_eq!(SafeTensors::deserialize(&model).unwrap().tensor("torso.1.weight").unwrap().shape(), [64, 64]);

    // What was chosen for this machine is said and recorded.
    assert!(fs::read_to_string(directory.join("learner.log")).unwrap().contains("an update takes"));
    let recorded = fs::read_to_string(directory.join("config.toml")).unwrap();
    assert!(recorded.contains("\nactors = ") && recorded.contains("\nlearner_threads = "), "{recorded}");

    // The resolved configuration is complete and can be used again.
    let config = directory.join("config.toml");
    let printed = IMPALA.command(&["train", "--print-config", "--config"]).arg(&config).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), fs::read_to_string(&config).unwrap());
}

#[test]
fn a_printed_configuration_leaves_open_what_train_picks_at_its_start() {
    let print = |arguments: &[&str]| {
        let output = IMPALA.command(&[&["train", "--print-config"], arguments].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let open = print(&[]);
    assert!(open.contains("\n# actors = 2 (`train` picks it") && open.contains("\n# learner_threads = 0 ("), "{open}");
    assert!(print(&["--actors", "3"]).contains("\nactors = 3\n"));
    // A deterministic run computes the same on every machine.
    assert!(print(&["--deterministic"]).contains("\nactors = 2\n"));
}

#[test]
fn catch_is_solved_too() {
    let run = Run::of(IMPALA);
    let output = run.train(&["--environment", "catch"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn two_deterministic_runs_end_with_the_same_bits_across_processes() {
    let model = |seed: &str| {
        let run = Run::of(IMPALA);
        let arguments =
            ["--deterministic", "--actors", "3", "--batch-size", "16", "--frames-max", "24000", "--seed", seed];
        run.train(&arguments).output().unwrap();
        fs::read(run.directory().join("model.safetensors")).unwrap()
    };
    let first = model("5");
    assert!(first == model("5"), "the same seed gave another model");
    assert!(first != model("6"), "another seed gave the same model");
}

#[test]
fn a_budget_that_ends_unsolved_is_a_failure_with_the_reason() {
    let run = Run::of(IMPALA);
    let output = run.train(&["--frames-max", "2000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("not solved: the frame budget ended (raise --frames-max)"), "{text}");
    assert!(text.contains("0 in flight"), "{text}");
}

#[test]
fn a_solved_task_stays_solved_when_the_time_ends_before_the_frames_after_it() {
    let run = Run::of(IMPALA);
    // A hundred episodes of any kind solve this.
    let goal = ["--solved-return", "1", "--frames-after-solved", "1000000000000", "--time-max", "10"];
    let mut command = IMPALA.command(&["train", "--quiet", "--runs-dir"]);
    let output = command.arg(run.path()).args(goal).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("result        solved; the time budget ended"), "{text}");
}

/// A full pipe that nobody reads yet takes the summary: the run waits there, when all else has ended.
#[cfg(target_os = "linux")]
#[test]
fn probes_answer_to_the_last_after_an_interrupt() {
    for program in ["train", "learner"] {
        let run = Run::of(IMPALA);
        let (mut summary, output) = std::io::pipe().unwrap();
        let mut filling = output.try_clone().unwrap();
        let fill = std::thread::Builder::new().name("fill".into());
        // More than any pipe holds: it blocks, and so does whoever writes next.
        let fill = fill.spawn(move || filling.write_all(&vec![b'\n'; 4 << 20])).unwrap();
        let directory = run.path().join("run");
        fs::create_dir_all(&directory).unwrap();
        let mut command = IMPALA.command(&[program, "--quiet", "--listen", "127.0.0.1:0", "--run-dir"]);
        let (mut child, log) = start_printing_to(output, command.arg(&directory).args(ENDLESS));
        drop(command);
        let metrics = match program {
            "learner" => address(&log, "metrics at http://", "/metrics"),
            _ => {
                let log = directory.join("learner.log");
                let log = file_with("the address of the metrics", &log, |text| text.contains("/metrics"));
                log.split_once("metrics at http://").unwrap().1.split_once('/').unwrap().0.to_owned()
            }
        };
        assert!(get(&metrics, "/readyz").0.contains("200"));
        signal(child.id(), "TERM");
        file_with("the end of the results", &directory.join("summary.json"), |text| text.ends_with("}\n"));
        let (status, body) = get(&metrics, "/readyz");
        assert!(status.contains("503"), "{status}");
        assert_eq!(body, "stopping: interrupted\n");
        // Once the pipe is read, the run comes to its end.
        let mut text = String::new();
        summary.read_to_string(&mut text).unwrap();
        assert!(text.trim_start().starts_with("result        interrupted\n"), "{}", text.trim_start());
        fill.join().unwrap().unwrap();
        wait_for_end(&mut child);
    }
}

/// A terminal that is gone, or a full disk below a log.
#[cfg(target_os = "linux")]
#[test]
fn a_standard_error_that_cannot_be_written_ends_nothing() {
    let run = Run::of(IMPALA);
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = IMPALA.command(&["train", "--frames-max", "2000", "--runs-dir"]);
    let output = command.arg(run.path()).stderr(full()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("trained       2000 frames"), "{text}");
    // The error of the program itself.
    let refused = IMPALA.command(&["train", "--batch-size", "9"]).stderr(full()).status().unwrap();
    assert_eq!(refused.code(), Some(1));
}

#[test]
fn bad_settings_are_refused_before_anything_starts() {
    let run = Run::of(IMPALA);
    let refused = |arguments: &[&str]| {
        let output = run.train(arguments).output().unwrap();
        assert!(!output.status.success());
        assert!(!run.path().exists(), "a refused run left a directory");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&["--batch-size", "9"]).contains("error: batch_size = 9: must be a multiple"));
    assert!(refused(&["--environment", "pong"]).contains("use one of cartpole-v1"));
    assert!(refused(&["--learning-rte", "1"]).contains("--learning-rate"));
    assert!(refused(&["--device", "wgpu:x"]).contains("use auto, cpu, wgpu or wgpu:<n>"));
    assert!(refused(&["--config", "no-such.toml"]).contains("no-such.toml"));
    assert!(refused(&["--keep-serving"]).contains("use `impala learner --keep-serving`"));
}

#[test]
fn what_is_wrong_with_the_command_line_is_a_line_of_json_where_the_log_is() {
    for (flags, format) in [(&["--log-format", "json"][..], None), (&[], Some("json"))] {
        let mut command = IMPALA.command(&["train", "--seed", "x"]);
        command.args(flags).envs(format.map(|format| ("IMPALA_LOG_FORMAT", format)));
        let output = command.env("IMPALA_SEDE", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let lines = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["level"], &lines[1]["level"]), (&"WARN".into(), &"ERROR".into()));
        let message = lines[1]["message"].as_str().unwrap();
        assert!(message.starts_with("invalid value 'x' for '--seed"), "{message}");
    }
}

/// Two runs in one directory would garble each other's files; which of them came first is told by the one that is refused.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_or_store_that_another_process_works_in_is_refused() {
    let run = Run::of(IMPALA);
    let directory = run.path().join("first");
    let (mut training, _log) = start(run.train(&ENDLESS).args(["--actors", "1", "--run-dir"]).arg(&directory));
    run.wait_for_training();
    let second = |arguments: &[&str]| {
        let output = IMPALA.command(&["train", "--quiet"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let other = run.path().join("other");
    let store = directory.join("checkpoints");
    let [directory, store, other] = [&directory, &store, &other].map(|path| path.to_str().unwrap());
    for refused in [second(&["--run-dir", directory]), second(&["--run-dir", other, "--checkpoint-store", store])] {
        assert!(refused.contains(&format!("in use by process {}", training.id())), "{refused}");
    }
    // A holder that crashes holds nothing.
    signal(training.id(), "KILL");
    wait_for_end(&mut training);
    let output =
        IMPALA.command(&["train", "--quiet", "--run-dir", directory, "--solved-return", "475"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A configuration repeats the settings of a run, not its place.
#[test]
fn the_configuration_of_a_run_begins_another_one() {
    let run = Run::of(IMPALA);
    let (first, store) = (run.path().join("first"), run.path().join("store"));
    let train = |arguments: &[&str]| {
        let output = run.train(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let [first_name, store_name] = [&first, &store].map(|path| path.to_str().unwrap());
    let few = ["--frames-max", "2000"];
    train(&[&few[..], &["--run-dir", first_name, "--checkpoint-store", store_name]].concat());
    let model = fs::read(first.join("model.safetensors")).unwrap();
    let config = first.join("config.toml");
    let second = train(&["--config", config.to_str().unwrap(), "--seed", "2"]);
    assert!(second.contains("trained       2000 frames") && !second.contains("resumed"), "{second}");
    assert!(fs::read(first.join("model.safetensors")).unwrap() == model, "it was written over");
    // The run itself goes on, wherever it is named from.
    let third = run.train(&["--run-dir", first_name, "--frames-max", "4000"]).current_dir(run.path()).output().unwrap();
    let third = String::from_utf8_lossy(&third.stdout);
    assert!(third.contains("resumed") && third.contains("trained       4000 frames"), "{third}");
}
