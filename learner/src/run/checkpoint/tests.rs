//! Files that come back as they were, and files that are not what they should be.

use super::*;
use crate::config::Config;
use crate::handover::progress::Progress;
use impala_env::{Registry, builtin};
use impala_policy::model_file;
use proptest::prelude::*;

/// A checkpoint after `updates` updates, with numbers that differ everywhere.
pub(crate) fn checkpoint(updates: u64, mean_return: f32) -> Checkpoint {
    let config = Config::complete(format!("seed = {updates}").parse().unwrap(), &builtin()).unwrap();
    let count = config.network().parameter_count();
    let numbers = |scale: f32| (0..count).map(|i| (i as f32 * 0.37 - 1.0) * scale).collect::<Vec<_>>();
    let mut progress = Progress::new(475.0);
    let episode = impala_common::trajectory::Episode { episode_return: mean_return, length: 3 };
    (0..updates).for_each(|_| progress.record_update(80, std::iter::repeat_n(episode, 100)));
    let mut progress = progress.save();
    progress.seconds = 1.5;
    Checkpoint {
        parameters: numbers(1.0),
        optimiser: OptimiserState {
            first: numbers(-0.5),
            second: numbers(1e-3),
            largest: numbers(2e-3),
            steps: 7,
            columns: 12.5,
        },
        normaliser: None,
        progress,
        account: Account { produced: 12, trained: 10, lost: 1, ..Account::default() },
        actor_states: BTreeMap::from([(0, Bytes::from_static(b"zero")), (11, Bytes::from_static(b"eleven"))]),
        episodes: None,
        verified: None,
        best_mean_return: Some(0.1 + f64::from(mean_return)),
        is_best_verified: false,
        origin: Some("runs/x#best".into()),
        epoch: Some(3),
        settings: RecordedSettings::of(&config),
    }
}

/// The same of a run that normalises observations and rewards.
fn normalised() -> Checkpoint {
    let text = "normalise_observations = true\nnormalise_rewards = true";
    let config = Config::complete(text.parse().unwrap(), &builtin()).unwrap();
    let mut checkpoint = Checkpoint { settings: RecordedSettings::of(&config), ..checkpoint(3, 20.5) };
    checkpoint.parameters.extend([0.5; 8]);
    checkpoint.normaliser = Normaliser::new(Some(4), Some(0.99)).save();
    checkpoint
}

#[test]
fn statistics_of_observations_come_back_and_must_be_those_of_the_network() {
    let checkpoint = normalised();
    let read = |checkpoint: &Checkpoint| Checkpoint::decode(&checkpoint.encode().unwrap(), &builtin());
    assert_eq!(read(&checkpoint).unwrap(), checkpoint);
    assert_eq!(model_file::decode(&checkpoint.encode().unwrap()).unwrap().parameters, checkpoint.parameters);
    for normaliser in [None, Normaliser::new(Some(3), None).save()] {
        let error = read(&Checkpoint { normaliser, ..checkpoint.clone() }).unwrap_err().to_string();
        assert_eq!(error, "its progress has statistics of observations or rewards that are none of its network");
    }
}

#[test]
fn a_checkpoint_comes_back_as_it_was() {
    let checkpoint = checkpoint(3, 20.5);
    assert_eq!(Checkpoint::decode(&checkpoint.encode().unwrap(), &builtin()).unwrap(), checkpoint);
}

/// The same, of a run whose policy after `verified` updates solved the task.
pub(crate) fn solved(updates: u64, verified: u64) -> Checkpoint {
    use crate::handover::progress::{Solved, Verified};
    use impala_policy::evaluate::{Mode, Score};
    let mut solved = checkpoint(updates, 480.0);
    let score = Score { episodes: 100, mean: 481.25, min: 400.0, max: 500.0, cut: 0 };
    let tries = &mut solved.progress.tries;
    (tries.count, tries.next, tries.best_mean, tries.last) = (2, 10_000, Some(481.25), Some(score));
    tries.verified = Some(Verified { updates: verified, mode: Mode::Greedy, score });
    solved.progress.solved = Some(Solved { frames: 80 * verified, seconds: 1.25 });
    let other = solved.parameters.iter().map(|x| 3.0 - x).collect();
    Checkpoint { verified: (updates != verified).then_some(other), ..solved }
}

