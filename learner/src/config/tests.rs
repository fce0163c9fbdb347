use super::*;
use crate::config::environment_shape::EnvironmentShape;
use clap::Parser;
use impala_common::ids::WeightsVersion;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

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
    Config::resolve(flags(arguments), None, &impala_env::builtin()).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = Config::resolve(GivenSettings::default(), None, &impala_env::builtin()).unwrap();
    assert_eq!(config.solved_return(), 475.0);
    assert_eq!([0, u64::MAX].map(|frames| config.learning_rate().at(frames)), [0.002, 0.002]);
    assert_eq!((config.output.run_dir, config.checkpoints.checkpoint_store), (None, None));
}

#[test]
fn flags_win_over_the_file() {
    let file = file("seed = 7\nunroll_length = 20\nhidden = [32]\nenvironment = \"catch\"\n");
    let config =
        Config::resolve(flags(&["--seed", "9", "--time-max", "2m"]), Some(file.path()), &impala_env::builtin())
            .unwrap();
    assert_eq!((config.task.seed, config.rollout.unroll_length), (9, 20));
    assert_eq!(config.goal.time_max.duration(), Duration::from_secs(120));
    assert_eq!((config.architecture.hidden.0.as_slice(), config.solved_return()), ([32].as_slice(), 0.95));
}

#[test]
fn a_directory_is_one_however_it_is_given() {
    let refusal = |toml: &str| {
        let file = file(toml);
        Config::resolve(GivenSettings::default(), Some(file.path()), &impala_env::builtin()).unwrap_err().to_string()
    };
    assert!(refusal("run_dir = \"~/x\"").contains("which only a shell turns"), "{}", refusal("run_dir = \"~/x\""));
    assert!(refusal("runs_dir = \"\"").contains("it is empty"));
    for url in ["s3://bucket/x", "s3:/x", "ftp://host/x"] {
        let refused = refusal(&format!("run_dir = \"{url}\""));
        assert!(refused.contains("a directory of this machine") && refused.contains("--checkpoint-store"), "{refused}");
    }
}

#[test]
fn a_path_of_several_lines_stands_in_a_comment_all_the_same() {
    let given: GivenSettings = "run_dir = \"a\\nb = 1\\nc\"".parse().unwrap();
    let config = Config::complete(given, &impala_env::builtin()).unwrap();
    let again: GivenSettings = config.record().parse().unwrap();
    assert_eq!(again.output.run_dir, None);
}

#[test]
fn the_printed_configuration_reads_back_to_the_same() {
    let config = Config::resolve(
        flags(&["--optimiser", "rmsprop-torch", "--hidden", "128,32", "--deterministic"]),
        None,
        &impala_env::builtin(),
    )
    .unwrap();
    let file = file(&config.to_toml());
    assert_eq!(Config::resolve(GivenSettings::default(), Some(file.path()), &impala_env::builtin()).unwrap(), config);
}

#[test]
fn what_follows_from_other_settings_still_follows_when_a_printed_configuration_is_changed() {
    let printed = Config::resolve(flags(&[]), None, &impala_env::builtin())
        .unwrap()
        .with_derived_listen(([127, 0, 0, 1], 0).into())
        .to_toml();
    let file = file(&printed);
    let changed = Config::resolve(
        flags(&["--environment", "catch", "--learning-rate", "0.001"]),
        Some(file.path()),
        &impala_env::builtin(),
    )
    .unwrap();
    assert_eq!((changed.solved_return(), changed.serving.listen.port()), (0.95, 50051));
    assert_eq!(changed.learning_rate().at(u64::MAX), 0.001);
}

#[test]
fn a_split_that_is_picked_later_is_open_in_print_and_settled_afterwards() {
    let open = Config::resolve(flags(&[]), None, &impala_env::builtin())
        .unwrap()
        .with_open_split(OpenSplit { actors: true, learner_threads: true });
    assert!(open.to_toml().contains("# actors = 2 (`train` picks it for the machine when it starts)\n"));
    assert!(open.to_toml().contains("# learner_threads = 0 (`train` picks it"));
    let settled = open.with_split(5, 3);
    let file = file(&settled.to_toml());
    let read = given(flags(&[]), Some(file.path())).unwrap();
    assert_eq!((read.rollout.actors, read.compute.learner_threads), (Some(5), Some(3)));
}

#[test]
fn unknown_keys_and_wrong_types_name_file_and_key() {
    let unknown = file("learning_rat = 0.1\n");
    let error = Config::resolve(GivenSettings::default(), Some(unknown.path()), &impala_env::builtin())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`learning_rat` is no setting; did you mean `learning_rate`?"), "{error}");
    assert!(error.contains("line 1"), "{error}");
    let wrong = file("seed = \"one\"\n");
    let error =
        Config::resolve(GivenSettings::default(), Some(wrong.path()), &impala_env::builtin()).unwrap_err().to_string();
    assert!(error.contains("seed = \"one\""), "{error}");
    let error = Config::resolve(GivenSettings::default(), Some(Path::new("no-such.toml")), &impala_env::builtin())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no-such.toml"), "{error}");
}

