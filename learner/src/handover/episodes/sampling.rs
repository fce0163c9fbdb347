//! Bias and spread of the mean over 100 episodes, beside those of another rule, the last 100 that ended: over many seeds of
//! environments whose episodes are drawn from a known distribution.

use super::tests::trajectory;
use super::*;
use impala_env::Outcome;
use impala_env::seed::{Purpose, Rng, rng};
use rand::RngExt;

const UNROLL: usize = 20;
/// Environments of an actor.
const EACH: usize = 8;
const WINDOW: usize = 100;
/// Mean and standard deviation of an episode's return under [`good`].
const GOOD: (f64, f64) = (0.2 * 20.0 + 0.8 * 500.0, 192.1);

/// Draws the length of an episode, which is its return too.
type Policy = fn(&mut Rng) -> u32;

fn bad(rng: &mut Rng) -> u32 {
    rng.random_range(10..=30)
}

/// Four of five reach the limit.
fn good(rng: &mut Rng) -> u32 {
    if rng.random_range(0..5) == 0 { bad(rng) } else { 500 }
}

/// The last 100 episodes by one rule: their returns, and their places in the order in which all began.
#[derive(Default)]
struct Window(VecDeque<(f64, usize)>);

impl Window {
    fn push(&mut self, episode_return: f64, number: usize) {
        self.0.push_back((episode_return, number));
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }

    fn mean(&self) -> f64 {
        self.0.iter().map(|(episode_return, _)| episode_return).sum::<f64>() / self.0.len() as f64
    }

    /// The mean, where the window is full of episodes that began from this one on.
    fn mean_from(&self, first: usize) -> Option<f64> {
        let is_pure = self.0.len() == WINDOW && self.0.iter().all(|(_, number)| *number >= first);
        is_pure.then(|| self.mean())
    }
}

/// Actors that take turns.
struct World {
    rng: Rng,
    recorder: EpisodeRecorder,
    sequence: u64,
    /// Of each environment: length of its episode, steps until it ends, and its number.
    running: Vec<(u32, u32, usize)>,
    begun: usize,
    counted: usize,
    windows: [Window; 2],
}

impl World {
    fn new(environments: usize, seed: u64, policy: Policy) -> Self {
        let mut rng = rng(seed, Purpose::Initialisation);
        let mut begin = |number| {
            let length = policy(&mut rng);
            (length, length, number)
        };
        let running: Vec<_> = (0..environments).map(&mut begin).collect();
        Self {
            rng,
            running,
            recorder: EpisodeRecorder::default(),
            sequence: 0,
            begun: environments,
            counted: 0,
            windows: Default::default(),
        }
    }

    /// Every actor sends a trajectory. After each episode `look` is shown the windows: the last that ended, and those of the
    /// recorder.
    fn unroll(&mut self, policy: Policy, mut look: impl FnMut(usize, &Window)) {
        for actor in 0..self.running.len() / EACH {
            let mut outcomes = vec![Outcome::Continues; UNROLL * EACH];
            for outcomes in outcomes.chunks_exact_mut(EACH) {
                let running = self.running[actor * EACH..].iter_mut();
                for ((length, left, number), outcome) in running.zip(outcomes) {
                    *left -= 1;
                    if *left == 0 {
                        *outcome = Outcome::Terminated;
                        self.windows[0].push(f64::from(*length), *number);
                        look(0, &self.windows[0]);
                        *length = policy(&mut self.rng);
                        (*left, *number) = (*length, self.begun);
                        self.begun += 1;
                    }
                }
            }
            let source = Source::place(ActorIndex(actor as u32));
            self.recorder.record(source, &trajectory(self.sequence, vec![1.0; outcomes.len()], outcomes, EACH));
            for episode in self.recorder.take() {
                self.windows[1].push(episode.episode_return.into(), self.counted);
                self.counted += 1;
                look(1, &self.windows[1]);
            }
        }
        self.sequence += 1;
    }
}

/// What the two rules say: the first means of nothing but episodes that began with the good policy, and the means 65 unrolls
/// after it came, which was after so many of the bad one.
fn means(environments: usize, seed: u64, bad_unrolls: u64) -> [[f64; 2]; 2] {
    let mut world = World::new(environments, seed, if bad_unrolls > 0 { bad } else { good });
    (0..bad_unrolls).for_each(|_| world.unroll(bad, |_, _| ()));
    let switched = if bad_unrolls > 0 { world.begun } else { 0 };
    let mut first = [None; 2];
    while first.contains(&None) || world.sequence < bad_unrolls + 65 {
        world.unroll(good, |rule, window| first[rule] = first[rule].or_else(|| window.mean_from(switched)));
    }
    [first.map(Option::unwrap), [0, 1].map(|rule| world.windows[rule].mean())]
}

/// Bias, its standard error, and the standard deviation of a mean.
struct Statistics {
    bias: f64,
    error: f64,
    deviation: f64,
}

impl Statistics {
    fn of(means: &[f64]) -> Self {
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let deviation = (means.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        Self { bias: mean - GOOD.0, error: deviation / n.sqrt(), deviation }
    }
}

#[test]
fn the_mean_has_no_bias_where_that_of_the_last_to_end_has() {
    let cases = [(8, 300, 0), (64, 150, 0), (64, 150, 10), (512, 40, 0), (512, 40, 10)];
    for (environments, seeds, bad_unrolls) in cases {
        let runs: Vec<_> = (0..seeds).map(|seed| means(environments, seed, bad_unrolls)).collect();
        // With few environments 65 unrolls are not yet 100 episodes.
        let moments = if environments < 64 { &["first"][..] } else { &["first", "later"] };
        for (moment, name) in moments.iter().enumerate() {
            let [ended, counted] =
                [0, 1].map(|rule| Statistics::of(&runs.iter().map(|run| run[moment][rule]).collect::<Vec<_>>()));
            let told = |s: &Statistics| format!("{:.1} +- {:.1} (deviation {:.1})", s.bias, s.error, s.deviation);
            let told = format!(
                "{environments} environments, {bad_unrolls} unrolls before, {name}: bias of the last to end {}, of those that count {}",
                told(&ended),
                told(&counted)
            );
            println!("{told}");
            assert!(counted.bias.abs() < 3.0 * counted.error, "{told}");
            // No more spread than 100 independent episodes have.
            assert!((counted.deviation / (GOOD.1 / 10.0) - 1.0).abs() < 0.3, "{told}");
            assert!(ended.bias.abs() > 3.0 * ended.error, "{told}");
        }
    }
}