#[test]
fn the_checkpoint_of_a_solved_run_has_the_verified_policy_beside_a_later_one() {
    let (itself, later) = (solved(3, 3), solved(3, 2));
    let bytes = [&itself, &later].map(|checkpoint| checkpoint.encode().unwrap());
    for (bytes, written) in bytes.iter().zip([&itself, &later]) {
        let read = Checkpoint::decode(bytes, &builtin()).unwrap();
        assert_eq!((&read, read.verified_policy()), (written, written.verified_policy()));
        // Without a learner it is the checkpoint's own policy.
        assert_eq!(model_file::decode(bytes).unwrap().parameters, written.parameters);
    }
    assert_eq!([&itself, &later].map(Checkpoint::is_verified), [true, false]);
    assert_eq!(&itself.verified_policy().unwrap().parameters[..], &itself.parameters);
    let verified = later.verified_policy().unwrap();
    assert_eq!((verified.version.0, verified.frames, verified.parameters[0]), (2, 160, 3.0 - later.parameters[0]));
    assert_eq!(checkpoint(3, 480.0).verified_policy(), None);
    // Its numbers are needed, and covered by the checksum.
    let without = Checkpoint { verified: None, ..later.clone() }.encode().unwrap();
    let error = Checkpoint::decode(&without, &builtin()).unwrap_err().to_string();
    assert!(error.contains("its tensor `verified.torso.0.weight` is missing"), "{error}");
    let mut damaged = bytes[1].clone();
    let number = later.verified.as_ref().unwrap()[5].to_le_bytes();
    let place = damaged.windows(4).rposition(|window| window == number).unwrap();
    damaged[place] ^= 1;
    assert!(Checkpoint::decode(&damaged, &builtin()).unwrap_err().to_string().contains("its checksum is"));
    assert!(model_file::decode(&damaged).unwrap_err().to_string().contains("its checksum is"));
}

#[test]
fn the_weights_of_a_fresh_checkpoint_are_a_model_without_a_learner() {
    let checkpoint = checkpoint(3, 20.5);
    let model = model_file::decode(&checkpoint.encode().unwrap()).unwrap();
    assert_eq!((&model.network, &model.parameters), (checkpoint.network(), &checkpoint.parameters));
    let description = model.description;
    assert_eq!(description.environment, checkpoint.settings.config().unwrap().task.environment);
    assert_eq!((description.updates, description.frames), (3, checkpoint.progress.frames));
}

/// Written by the first release that wrote format 1, at commit 7147aa6, after update 10 of
/// `impala train --deterministic --actors 2 --hidden 8 --batch-size 16 --frames-max 1600 --seed 5`.
const GOLDEN: &[u8] = include_bytes!("../../../tests/data/checkpoint-format-1.safetensors");

#[test]
fn the_golden_checkpoint_of_format_1_is_read() {
    let checkpoint = Checkpoint::decode(GOLDEN, &builtin()).unwrap();
    assert_eq!((checkpoint.progress.updates, checkpoint.progress.frames, checkpoint.progress.episodes), (10, 1600, 70));
    assert_eq!((checkpoint.account.produced, checkpoint.account.trained), (20, 20));
    assert_eq!(checkpoint.network().hidden, [8]);
    // `torso.0.weight` and `value.bias`, as another program reads them in the file.
    assert_eq!(checkpoint.parameters[..2], [0.176_970_62, -0.627_557_5]);
    assert_eq!(checkpoint.parameters.last(), Some(&0.091_941_06));
    assert_eq!(checkpoint.optimiser.second.last(), Some(&0.004_155_913));
    assert_eq!(checkpoint.optimiser.largest, checkpoint.optimiser.second);
    assert_eq!(checkpoint.optimiser.steps, 10);
    let states = checkpoint.actor_states.iter().map(|(actor, state)| (*actor, state.len()));
    assert_eq!(states.collect::<Vec<_>>(), [(0, 687), (1, 685)]);
    let config = checkpoint.settings.config().unwrap();
    assert_eq!((config.task.seed, config.rollout.actors, config.task.deterministic), (5, 2, true));
    // What this release writes of it is the same run.
    assert_eq!(Checkpoint::decode(&checkpoint.encode().unwrap(), &builtin()).unwrap(), checkpoint);
}

