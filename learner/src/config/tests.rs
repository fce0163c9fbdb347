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
fn what_follows_from_other_settings_still_follows_when_a_printed_configuration_is_changed() {
    let printed = Config::resolve(flags(&[]), None).unwrap().with_derived_listen(([127, 0, 0, 1], 0).into()).to_toml();
    let file = file(&printed);
    let changed =
        Config::resolve(flags(&["--environment", "catch", "--learning-rate", "0.001"]), Some(file.path())).unwrap();
    assert_eq!((changed.solved_return, changed.learning_rate_end, changed.listen.port()), (0.95, 0.001, 50051));
}

#[test]
fn a_split_that_is_picked_later_is_open_in_print_and_settled_afterwards() {
    let open =
        Config::resolve(flags(&[]), None).unwrap().with_open_split(OpenSplit { actors: true, learner_threads: true });
    assert!(open.to_toml().contains("# actors = 2 (`train` picks it for the machine when it starts)\n"));
    assert!(open.to_toml().contains("# learner_threads = 0 (`train` picks it"));
    let settled = open.with_split(5, 3);
    let file = file(&settled.to_toml());
    let read = given(flags(&[]), Some(file.path())).unwrap();
    assert_eq!((read.actors, read.learner_threads), (Some(5), Some(3)));
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
    let unparsed =
        |arguments: &[&str]| Flags::try_parse_from([&["impala"], arguments].concat()).err().unwrap().to_string();
    assert!(unparsed(&["--hidden", "64,"]).contains("write e.g. 64,64"));
    assert!(unparsed(&["--listen", "localhost:1"]).contains("write IP:PORT"));
    assert!(refused(&["--hidden", "64,0"]).starts_with("hidden = [64, 0]: "));
    assert!(refused(&["--hidden", "999999999,999999999"]).contains("smaller widths"));
    assert!(refused(&["--c-bar", "2"]).contains("rho_bar = 1"));
    assert!(refused(&["--learning-rate-end", "0.5"]).starts_with("learning_rate_end = 0.5: "));
    assert!(refused(&["--unroll-length", "5000"]).contains("1 to 4096"));
    assert!(refused(&["--in-flight-max", "0"]).contains("1 to 64"));
    assert!(refused(&["--deterministic", "--publish-every", "2"]).starts_with("publish_every = 2: "));
    assert!(refused(&["--solved-return", "nan"]).starts_with("solved_return = NaN: "));
    assert!(refused(&["--adam-beta2", "1"]).contains("below 1"));
    assert!(
        refused(&["--unroll-length", "4096", "--environments-per-actor", "65536", "--batch-size", "65536"])
            .contains("keep unroll_length x")
    );
    assert!(refused(&["--learner-threads", "9999"]).contains("from 1 to 1024, or 0 for one per core"));
    assert!(refused(&["--publish-every", "200"]).contains("policy_lag_max = 100"));
    assert!(refused(&["--time-max", "0"]).starts_with("time_max = 0: "));
}

#[test]
fn a_batch_that_the_actors_cannot_fill_is_refused_with_what_to_change() {
    let check =
        |arguments: &[&str]| Config::resolve(flags(arguments), None).unwrap().check_actors().map_err(|e| e.to_string());
    let error = check(&["--batch-size", "24"]).unwrap_err();
    assert!(error.starts_with("batch_size = 24: needs 3 trajectories"), "{error}");
    assert!(error.contains("use --in-flight-max 2, --batch-size 16 or more --actors"), "{error}");
    assert_eq!(check(&["--batch-size", "24", "--in-flight-max", "2"]), Ok(()));
    assert!(
        refused(&["--deterministic", "--actors", "1", "--environments-per-actor", "4"])
            .contains("needs 2 trajectories")
    );
}

#[test]
fn times_may_have_units_in_the_file_too() {
    let file = file("time_max = \"10m\"\nreport_interval = 1\n");
    let config = Config::resolve(GivenSettings::default(), Some(file.path())).unwrap();
    assert_eq!((config.time_max(), config.report_interval()), (Duration::from_secs(600), Duration::from_secs(1)));
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
        // Some defaults follow from other settings; their texts say from which.
        let derived = ["solved_return", "learning_rate_end", "run_dir", "checkpoint_store"].contains(key);
        let number = |t: &str| t.split(' ').next().and_then(|n| n.parse::<f64>().ok());
        let same_number = || (number(text)? - number(&plain)?).abs().lt(&1e-7).then_some(());
        assert!(derived || *text == plain || same_number().is_some(), "{key}: `{text}` is not {plain}");
    }
}

#[test]
fn the_oldest_weights_are_published_ones_and_not_far_behind() {
    let config = |policy_lag_max, publish_every| {
        let given = GivenSettings {
            policy_lag_max: Some(policy_lag_max),
            publish_every: Some(publish_every),
            ..GivenSettings::default()
        };
        Config::complete(given).unwrap()
    };
    let oldest = |config: &Config, current| config.oldest_weights_at(WeightsVersion(current)).0;
    let every = config(100, 1);
    assert_eq!([0, 3, 5, 6, 200].map(|current| oldest(&every, current)), [0, 0, 0, 1, 195]);
    let seldom = config(100, 50);
    assert_eq!([54, 55, 104, 105].map(|current| oldest(&seldom, current)), [0, 50, 50, 100]);
    assert_eq!(oldest(&config(1, 1), 10), 9);
}
