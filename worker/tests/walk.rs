//! Environments in workers that are written in Perl: they step as their rules say, in any number of processes, and whatever a
//! worker does instead is told in a sentence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_env::array::ArrayRef;
use impala_env::{Half, Outcome, Step, StepBuffer, VectorEnvironment, rngs};
use impala_worker::{Launch, Program, WorkerEnvironments, WorkerError, describe, kind};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

const SEEDS: [u64; 7] = [0, 1, 2, 3, 4, 5, 6];

fn perl<const K: usize>(arguments: [&str; K]) -> Launch {
    let program = Program::new(Path::new("perl"), arguments);
    let mut launch = Launch::new(program, &"gym:Walk-v0".parse().unwrap());
    launch.workers = 3;
    launch
}

/// The walk in Perl, which misbehaves in its third step in this way.
fn walk(fault: &str) -> Launch {
    let mut launch = perl([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker.pl")]);
    launch.arguments.extend([("fault".into(), json!(fault))]);
    launch
}

/// The rules of the walk once more.
#[derive(Clone, Copy)]
struct Walk {
    seed: u64,
    place: u8,
    steps: u8,
}

impl Walk {
    fn begin(seed: u64) -> Self {
        Self { seed, place: (seed % 3) as u8, steps: 0 }
    }

    fn shown(self) -> [f32; 2] {
        [self.place, self.steps].map(f32::from)
    }

    fn mask(self) -> [u8; 3] {
        [u8::from(self.place > 0), 1, 1]
    }

    fn step(&mut self, action: u8) -> (Outcome, [f32; 2]) {
        self.place = self.place + action - 1;
        self.steps += 1;
        let outcome = match (self.place >= 8, self.steps >= 10) {
            (true, _) => Outcome::Terminated,
            (false, true) => Outcome::Truncated,
            (false, false) => Outcome::Continues,
        };
        let last = self.shown();
        if outcome != Outcome::Continues {
            *self = Self::begin(self.seed);
        }
        (outcome, last)
    }
}

/// A spread of allowed actions.
fn actions(walks: &[Walk], step: usize) -> Vec<u8> {
    let of = |(i, walk): (usize, &Walk)| {
        let action = [2, 1, 2, 2, 0, 2, 2][(step * 3 + i * 5) % 7];
        if walk.mask()[usize::from(action)] == 1 { action } else { 1 }
    };
    walks.iter().enumerate().map(of).collect()
}

/// The environments show what these walks do.
fn assert_shown(buffer: &StepBuffer, walks: &[Walk]) {
    let shown: Vec<_> = walks.iter().flat_map(|walk| walk.shown()).collect();
    let masks: Vec<_> = walks.iter().flat_map(|walk| walk.mask()).collect();
    assert_eq!((buffer.observations.view().f32(), &buffer.masks), (shown.as_slice(), &masks));
}

#[test]
fn environments_in_several_workers_step_as_their_rules_say() {
    let mut environments = WorkerEnvironments::start(&walk(""), &SEEDS).unwrap();
    let mut walks = SEEDS.map(Walk::begin);
    let mut buffer = StepBuffer::new(environments.spec(), SEEDS.len());
    buffer.observe(&environments);
    assert_shown(&buffer, &walks);
    let (mut terminated, mut truncated) = (0, 0);
    for step in 0..200 {
        let actions = actions(&walks, step);
        buffer.step(&mut environments, ArrayRef::U8(&actions));
        let ends: Vec<_> = walks.iter_mut().zip(&actions).map(|(walk, action)| walk.step(*action)).collect();
        let outcomes: Vec<_> = ends.iter().map(|(outcome, _)| *outcome).collect();
        let cut = ends.iter().filter(|(outcome, _)| *outcome == Outcome::Truncated);
        let finals: Vec<_> = cut.flat_map(|(_, last)| *last).collect();
        assert_shown(&buffer, &walks);
        assert_eq!((&buffer.outcomes, buffer.final_observations.view().f32()), (&outcomes, finals.as_slice()));
        assert!(buffer.rewards.iter().zip(&actions).all(|(reward, action)| *reward == f32::from(*action) - 1.0));
        buffer.observe(&environments);
        assert_shown(&buffer, &walks);
        terminated += outcomes.iter().filter(|outcome| **outcome == Outcome::Terminated).count();
        truncated += finals.len() / 2;
    }
    assert!(terminated > 20 && truncated > 20, "{terminated} terminated, {truncated} truncated");
    assert_eq!(environments.fault(), None);
}

#[test]
fn what_a_pipe_cannot_hold_comes_in_pieces() {
    let seeds: Vec<u64> = (0..20_000).collect();
    let mut environments = WorkerEnvironments::start(&Launch { workers: 1, ..walk("") }, &seeds).unwrap();
    let mut walks: Vec<_> = seeds.iter().copied().map(Walk::begin).collect();
    let mut buffer = StepBuffer::new(environments.spec(), seeds.len());
    for step in 0..10 {
        let actions = actions(&walks, step);
        buffer.step(&mut environments, ArrayRef::U8(&actions));
        walks.iter_mut().zip(&actions).for_each(|(walk, action)| _ = walk.step(*action));
        assert_eq!(environments.fault(), None);
        assert_shown(&buffer, &walks);
    }
    assert!(buffer.final_observations.len() > 20_000, "{} numbers", buffer.final_observations.len());
}

/// The part of a step's memory that a half of seven environments writes, of which the first has `first`.
fn part(buffer: &mut StepBuffer, half: Half, first: usize) -> Step<'_> {
    let range = if half == Half::First { 0..first } else { first..SEEDS.len() };
    Step {
        observations: buffer.observations.view_mut().range(2 * range.start..2 * range.end),
        masks: &mut buffer.masks[3 * range.start..3 * range.end],
        rewards: &mut buffer.rewards[range.clone()],
        outcomes: &mut buffer.outcomes[range],
        final_observations: &mut buffer.final_observations,
    }
}

#[test]
fn halves_that_are_stepped_in_turn_do_what_whole_steps_do() {
    let mut whole = WorkerEnvironments::start(&walk(""), &SEEDS).unwrap();
    let mut environments = WorkerEnvironments::start(&walk(""), &SEEDS).unwrap();
    let mut buffers = [0, 1].map(|_| StepBuffer::new(whole.spec(), SEEDS.len()));
    let mut walks = SEEDS.map(Walk::begin);
    let halves = environments.halves().expect("there are three workers");
    // Of three workers the first has two of seven environments.
    assert_eq!(halves.first(), 2);
    halves.begin(Half::First, ArrayRef::U8(&actions(&walks, 0)[..2]));
    for step in 0..100 {
        let now = actions(&walks, step);
        whole_step(&mut whole, &mut buffers[0], &now);
        walks.iter_mut().zip(&now).for_each(|(walk, action)| _ = walk.step(*action));
        halves.begin(Half::Second, ArrayRef::U8(&now[2..]));
        buffers[1].final_observations.clear();
        halves.end(Half::First, part(&mut buffers[1], Half::First, 2));
        // The first half is a step ahead while the second is waited for.
        halves.begin(Half::First, ArrayRef::U8(&actions(&walks, step + 1)[..2]));
        halves.end(Half::Second, part(&mut buffers[1], Half::Second, 2));
        assert_eq!(buffers[0], buffers[1], "step {step}");
    }
}

fn whole_step(environments: &mut WorkerEnvironments, buffer: &mut StepBuffer, actions: &[u8]) {
    buffer.step(environments, ArrayRef::U8(actions));
    assert_eq!(environments.fault(), None);
}

#[test]
fn one_worker_has_no_halves_and_one_that_fails_is_told_of_both() {
    let mut launch = walk("");
    launch.workers = 1;
    assert!(WorkerEnvironments::start(&launch, &SEEDS).unwrap().halves().is_none());
    let mut environments = WorkerEnvironments::start(&walk("dies"), &SEEDS).unwrap();
    let mut buffer = StepBuffer::new(environments.spec(), SEEDS.len());
    (0..2).for_each(|_| whole_step(&mut environments, &mut buffer, &[1; 7]));
    let halves = environments.halves().unwrap();
    halves.begin(Half::First, ArrayRef::U8(&[1; 2]));
    halves.begin(Half::Second, ArrayRef::U8(&[1; 5]));
    halves.end(Half::First, part(&mut buffer, Half::First, 2));
    halves.end(Half::Second, part(&mut buffer, Half::Second, 2));
    assert_eq!((buffer.observations.view().f32(), &buffer.rewards), ([0.0; 14].as_slice(), &vec![0.0; 7]));
    assert!(environments.halves().is_some() && environments.fault().unwrap().contains("exit status: 3"));
}

#[test]
fn a_kind_for_the_registry_is_made_of_a_description() {
    let description = describe(&walk("")).unwrap();
    assert_eq!((description.steps_max, description.steps_per_second), (Some(10), None));
    let kind = kind(&walk("")).unwrap();
    assert_eq!((kind.name().as_str(), kind.solved_return(), kind.is_resumable()), ("gym:Walk-v0", 6.0, false));
    assert_eq!(kind.spec().to_string(), "gym:Walk-v0 (observations f32[2], 3 actions, masked)");
    let mut environments = kind.make(rngs(1, 0, 4));
    let mut buffer = StepBuffer::new(kind.spec(), 4);
    buffer.step(&mut *environments, ArrayRef::U8(&[1; 4]));
    assert_eq!((environments.fault(), environments.state()), (None, Vec::new()));
    assert!(buffer.observations.view().f32().chunks(2).all(|shown| shown[1] == 1.0), "each made one step");
    let error = environments.restore(&[]).unwrap_err();
    assert_eq!(error.to_string(), "the saved state is not one of 4 gymnasium environments");
}

#[test]
fn a_picture_is_of_the_environment_that_it_was_asked_of() {
    let mut environments = WorkerEnvironments::start(&walk(""), &SEEDS).unwrap();
    // The third worker has the last three; its picture tells which of its own was asked.
    let picture = environments.render(5).unwrap();
    assert_eq!((picture.width, picture.height, picture.rgb), (2, 1, vec![255, 0, 0, 0, 0, 1]));
}

/// Steps a walk until something is wrong, and gives the sentence.
fn fault_in_a_step(fault: &str) -> String {
    let mut launch = walk(fault);
    launch.workers = 2;
    launch.deadlines.step = Duration::from_millis(if fault == "hangs" { 200 } else { 60_000 });
    let mut environments = WorkerEnvironments::start(&launch, &SEEDS).unwrap();
    let mut buffer = StepBuffer::new(environments.spec(), SEEDS.len());
    for step in 1..=4 {
        buffer.step(&mut environments, ArrayRef::U8(&[1; 7]));
        assert_eq!(environments.fault().is_some(), step >= 3, "in step {step}: {:?}", environments.fault());
    }
    assert_eq!((buffer.observations.view().f32(), buffer.rewards), ([0.0; 14].as_slice(), vec![0.0; 7]));
    environments.fault().unwrap()
}

#[test]
fn whatever_a_worker_does_instead_of_a_step_is_told() {
    for (fault, told) in [
        ("dies", "the worker ended in a step with exit status: 3; the last that it wrote: no more"),
        ("hangs", "the worker was silent for 0.2 s in a step and was ended"),
        (
            "garbage",
            "the worker broke the protocol in a step: it announced an answer of 1651663207 bytes, at most 1048576",
        ),
        ("raises", "the environment raised ValueError: 7; the log has the traceback"),
        ("nan", "the environment with index 0 gave observation[1] = NaN, it must be finite and within 1e9 of 0"),
        (
            "short",
            "the worker broke the protocol in a step: its answer has 47 bytes, the arrays of its environments have 48",
        ),
        ("long", "its answer has 56 bytes, the arrays of its environments have 48"),
        ("other", "it sent Observed where Stepped was expected"),
    ] {
        let sentence = fault_in_a_step(fault);
        assert!(sentence.starts_with("environment gym:Walk-v0, worker 0: "), "{fault}: {sentence}");
        assert!(sentence.contains(told), "{fault}: {sentence}");
    }
}

#[test]
fn an_answer_that_was_not_asked_for_is_noticed() {
    // Both may come at once, or the second one is taken for the answer to a later question, which has one more then.
    let mut environments = WorkerEnvironments::start(&walk("twice"), &SEEDS).unwrap();
    let mut buffer = StepBuffer::new(environments.spec(), SEEDS.len());
    for _ in 0..10_000 {
        buffer.step(&mut environments, ArrayRef::U8(&[1; 7]));
        if let Some(fault) = environments.fault() {
            return assert!(fault.contains("more than it was asked for"), "{fault}");
        }
    }
    panic!("nothing was noticed");
}

fn start_error(launch: &Launch) -> WorkerError {
    WorkerEnvironments::start(launch, &[1, 2, 3]).unwrap_err()
}

#[test]
fn what_is_no_worker_or_lacks_something_is_told_at_the_start() {
    let missing = Program::new(Path::new("no-such-interpreter"), ["-m", "impala_gym"]);
    let missing = Launch { program: missing, ..walk("") };
    let mut unknown = walk("");
    unknown.environment = "gym:Wolk-v0".parse().unwrap();
    let no_package = perl(["-e", "print STDERR qq(python3: No module named impala_gym\n); exit 1"]);
    let newer = perl(["-e", "$| = 1; print pack('V C x3 a4 V', 8, 129, 'IMPW', 9); sleep 60"]);
    let mut sleeps = walk("sleeps");
    sleeps.deadlines.start = Duration::from_millis(300);
    let no_worker = perl([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker.pl"), "no worker"]);
    for (launch, told) in [
        (&missing, "`no-such-interpreter -m impala_gym` cannot be started"),
        (&unknown, "no environment `Wolk-v0`: the nearest is Walk-v0"),
        (&no_package, "lacks the package impala_gym: install it with `pip install ./python`"),
        (&newer, "the worker speaks version 9 of the protocol, this program speaks 1"),
        (&sleeps, "the worker was silent for 0.3 s at its start and was ended"),
        (&no_worker, "does not speak the protocol of workers, its standard output began with \"Hello! My name"),
        (&perl(["-e", "die qq(no way\n)"]), "ended at its start with exit status: 255; the last that it wrote: no way"),
        (&walk("differs"), "the worker describes it otherwise than worker 0"),
    ] {
        let error = start_error(launch).to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn environments_that_cannot_be_started_say_why_instead_of_stepping() {
    let kind = kind(&walk("differs")).unwrap();
    let mut environments = kind.make(rngs(1, 0, 4));
    assert!(environments.fault().unwrap().contains("otherwise than worker 0"));
    let mut buffer = StepBuffer::new(kind.spec(), 4);
    buffer.rewards.fill(1.0);
    buffer.step(&mut *environments, ArrayRef::U8(&[1; 4]));
    assert_eq!(buffer, StepBuffer::new(kind.spec(), 4));
}

/// The processes that this thread has started and not heard the end of.
#[cfg(target_os = "linux")]
fn children() -> String {
    std::fs::read_to_string("/proc/thread-self/children").unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn no_worker_outlives_its_environments() {
    let environments = WorkerEnvironments::start(&walk(""), &SEEDS).unwrap();
    assert_eq!(children().split_whitespace().count(), 3);
    drop(environments);
    assert_eq!(children(), "");
    let mut hanging = WorkerEnvironments::start(&walk("hangs"), &SEEDS).unwrap();
    let mut buffer = StepBuffer::new(hanging.spec(), SEEDS.len());
    (0..2).for_each(|_| buffer.step(&mut hanging, ArrayRef::U8(&[1; 7])));
    let (first, second) = hanging.halves().map(|halves| (halves.first(), halves)).unwrap();
    second.begin(Half::First, ArrayRef::U8(&[1; 7][..first]));
    drop(hanging);
    assert_eq!(children(), "");
}
