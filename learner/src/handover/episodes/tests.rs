//! What counts, and what is censored.

use super::*;
use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::trajectory::{TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;

/// A trajectory of so many environments.
pub(super) fn trajectory(sequence: u64, rewards: Vec<f32>, outcomes: Vec<Outcome>, environments: usize) -> Trajectory {
    let frames = rewards.len();
    let truncated = outcomes.iter().filter(|outcome| **outcome == Outcome::Truncated).count();
    let shape = TrajectoryShape::plain(frames / environments, environments, 1, 2);
    let parts = TrajectoryParts {
        sequence: Sequence(sequence),
        weights_version: WeightsVersion(0),
        observations: vec![0.0; frames + environments].into(),
        actions: vec![0_u8; frames].into(),
        masks: vec![],
        behaviour_log_probs: vec![-0.5; frames],
        rewards,
        outcomes,
        final_observations: vec![0.0; truncated].into(),
    };
    Trajectory::try_new(shape, parts).unwrap()
}

const A: Source = Source(1);
const B: Source = Source(2);
/// Steps of the trajectories here.
const T: usize = 4;

/// One environment; the episode ends after each step at which `ends` has a 1. Each step pays `reward`.
fn single(sequence: u64, reward: f32, ends: [u8; T]) -> Trajectory {
    let outcomes = ends.map(|end| if end == 1 { Outcome::Terminated } else { Outcome::Continues });
    trajectory(sequence, vec![reward; T], outcomes.to_vec(), 1)
}

/// Records actors of one environment each and gives `(return, length)` of what counts by then.
#[derive(Default)]
struct Bench(EpisodeRecorder);

impl Bench {
    fn record(&mut self, source: Source, sequence: u64, reward: f32, ends: [u8; T]) -> Vec<(f32, u32)> {
        self.0.record(source, &single(sequence, reward, ends));
        self.counted()
    }

    fn counted(&mut self) -> Vec<(f32, u32)> {
        self.0.take().into_iter().map(|episode| (episode.episode_return, episode.length)).collect()
    }
}

#[test]
fn episodes_count_in_the_order_in_which_they_began_when_all_before_them_have_ended() {
    let mut recorder = EpisodeRecorder::default();
    // Environment 0 ends at step 3, environment 1 at steps 1, 2 and 4, by a limit the second time.
    let mut outcomes = [Outcome::Continues; 8];
    (outcomes[1], outcomes[3], outcomes[7]) = (Outcome::Terminated, Outcome::Truncated, Outcome::Terminated);
    let rewards = vec![0.25, 1.0, 0.25, 10.0, 0.25, 100.0, 0.25, 1000.0];
    recorder.record(A, &trajectory(0, rewards.clone(), outcomes.to_vec(), 2));
    assert_eq!(recorder.take(), [], "the first has not ended");
    recorder
        .record(A, &trajectory(1, rewards, [[Outcome::Terminated; 1], [Outcome::Continues; 1]].concat().repeat(4), 2));
    let counted: Vec<_> = recorder.take().iter().map(|episode| (episode.episode_return, episode.length)).collect();
    // What the actor claims, -7 after 7 steps, is not looked at. The episode of environment 1 that began last still runs.
    assert_eq!(counted, [(1.25, 5), (1.0, 1), (10.0, 1), (1100.0, 2)]);
    assert_eq!(recorder.take(), [], "each once");
}

#[test]
fn a_long_episode_is_waited_for_and_not_overtaken() {
    let mut bench = Bench::default();
    assert_eq!(bench.record(A, 0, 1.0, [0, 0, 0, 0]), []);
    for sequence in 0..20 {
        assert_eq!(bench.record(B, sequence, 2.0, [1, 1, 1, 1]), []);
        assert_eq!(bench.record(A, sequence + 1, 1.0, [0, 0, 0, 0]), []);
    }
    let counted = bench.record(A, 21, 1.0, [1, 0, 0, 0]);
    assert_eq!((counted.len(), counted[0], counted[1], counted[80]), (81, (85.0, 85), (2.0, 1), (2.0, 1)));
}

#[test]
fn an_episode_whose_beginning_was_not_seen_counts_for_nothing_but_the_next_does() {
    let mut bench = Bench::default();
    assert_eq!(bench.record(A, 7, 1.0, [0, 0, 1, 0]), []);
    assert_eq!(bench.record(A, 8, 1.0, [0, 0, 1, 1]), [(4.0, 4), (1.0, 1)]);
}

#[test]
fn after_a_gap_what_ran_counts_for_nothing_and_does_not_block() {
    let mut bench = Bench::default();
    assert_eq!(bench.record(A, 0, 1.0, [1, 0, 0, 0]), [(1.0, 1)]);
    assert_eq!(bench.record(B, 0, 5.0, [0, 0, 1, 1]), []);
    // Two trajectories of the first actor are lost.
    assert_eq!(bench.record(A, 3, 1.0, [0, 0, 1, 0]), [(15.0, 3), (5.0, 1)]);
    assert_eq!(bench.record(A, 4, 1.0, [1, 0, 0, 0]), [], "the other's began before");
    assert_eq!(bench.record(B, 1, 5.0, [1, 0, 0, 0]), [(5.0, 1), (2.0, 2)]);
}

#[test]
fn an_actor_that_leaves_neither_counts_nor_blocks_and_takes_along_what_began_meanwhile() {
    let mut bench = Bench::default();
    // One environment in a long episode, one in short ones.
    let mut ends = vec![Outcome::Continues; 2 * T];
    (ends[1], ends[5]) = (Outcome::Terminated, Outcome::Terminated);
    bench.0.record(A, &trajectory(0, vec![1.0; 2 * T], ends, 2));
    assert_eq!(bench.record(B, 0, 2.0, [0, 1, 0, 0]), []);
    bench.0.leave(A);
    // Without the long one the short ones would count too often.
    assert_eq!(bench.counted(), [(4.0, 2)]);
    // A process that comes back without its past: the beginning is not known.
    assert_eq!(bench.record(A, 1, 1.0, [0, 1, 0, 0]), []);
    assert_eq!(bench.record(B, 1, 2.0, [1, 0, 0, 0]), [(6.0, 3)]);
    bench.0.leave(B);
    assert_eq!(bench.record(A, 2, 1.0, [1, 0, 0, 0]), [(3.0, 3)]);
    bench.0.leave(A);
    bench.0.leave(A);
    assert_eq!((bench.0.environments, bench.0.actors.len(), bench.0.order.places().count()), (0, 0, 0));
}

#[test]
fn a_slow_actor_does_not_block_and_counts_again_when_its_pace_is_back() {
    let mut bench = Bench::default();
    bench.record(A, 0, 1.0, [0, 0, 0, 0]);
    let mut sequence = 0;
    let mut unrolls_until_something_counts = |bench: &mut Bench| {
        (1..10_000).find(|_| {
            sequence += 1;
            !bench.record(B, sequence - 1, 2.0, [0, 0, 0, 1]).is_empty()
        })
    };
    // The average of the two makes half of the steps of the fast one.
    let blocked = unrolls_until_something_counts(&mut bench).unwrap();
    assert!((126..=130).contains(&blocked), "{blocked}");
    // What a slow actor does counts for nothing, also what begins and ends within one trajectory.
    assert_eq!(bench.record(A, 1, 1.0, [1, 1, 1, 1]), []);
    assert_eq!(unrolls_until_something_counts(&mut bench), Some(1));
    // At the pace of the other it is back after a whole stretch of 64, and the episode of then does not count.
    let mut back = 0;
    let mut next = sequence;
    while bench.record(A, 2 + back, 1.0, [0, 0, 0, 1]).is_empty() {
        let counted = bench.record(B, next, 2.0, [0, 0, 0, 1]);
        assert_eq!(counted.iter().filter(|episode| **episode == (8.0, 4)).count(), counted.len());
        (back, next) = (back + 1, next + 1);
        assert!(back < 200);
    }
    assert!((64..=130).contains(&back), "{back}");
}

#[test]
fn a_short_pause_or_a_third_of_the_pace_makes_nobody_slow() {
    let mut bench = Bench::default();
    bench.record(A, 0, 1.0, [0, 0, 0, 0]);
    // The average makes 20 unrolls.
    for sequence in 0..40 {
        assert_eq!(bench.record(B, sequence, 2.0, [1, 1, 1, 1]), []);
    }
    let mut sequence = 40;
    for own in 1..300 {
        for _ in 0..3 {
            assert_eq!(bench.record(B, sequence, 2.0, [1, 1, 1, 1]), []);
            sequence += 1;
        }
        assert_eq!(bench.record(A, own, 1.0, [0, 0, 0, 0]), []);
    }
    assert_eq!(bench.record(A, 300, 1.0, [1, 0, 0, 0])[0], (1201.0, 1201));
}

#[test]
fn an_episode_without_end_holds_up_long_ones_for_ten_thousand_steps() {
    let mut bench = Bench::default();
    let (mut counted, mut first) = (0, None);
    for sequence in 0..6000 {
        // Of the other, episodes of 40 steps.
        let ends = [0, 0, 0, u8::from(sequence % 10 == 9)];
        let count = bench.record(A, sequence, 1.0, [0; T]).len() + bench.record(B, sequence, 2.0, ends).len();
        if count > 0 {
            first.get_or_insert(4 * (sequence + 1));
        }
        counted += count;
    }
    assert_eq!((first, counted), (Some(10_004), 600));
    // What is long is not endless for that.
    let mut bench = Bench::default();
    for sequence in 0..6000 {
        bench.record(A, sequence, 1.0, [0, 0, 0, 0]);
        let ends = [0, 0, 0, u8::from(sequence % 100 == 99)];
        assert_eq!(bench.record(B, sequence, 2.0, ends).len(), 0);
    }
}

#[test]
fn an_episode_without_end_holds_up_a_bounded_number_of_others() {
    let mut bench = Bench::default();
    bench.record(A, 0, 1.0, [0, 0, 0, 0]);
    let mut most = 0;
    let mut counted = 0;
    for sequence in 0..20_000 {
        counted += bench.record(B, sequence, 2.0, [1, 1, 1, 1]).len();
        bench.record(A, sequence + 1, 1.0, [0, 0, 0, 0]);
        most = most.max(bench.0.order.places().count());
    }
    // Two run.
    assert_eq!(most, EpisodeOrder::len_max(2));
    assert_eq!(EpisodeOrder::len_max(2), 4096 + 2 * 257);
    assert!(counted > 70_000, "{counted}");
    // The endless one ends after all, and the next one counts.
    assert_eq!(bench.record(A, 20_001, 1.0, [1, 0, 0, 0]), []);
    assert_eq!(bench.record(A, 20_002, 1.0, [1, 0, 0, 0]), []);
    assert_eq!(bench.record(B, 20_000, 2.0, [1, 0, 0, 0]), [(2.0, 1), (4.0, 4)]);
}

#[test]
fn what_counts_while_no_batch_is_taken_is_bounded_too() {
    let mut recorder = EpisodeRecorder::default();
    for sequence in 0..20_000 {
        recorder.record(A, &single(sequence, sequence as f32, [1, 1, 1, 1]));
    }
    let counted = recorder.take();
    assert_eq!((counted.len(), counted.last().unwrap().episode_return), (65_536, 19_999.0));
}

#[test]
fn a_sum_that_no_honest_actor_sends_is_held_to_the_bound_of_a_return() {
    let mut bench = Bench::default();
    assert_eq!(bench.record(A, 0, -1e9, [0, 0, 0, 1]), [(-1e9, 4)]);
}

/// Two places of two environments each, in the middle of episodes with sums that a decimal number may not hold.
fn in_the_middle() -> EpisodeRecorder {
    let mut recorder = EpisodeRecorder::default();
    let ends = |position: usize| {
        let mut outcomes = vec![Outcome::Continues; 2 * T];
        outcomes[position] = Outcome::Terminated;
        outcomes
    };
    for sequence in 0..5 {
        for index in 0..2 {
            let reward = 0.1 / (sequence + 1) as f32 + index as f32 * 1e6;
            let place = Source::place(ActorIndex(index));
            recorder.record(place, &trajectory(sequence, vec![reward; 2 * T], ends(3 + 2 * index as usize), 2));
        }
    }
    recorder.take();
    recorder
}

#[test]
fn a_resumed_recorder_goes_on_to_the_bit() {
    let mut recorder = in_the_middle();
    let saved = recorder.save();
    saved.validate(2, 2).unwrap();
    let json = serde_json::to_string(&saved).unwrap();
    let read: SavedEpisodes = serde_json::from_str(&json).unwrap();
    assert_eq!(read, saved);
    let mut resumed = EpisodeRecorder::resume(&read);
    assert_eq!(resumed.save(), saved);
    let mut in_all = 0;
    for sequence in 5..40 {
        for index in 0..2 {
            let mut outcomes = vec![Outcome::Continues; 2 * T];
            outcomes[(sequence as usize * 3 + index as usize) % 8] = Outcome::Terminated;
            let next = trajectory(sequence, vec![0.3; 2 * T], outcomes, 2);
            let place = Source::place(ActorIndex(index));
            recorder.record(place, &next);
            resumed.record(place, &next);
            let bits = |episodes: Vec<Episode>| -> Vec<_> {
                episodes.iter().map(|episode| (episode.episode_return.to_bits(), episode.length)).collect()
            };
            let counted = bits(recorder.take());
            in_all += counted.len();
            assert_eq!(bits(resumed.take()), counted);
        }
    }
    assert!(in_all > 50, "{in_all}");
}

#[test]
fn saved_episodes_that_no_run_comes_to_are_refused() {
    let json = serde_json::to_string(&in_the_middle().save()).unwrap();
    let refusal = |from: &str, to: &str| {
        assert!(json.contains(from), "{json}");
        let saved: SavedEpisodes = serde_json::from_str(&json.replacen(from, to, 1)).unwrap();
        saved.validate(2, 2).unwrap_err()
    };
    let saved: SavedEpisodes = serde_json::from_str(&json).unwrap();
    assert_eq!(saved.validate(1, 2).unwrap_err(), "episodes of actor 1, of 1 actors");
    assert_eq!(saved.validate(2, 3).unwrap_err(), "actor 0 with 2 environments of 3");
    let order = &json[..json.find("],\"actors").unwrap()];
    assert!(refusal(order, "{\"order\":[").contains("where none of it runs"));
    assert!(refusal("\"order\":[", "\"order\":[[0,null],").contains("where none of it runs"));
    assert!(refusal("\"position\":0,", "\"position\":null,").contains("position 0 that no environment is in"));
    assert!(refusal("\"position\":0,", "\"position\":99,").contains("actor 0 at position 99, where none of it runs"));
    let nan = f64::NAN.to_bits();
    assert!(refusal("\"return_bits\":", &format!("\"return_bits\":{nan},\"x\":")).contains("a return of NaN"));
    assert!(
        refusal("\"length\":", "\"length\":18446744073709551615,\"x\":").contains("after 18446744073709551615 steps")
    );
    assert!(
        refusal("\"next\":", "\"next\":18446744073709551615,\"x\":").contains("with 18446744073709551615 trajectories")
    );
    let infinite = format!("\"order\":[[0,[{},3]],", f32::INFINITY.to_bits());
    assert!(refusal("\"order\":[", &infinite).contains("an episode's return of inf, at most 1e9"));
    let many = format!("\"order\":[{}", "[0,null],".repeat(71_000));
    assert!(refusal("\"order\":[", &many).contains("episodes in their order, at most 70660"));
}
