use super::*;
use clap::Parser;
use std::io::Write;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: GivenSettings,
}

fn flags(arguments: &[&str]) -> GivenSettings {
    Flags::try_parse_from([&["impala"], arguments].concat()).unwrap().settings
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn refused(arguments: &[&str]) -> String {
    Config::resolve(flags(arguments), None).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = Config::resolve(GivenSettings::default(), None).unwrap();
    assert_eq!(config.solved_return, 475.0);
    assert_eq!(config.learning_rate_end, config.learning_rate);
}

#[test]
fn flags_win_over_the_file() {
    let file = file("seed = 7\nunroll_length = 20\nhidden = [32]\nenvironment = \"catch\"\n");
    let config = Config::resolve(flags(&["--seed", "9", "--time-max", "2m"]), Some(file.path())).unwrap();
    assert_eq!((config.seed, config.unroll_length, config.time_max()), (9, 20, Duration::from_secs(120)));
    assert_eq!((config.hidden.0.as_slice(), config.solved_return), ([32].as_slice(), 0.95));
}

#[test]
fn the_printed_configuration_reads_back_to_the_same() {
    let config =
        Config::resolve(flags(&["--optimiser", "rmsprop-torch", "--hidden", "128,32", "--deterministic"]), None)
            .unwrap();
    let file = file(&config.to_toml());
    assert_eq!(Config::resolve(GivenSettings::default(), Some(file.path())).unwrap(), config);
}

#[test]
fn unknown_keys_and_wrong_types_name_file_and_key() {
    let unknown = file("learning_rat = 0.1\n");
    let error = Config::resolve(GivenSettings::default(), Some(unknown.path())).unwrap_err().to_string();
    assert!(error.contains("learning_rat") && error.contains("line 1"), "{error}");
    let wrong = file("seed = \"one\"\n");
    let error = Config::resolve(GivenSettings::default(), Some(wrong.path())).unwrap_err().to_string();
    assert!(error.contains("seed = \"one\""), "{error}");
    let error = Config::resolve(GivenSettings::default(), Some(Path::new("no-such.toml"))).unwrap_err().to_string();
    assert!(error.contains("no-such.toml"), "{error}");
}

#[test]
fn impossible_values_name_key_value_and_fix() {
    assert_eq!(
        refused(&["--batch-size", "12"]),
        "batch_size = 12: must be a multiple of environments_per_actor = 8, because a batch holds whole trajectories; use 16"
    );
    assert!(refused(&["--discount", "1.5"]).starts_with("discount = 1.5: choose a number from 0 to 1"));
    assert!(refused(&["--learning-rate", "0"]).starts_with("learning_rate = 0: "));
    assert!(refused(&["--learning-rate", "NaN"]).starts_with("learning_rate = NaN: "));
    assert!(refused(&["--hidden", "64,0"]).starts_with("hidden = [64, 0]: "));
    assert!(refused(&["--hidden", "999999999,999999999"]).contains("smaller widths"));
    assert!(refused(&["--c-bar", "2"]).contains("rho_bar = 1"));
    assert!(refused(&["--learning-rate-end", "0.5"]).starts_with("learning_rate_end = 0.5: "));
    assert!(refused(&["--unroll-length", "5000"]).contains("1 to 4096"));
    assert!(refused(&["--in-flight-max", "0"]).contains("1 to 64"));
    assert!(refused(&["--deterministic", "--publish-every", "2"]).starts_with("publish_every = 2: "));
    assert!(refused(&["--publish-every", "200"]).contains("policy_lag_max = 100"));
    assert!(refused(&["--time-max", "0"]).starts_with("time_max = 0: "));
}

#[test]
fn the_learning_rate_falls_linearly_with_the_frames() {
    let config =
        Config::resolve(flags(&["--learning-rate", "0.01", "--learning-rate-end", "0", "--frames-max", "1000"]), None)
            .unwrap();
    assert_eq!([config.learning_rate_at(0), config.learning_rate_at(500)], [0.01, 0.005]);
    assert_eq!(config.learning_rate_at(2000), 0.0);
}

#[test]
fn the_help_texts_tell_the_true_defaults() {
    let defaults = toml::Value::try_from(Settings::default()).unwrap();
    for (key, env, text) in settings::TABLE {
        assert_eq!(*env, format!("IMPALA_{}", key.to_uppercase()));
        let value = &defaults[*key];
        let plain = value.to_string().replace(['"', '[', ']', ' '], "");
        // Two defaults follow from other settings; their texts say from which.
        let derived = ["solved_return", "learning_rate_end"].contains(key);
        let number = |t: &str| t.split(' ').next().and_then(|n| n.parse::<f64>().ok());
        let same_number = || (number(text)? - number(&plain)?).abs().lt(&1e-7).then_some(());
        assert!(derived || *text == plain || same_number().is_some(), "{key}: `{text}` is not {plain}");
    }
}