/// Written by the same release, with the other environment: `--environment catch --hidden 2 --seed 7`, after update 20.
#[test]
fn the_golden_checkpoint_of_catch_is_read() {
    let golden = include_bytes!("../../../tests/data/checkpoint-format-1-catch.safetensors");
    let checkpoint = Checkpoint::decode(golden, &builtin()).unwrap();
    assert_eq!((checkpoint.progress.updates, checkpoint.progress.frames), (20, 560));
    let config = checkpoint.settings.config().unwrap();
    assert_eq!((config.task.environment.as_str(), &config.architecture.hidden.0[..]), ("catch", &[2][..]));
    assert!(config.task.deterministic && config.task.seed == 7 && config.rollout.actors == 2);
    assert_eq!(checkpoint.account.trained, 40);
    assert_eq!((checkpoint.optimiser.steps, checkpoint.optimiser.second.len()), (20, checkpoint.parameters.len()));
    assert_eq!(checkpoint.actor_states.keys().collect::<Vec<_>>(), [&0, &1]);
    assert_eq!(Checkpoint::decode(&checkpoint.encode().unwrap(), &builtin()).unwrap(), checkpoint);
}

#[test]
fn a_checkpoint_of_an_environment_that_the_program_does_not_know_is_refused() {
    let error = Checkpoint::decode(GOLDEN, &Registry::new()).unwrap_err().to_string();
    assert!(error.starts_with("its configuration: environment = cartpole-v1: unknown environment"), "{error}");
}

#[test]
fn a_checkpoint_with_the_settings_of_the_release_before_sections_is_read() {
    let old = include_str!("../../config/tests/config_before_sections.toml");
    let settings = RecordedSettings::read(old.to_owned(), &builtin()).unwrap();
    let written = Checkpoint { settings, ..checkpoint(1, 9.0) };
    let read = Checkpoint::decode(&written.encode().unwrap(), &builtin()).unwrap();
    assert_eq!(read, written);
    let config = read.settings.config().unwrap();
    assert_eq!((config.output.run_dir, config.checkpoints.checkpoint_store), (None, None));
    assert_eq!(config.goal.solved_return, None);
}

#[test]
fn the_reference_reader_finds_weights_and_moments_under_their_names() {
    let checkpoint = checkpoint(1, 9.0);
    let bytes = checkpoint.encode().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let optimiser = &checkpoint.optimiser;
    for (prefix, expected) in [
        ("", &checkpoint.parameters),
        ("optimiser.first.", &optimiser.first),
        ("optimiser.second.", &optimiser.second),
        ("optimiser.largest.", &optimiser.largest),
    ] {
        for block in checkpoint.network().layout() {
            let tensor = file.tensor(&format!("{prefix}{}", block.name)).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, block.shape.as_slice()));
            let numbers: Vec<f32> =
                tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            assert_eq!(numbers, expected[block.range]);
        }
    }
}

/// Changes the envelope of a sound file.
fn with_envelope(change: impl FnOnce(&mut Envelope)) -> Vec<u8> {
    let bytes = checkpoint(1, 9.0).encode().unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut envelope: Envelope = serde_json::from_str(&header.metadata().as_ref().unwrap()[METADATA_KEY]).unwrap();
    change(&mut envelope);
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), serde_json::to_string(&envelope).unwrap())]);
    safetensors::serialize(SafeTensors::deserialize(&bytes).unwrap().tensors(), Some(metadata)).unwrap()
}

