//! The program `impala-learner` as images run it: flags, environment variables, the health check.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

/// Runs the program with these environment variables and no others that are its own.
fn learner(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-learner"));
    std::env::vars().filter(|(name, _)| name.starts_with("IMPALA_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn config(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = learner(variables, &[&["--print-config"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn booleans_can_be_environment_variables() {
    for (variable, key) in [("IMPALA_KEEP_SERVING", "keep_serving"), ("IMPALA_DETERMINISTIC", "deterministic")] {
        for value in ["true", "1", "yes", "on", "TRUE"] {
            assert!(config(&[(variable, value)], &[]).contains(&format!("{key} = true\n")), "{variable}={value}");
        }
        for value in ["false", "0", "no", "off"] {
            assert!(config(&[(variable, value)], &[]).contains(&format!("{key} = false\n")), "{variable}={value}");
        }
        let flag = format!("--{}", key.replace('_', "-"));
        assert!(config(&[(variable, "false")], &[&flag]).contains(&format!("{key} = true\n")));
        assert!(config(&[(variable, "true")], &[&flag, "false"]).contains(&format!("{key} = false\n")));
        let output = learner(&[(variable, "perhaps")], &["--print-config"]);
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("perhaps") && message.contains(&flag), "{message}");
    }
}

#[test]
fn the_health_check_reads_the_variables_of_the_learner() {
    // All that an image sets; nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("0.0.0.0:{}", closed.port());
    let variables = [
        ("IMPALA_LISTEN", listen.as_str()),
        ("IMPALA_METRICS_LISTEN", "0.0.0.0:9090"),
        ("IMPALA_LOG_FORMAT", "json"),
        ("IMPALA_RUNS_DIR", "/runs"),
        ("IMPALA_KEEP_SERVING", "true"),
    ];
    let output = learner(&variables, &["health"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("the learner at {closed} is not healthy")), "{message}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("listen = \"{listen}\"\n")).unwrap();
    let output = learner(&[("IMPALA_CONFIG", file.path().to_str().unwrap())], &["health"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&closed.to_string()), "{message}");
}

#[test]
fn credentials_in_the_address_of_a_tracker_are_not_repeated() {
    for text in ["anna:se-cret@tracker:5000", "https://anna:se-cret@t/?a=1", "https://anna:se-cret@tracker"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("mlflow = \"{text}\"\n")).unwrap();
        for output in [
            learner(&[], &["--print-config", "--mlflow", text]),
            learner(&[("IMPALA_MLFLOW", text)], &["--print-config"]),
            learner(&[("IMPALA_CONFIG", file.path().to_str().unwrap())], &["--print-config"]),
        ] {
            assert!(!output.status.success());
            let told = [output.stdout, output.stderr].map(|told| String::from_utf8_lossy(&told).into_owned()).concat();
            assert!(told.contains("leave user and password out of the URL"), "{told}");
            assert!(!told.contains("cret") && !told.contains("anna"), "{told}");
        }
    }
}