#[test]
fn impossible_values_name_key_value_and_fix() {
    assert_eq!(
        refused(&["--batch-size", "12"]),
        "batch_size = 12: must be a multiple of environments_per_actor = 8, because a batch holds whole trajectories; use 16, or leave it \
         out"
    );
    assert_eq!(
        refused(&["--batch-size-max", "4"]),
        "batch_size_max = 4: must be at least environments_per_actor = 8, because a batch holds whole trajectories"
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
fn an_environment_that_is_not_here_needs_a_shape_which_the_record_keeps() {
    let refusal = refused(&["--environment", "mine-v0"]);
    assert!(refusal.starts_with("environment = mine-v0: unknown environment `mine-v0`: use one of"), "{refusal}");
    assert!(refusal.contains("--accept-spec") && refusal.contains("--actor-program"), "{refusal}");
    let shape = r#"{"observations":{"shape":[3],"dtype":"f32"},"actions":{"discrete":2}}"#;
    let given = flags(&["--environment", "mine-v0", "--environment-spec", shape]);
    let config = Config::resolve(given, None, &impala_env::builtin()).unwrap();
    assert!(!config.environment().can_be_made());
    assert_eq!((config.network().observation_len, config.solved_return()), (3, f64::MAX));
    let file = file(&config.record());
    let again = Config::resolve(GivenSettings::default(), Some(file.path()), &impala_env::builtin()).unwrap();
    assert_eq!(again, config);

    // Where it is here, it must be the same one.
    let same = EnvironmentShape::of(impala_env::builtin().kinds()[0].spec()).to_string();
    let config = Config::resolve(flags(&["--environment-spec", &same]), None, &impala_env::builtin()).unwrap();
    assert!(config.environment().can_be_made());
    let other = refused(&["--environment-spec", shape]);
    assert!(other.contains("this program's environment is another: cartpole-v1 (observations f32[4]"), "{other}");
    let none = flags(&["--environment-spec", ""]);
    assert!(Config::resolve(none, None, &impala_env::builtin()).unwrap().environment().can_be_made());
}

#[test]
fn a_batch_that_the_actors_cannot_fill_is_refused_with_what_to_change() {
    let check = |arguments: &[&str]| {
        Config::resolve(flags(arguments), None, &impala_env::builtin())
            .unwrap()
            .check_actors()
            .map_err(|e| e.to_string())
    };
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
    let config = Config::resolve(GivenSettings::default(), Some(file.path()), &impala_env::builtin()).unwrap();
    assert_eq!(
        (config.goal.time_max.duration(), config.output.report_interval.duration()),
        (Duration::from_secs(600), Duration::from_secs(1))
    );
}

#[test]
fn the_learning_rate_falls_linearly_with_the_frames() {
    let config = Config::resolve(
        flags(&["--learning-rate", "0.01", "--learning-rate-end", "0", "--frames-max", "1000"]),
        None,
        &impala_env::builtin(),
    )
    .unwrap();
    assert_eq!([config.learning_rate().at(0), config.learning_rate().at(500)], [0.01, 0.005]);
    assert_eq!(config.learning_rate().at(2000), 0.0);
}

#[test]
fn the_table_tells_the_true_names_and_defaults() {
    let defaults: toml::Table =
        Config::complete(GivenSettings::default(), &impala_env::builtin()).unwrap().to_toml().parse().unwrap();
    let keys: BTreeSet<_> = settings::all().map(|setting| setting.key).collect();
    assert_eq!(keys.len(), settings::all().count(), "two settings have one key");
    for setting in settings::all() {
        assert_eq!(setting.variable, format!("IMPALA_{}", setting.key.to_uppercase()));
        assert!(setting.help.ends_with('.') && !setting.section.is_empty(), "{setting:?}");
        // What has no value of its own follows from other settings; its text says from which.
        let Some(value) = defaults.get(setting.key) else { continue };
        let (plain, text) = (value.to_string().replace(['"', '[', ']', ' '], ""), setting.default);
        let number = |t: &str| t.split(' ').next().and_then(|n| n.parse::<f64>().ok());
        let is_same_number = || number(text).zip(number(&plain)).is_some_and(|(a, b)| (a - b).abs() < 1e-7);
        assert!(text == plain || is_same_number(), "{}: `{text}` is not {plain}", setting.key);
    }
}

#[test]
fn the_command_line_and_the_table_have_the_same_settings() {
    let command = <Flags as clap::CommandFactory>::command();
    let mut arguments = command.get_arguments().filter(|argument| argument.get_env().is_some());
    for setting in settings::all() {
        let argument = arguments.next().unwrap();
        assert_eq!(argument.get_long().map(|long| format!("--{long}")), Some(setting.flag()));
        assert_eq!(argument.get_env().unwrap(), setting.variable);
        assert_eq!(argument.get_help_heading(), Some(setting.section));
    }
    assert!(arguments.next().is_none());
}

#[test]
fn bounds_are_told_as_they_are_checked() {
    let bounds = |key| settings::all().find(|setting| setting.key == key).unwrap().bounds;
    assert_eq!(bounds("unroll_length").to_string(), "a number from 1 to 4096");
    assert_eq!(bounds("learner_threads").to_string(), "a number from 1 to 1024, or 0 for one per core");
    assert_eq!(bounds("time_max").to_string(), "from 0.01 to 1000000000 seconds");
    assert!(refused(&["--frames-max", "0"]).ends_with("frames_max = 0: choose at least 1 frame, e.g. 2000000"));
    assert!(refused(&["--report-interval", "4000"]).ends_with("= 4000: choose from 0.01 to 3600 seconds"));
    assert!(refused(&["--reward-clip", "inf"]).ends_with("= inf: choose a finite number, 0 or more"));
}

/// A configuration as the release before sections wrote it into `config.toml` and its checkpoints.
const OLD: &str = include_str!("tests/config_before_sections.toml");

#[test]
fn a_configuration_of_the_release_before_sections_is_read() {
    let old = Config::complete(OLD.parse().unwrap(), &impala_env::builtin()).unwrap();
    // Batches had a fixed size.
    let given = "batch_size = 8".parse().unwrap();
    assert_eq!(old, Config::complete(given, &impala_env::builtin()).unwrap());
    // What was not given was an empty text then, or not a number.
    for line in ["run_dir = \"\"", "checkpoint_store = \"\"", "solved_return = nan", "learning_rate_end = nan"] {
        let given: GivenSettings = line.parse().unwrap();
        assert_eq!(given, GivenSettings::default(), "{line}");
    }
}

#[test]
fn an_empty_variable_gives_no_store() {
    let file = file("checkpoint_store = \"elsewhere\"\n");
    let store = |arguments: &[&str]| {
        let config = Config::resolve(flags(arguments), Some(file.path()), &impala_env::builtin()).unwrap();
        config.checkpoints.checkpoint_store.map(String::from)
    };
    assert_eq!(store(&[]), Some("elsewhere".into()));
    assert_eq!(store(&["--checkpoint-store", ""]), None);
}

#[test]
fn a_store_of_an_unknown_kind_is_refused_with_the_fix_by_flag_and_by_file() {
    let told = "`ftp://` is no store: write a directory, file://, s3://, gs:// or az://";
    let by_file = given(GivenSettings::default(), Some(file("checkpoint_store = \"ftp://host/x\"\n").path()));
    let by_file = by_file.unwrap_err().to_string();
    assert!(by_file.contains("checkpoint_store = ") && by_file.contains(told), "{by_file}");
    let by_flag = Flags::try_parse_from(["impala", "--checkpoint-store", "ftp://host/x"]).err().unwrap().to_string();
    assert!(by_flag.contains("--checkpoint-store") && by_flag.contains(told), "{by_flag}");
}

#[test]
fn the_agreement_is_sound_and_the_same_for_every_actor() {
    let config = Config::resolve(
        flags(&["--deterministic", "--actors", "3", "--batch-size", "16"]),
        None,
        &impala_env::builtin(),
    )
    .unwrap();
    let agreement = config.agreement();
    assert_eq!(agreement.validate(), Ok(()));
    assert_eq!(agreement.lockstep, Some(Lockstep { actors: 3, trajectories_per_batch: 2 }));
    assert_eq!((agreement.unroll_length, agreement.environments_per_actor, agreement.seed), (10, 8, 1));
    assert_eq!(config.actors_needed(), 3);
}

#[test]
fn the_oldest_weights_are_published_ones_and_not_far_behind() {
    let config = |policy_lag_max: u64, publish_every: u64| {
        let toml = format!("policy_lag_max = {policy_lag_max}\npublish_every = {publish_every}");
        Config::complete(toml.parse().unwrap(), &impala_env::builtin()).unwrap()
    };
    let oldest = |config: &Config, current| config.publishing().oldest_at(WeightsVersion(current)).0;
    let every = config(100, 1);
    assert_eq!([0, 3, 5, 6, 200].map(|current| oldest(&every, current)), [0, 0, 0, 1, 195]);
    let seldom = config(100, 50);
    assert_eq!([54, 55, 104, 105].map(|current| oldest(&seldom, current)), [0, 50, 50, 100]);
    assert_eq!(oldest(&config(1, 1), 10), 9);
}

#[test]
fn batches_that_follow_keep_within_their_bound_and_the_lag_within_half_of_the_most() {
    let config = |toml: &str| Config::complete(toml.parse().unwrap(), &impala_env::builtin()).unwrap();
    assert_eq!((config("").few_columns(), config("").batching.lag_target()), (8, 4.0));
    assert_eq!(config("environments_per_actor = 1\nbatch_size_max = 4").few_columns(), 4);
    for (policy_lag_max, expected) in [(8, 4.0), (5, 2.5), (1, 1.0), (0, 1.0)] {
        let lag_target = config(&format!("policy_lag_max = {policy_lag_max}")).batching.lag_target();
        assert_eq!(lag_target, expected, "{policy_lag_max}");
    }
}

#[test]
fn negative_numbers_are_values_and_no_flags() {
    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        settings: GivenSettings,
    }
    let program = Program::try_parse_from(["program", "--solved-return", "-0.5"]).unwrap();
    assert_eq!(program.settings.goal.solved_return, Some(-0.5));
}