#[test]
fn progress_that_no_run_comes_to_is_refused() {
    let refusal = |change: fn(&mut SavedProgress)| {
        let mut checkpoint = checkpoint(1, 9.0);
        change(&mut checkpoint.progress);
        Checkpoint::decode(&checkpoint.encode().unwrap(), &builtin()).unwrap_err().to_string()
    };
    let account = Account { refused_stale: u64::MAX, ..Account::default() };
    let bytes = Checkpoint { account, ..checkpoint(1, 9.0) }.encode().unwrap();
    let told = Checkpoint::decode(&bytes, &builtin()).unwrap_err().to_string();
    assert_eq!(told, "its progress has 18446744073709551615 trajectories, at most 9007199254740992");
    let told = refusal(|progress| progress.updates = u64::MAX);
    assert_eq!(told, "its progress has updates = 18446744073709551615, at most 9007199254740992");
    assert!(refusal(|progress| progress.seconds = -1.0).contains("seconds = -1, from 0 to"));
    assert!(refusal(|progress| progress.recent_episodes = vec![(1.0, 1); 101]).contains("101 recent_episodes"));
    // Such a curve could not be drawn.
    let told = refusal(|progress| progress.recent_episodes = vec![(3e38, 1)]);
    assert!(
        told.starts_with("its progress has a return of ") && told.ends_with(", at most 1e9 in magnitude"),
        "{told}"
    );
    assert!(refusal(|progress| progress.worst_after_solved = Some(-1e300)).contains("a return of -1e300"));
}

#[test]
fn episodes_that_go_on_come_back_if_the_run_has_such_actors() {
    let episodes = |actor: u32| {
        let one = r#"{"position":0,"return_bits":4607182418800017408,"length":3}"#;
        let others = r#",{"position":null,"return_bits":0,"length":0}"#.repeat(7);
        let json = format!(
            r#"{{"order":[[{actor},null],[{actor},[1065353216,1]]],"actors":{{"{actor}":{{"next":2,"environments":[{one}{others}]}}}}}}"#
        );
        serde_json::from_str::<SavedEpisodes>(&json).unwrap()
    };
    let with = |actor| Checkpoint { episodes: Some(episodes(actor)), ..checkpoint(1, 9.0) };
    assert_eq!(Checkpoint::decode(&with(1).encode().unwrap(), &builtin()).unwrap(), with(1));
    let told = Checkpoint::decode(&with(2).encode().unwrap(), &builtin()).unwrap_err().to_string();
    assert_eq!(told, "its progress has episodes of actor 2, of 2 actors");
}

#[test]
fn what_is_no_checkpoint_is_said_to_be_none() {
    let refusal = |bytes: &[u8]| Checkpoint::decode(bytes, &builtin()).unwrap_err().to_string();
    let sound = checkpoint(1, 9.0).encode().unwrap();
    assert!(refusal(&[]).contains("damaged or no safetensors file"));
    assert!(refusal(&sound[..sound.len() / 2]).contains("damaged or no safetensors file"));
    let tensors = SafeTensors::deserialize(&sound).unwrap().tensors();
    let foreign = safetensors::serialize(tensors, None).unwrap();
    assert!(refusal(&foreign).contains("no checkpoint of this program"));
    assert!(refusal(&with_envelope(|e| e.format = 9)).contains("its format is 9, this release reads formats up to 2"));
    assert!(refusal(&with_envelope(|e| e.crc32 ^= 1)).contains("its checksum is"));
    assert!(refusal(&with_envelope(|e| e.state = "{}".into())).contains("metadata cannot be read"));
    let other_network = with_envelope(|e| e.state = e.state.replace("hidden = [64, 64]", "hidden = [64, 32]"));
    assert!(refusal(&other_network).contains("its tensor `torso.1.weight` is missing or not F32 [64, 32]"));
    let unknown_key = with_envelope(|e| e.state = e.state.replace("seed = 1", "sede = 1"));
    assert!(refusal(&unknown_key).contains("its checksum is"));
    // It must not be taken for a run of a program with environments of its own.
    let unknown_environment = with_envelope(|e| e.state = e.state.replace("cartpole-v1", "cartpole-v7"));
    assert!(refusal(&unknown_environment).contains("its checksum is"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No bit of a file can change unnoticed, and no damage is a panic.
    #[test]
    fn damage_anywhere_is_noticed(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = checkpoint(1, 9.0).encode().unwrap();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        // A changed bit in the header's white space or in the order of keys may still mean the same.
        if let Ok(read) = Checkpoint::decode(&bytes, &builtin()) {
            prop_assert_eq!(read, checkpoint(1, 9.0));
        }
    }

    #[test]
    fn a_file_cut_short_is_noticed(len in any::<prop::sample::Index>()) {
        let bytes = checkpoint(1, 9.0).encode().unwrap();
        prop_assert!(Checkpoint::decode(&bytes[..len.index(bytes.len())], &builtin()).is_err());
    }
}
