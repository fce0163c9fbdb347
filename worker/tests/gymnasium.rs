//! The worker in `python/` with the real gymnasium: what comes through it is, to the bit, what gymnasium gives in process. Needs
//! an interpreter with the package, which `IMPALA_PYTHON` names; `make check-gym` makes one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_env::array::{Array, ArrayRef};
use impala_env::space::{ActionSpace, Bounds};
use impala_env::spec::EnvironmentSpec;
use impala_env::{Outcome, StepBuffer, VectorEnvironment};
use impala_worker::{Deadlines, Launch, Program, WorkerEnvironments, describe};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SEEDS: [u64; 5] = [3, 1 << 31, 17, 0, 4_294_967_295];

fn interpreter() -> PathBuf {
    std::env::var_os("IMPALA_PYTHON").expect("IMPALA_PYTHON names an interpreter, as `make check-gym` does").into()
}

/// Where the tests' own environments lie; check-gym.sh puts it into PYTHONPATH.
fn python_tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/tests")
}

fn launch(name: &str, arguments: &Value) -> Launch {
    let mut launch = Launch::new(Program::python(&interpreter()), &format!("gym:{name}").parse().unwrap());
    launch.arguments = arguments.as_object().cloned().unwrap_or_default();
    launch.workers = 2;
    launch
}

/// The same actions that python/tests/reference.py takes: a spread of those that are allowed.
fn actions(spec: &EnvironmentSpec, masks: &[u8], step: usize) -> Array {
    let pick = |environment: usize, component: usize| step * 31 + environment * 17 + component * 7;
    match &spec.actions {
        ActionSpace::Box(Bounds { low, high }) => {
            let of = |environment: usize| {
                let bounds = low.iter().zip(high).enumerate();
                bounds.map(move |(component, (low, high))| {
                    low + (high - low) * ((pick(environment, component) % 11) as f32 / 10.0)
                })
            };
            Array::F32((0..SEEDS.len()).flat_map(of).collect())
        }
        space => {
            let mut chosen = Vec::new();
            for environment in 0..SEEDS.len() {
                let mut begin = environment * spec.mask_len();
                for (component, choices) in space.choices().iter().enumerate() {
                    let allowed: Vec<_> = match spec.masked {
                        true => (0..*choices).filter(|choice| masks[begin + choice] == 1).collect(),
                        false => (0..*choices).collect(),
                    };
                    chosen.push(allowed[pick(environment, component) % allowed.len()] as u8);
                    begin += choices;
                }
            }
            Array::U8(chosen)
        }
    }
}

fn write(array: ArrayRef<'_>, bytes: &mut Vec<u8>) {
    match array {
        ArrayRef::U8(numbers) => bytes.extend_from_slice(numbers),
        ArrayRef::F32(numbers) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
    }
}

/// A rollout through workers equals the one that gymnasium makes by itself; gives how many episodes ended in each way.
fn assert_as_in_process(name: &str, arguments: &Value, steps: usize) -> [usize; 2] {
    let mut reference = Command::new(interpreter());
    reference.arg(python_tests().join("reference.py")).args([name, &arguments.to_string(), &steps.to_string()]);
    let output = reference.args(SEEDS.map(|seed| seed.to_string())).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let mut expected = output.stdout.as_slice();

    let mut environments = WorkerEnvironments::start(&launch(name, arguments), &SEEDS).unwrap();
    let mut buffer = StepBuffer::new(environments.spec(), SEEDS.len());
    let spec = environments.spec().clone();
    buffer.observe(&environments);
    let (mut ended, mut bytes) = ([0, 0], Vec::new());
    let mut compare = |what: &str, bytes: &mut Vec<u8>| {
        let (of_these, rest) = expected.split_at(bytes.len());
        assert!(bytes == of_these, "{name}: {what} is not what gymnasium gives in process");
        expected = rest;
        bytes.clear();
    };
    write(buffer.observations.view(), &mut bytes);
    bytes.extend_from_slice(&buffer.masks);
    compare("the first observation", &mut bytes);
    for step in 0..steps {
        let actions = actions(&spec, &buffer.masks, step);
        buffer.step(&mut environments, actions.view());
        assert_eq!(environments.fault(), None, "{name}, step {step}");
        write(buffer.observations.view(), &mut bytes);
        bytes.extend_from_slice(&buffer.masks);
        compare(&format!("observation {step}"), &mut bytes);
        write(ArrayRef::F32(&buffer.rewards), &mut bytes);
        compare(&format!("reward {step}"), &mut bytes);
        bytes.extend(buffer.outcomes.iter().map(|outcome| *outcome as u8));
        compare(&format!("outcome {step}"), &mut bytes);
        write(buffer.final_observations.view(), &mut bytes);
        compare(&format!("final observation {step}"), &mut bytes);
        for outcome in &buffer.outcomes {
            ended[0] += usize::from(*outcome == Outcome::Terminated);
            ended[1] += usize::from(*outcome == Outcome::Truncated);
        }
    }
    assert!(expected.is_empty(), "{name}: gymnasium gives more");
    ended
}

#[test]
#[ignore = "needs gymnasium"]
fn rollouts_are_to_the_bit_those_of_gymnasium_in_process() {
    for (name, arguments, ends) in [
        ("CartPole-v1", json!({"max_episode_steps": 30}), [true, true]),
        ("CartPole-v1", json!({}), [true, false]),
        ("Pendulum-v1", json!({}), [false, true]),
        ("MountainCar-v0", json!({}), [false, true]),
        ("FrozenLake-v1", json!({"max_episode_steps": 12}), [true, true]),
        ("Taxi-v4", json!({}), [false, true]),
        ("own_environments:Own-v0", json!({"observations": "pixels", "actions": "multi_discrete"}), [true, true]),
        ("own_environments:Own-v0", json!({"observations": "float64", "actions": "multi_binary"}), [true, true]),
        ("own_environments:Own-v0", json!({"observations": "discrete", "actions": "box"}), [true, true]),
        ("own_environments:Own-v0", json!({"observations": "scalar", "actions": "started"}), [true, true]),
        ("own_environments:Vector-v0", json!({}), [true, true]),
    ] {
        let ended = assert_as_in_process(name, &arguments, 1000);
        assert_eq!(ended.map(|count| count > 0), ends, "{name} {arguments}: {ended:?} terminated and truncated");
    }
}

#[test]
#[ignore = "needs gymnasium with box2d"]
fn a_rollout_of_lunar_lander_is_to_the_bit_that_of_gymnasium_in_process() {
    for arguments in [json!({}), json!({"continuous": true})] {
        let [terminated, _] = assert_as_in_process("LunarLander-v3", &arguments, 500);
        assert!(terminated > 0, "{arguments}");
    }
    let description = describe(&launch("LunarLander-v3", &json!({}))).unwrap();
    assert_eq!((description.solved_return, description.steps_max), (Some(200.0), Some(1000)));
    assert_eq!(description.spec.to_string(), "gym:LunarLander-v3 (observations f32[8], 4 actions)");
}

#[test]
#[ignore = "needs gymnasium"]
fn masks_and_spaces_are_described() {
    let described = |name: &str, arguments: Value| describe(&launch(name, &arguments)).unwrap().spec.to_string();
    assert_eq!(described("Taxi-v4", json!({})), "gym:Taxi-v4 (observations f32[500], 6 actions, masked)");
    assert_eq!(
        described("Pendulum-v1", json!({})),
        "gym:Pendulum-v1 (observations f32[3], actions in 1 dimension, -2 to 2)"
    );
    let own = |observations: &str, actions: &str| {
        described("own_environments:Own-v0", json!({"observations": observations, "actions": actions}))
    };
    assert!(own("pixels", "multi_discrete").ends_with("(observations u8[4, 5, 3], 3 x 2 actions)"));
    assert!(own("scalar", "multi_binary").ends_with("(observations f32[], 2 x 2 x 2 actions)"));
    let unbounded = describe(&launch("own_environments:Own-v0", &json!({"actions": "unbounded"}))).unwrap();
    assert_eq!(unbounded.spec.actions, ActionSpace::bounded(&[f32::NEG_INFINITY], &[f32::INFINITY]));
}

/// What is said of an environment that cannot be started, or that fails in a step.
fn complaint(name: &str, arguments: &Value) -> String {
    let mut launch = launch(name, arguments);
    launch.workers = 1;
    launch.deadlines = Deadlines { step: Duration::from_secs(2), ..launch.deadlines };
    let mut environments = match WorkerEnvironments::start(&launch, &SEEDS) {
        Ok(environments) => environments,
        Err(error) => return error.to_string(),
    };
    let spec = environments.spec().clone();
    let mut buffer = StepBuffer::new(&spec, SEEDS.len());
    buffer.observe(&environments);
    for step in 0..10 {
        let actions = actions(&spec, &buffer.masks, step);
        buffer.step(&mut environments, actions.view());
        if let Some(fault) = environments.fault() {
            return fault;
        }
    }
    "nothing".into()
}

#[test]
#[ignore = "needs gymnasium"]
fn what_cannot_be_trained_on_or_fails_is_told_in_a_sentence() {
    let own = "own_environments:Own-v0";
    let observations = |kind: &str| json!({"observations": kind});
    let fault = |fault: &str| json!({"fault": fault});
    let none = Value::Object(Map::new());
    for (name, arguments, told) in [
        ("CartPol-v1", &none, "the nearest names are CartPole-v1"),
        ("CartPole", &none, "gymnasium knows no environment `CartPole`"),
        ("no_such_module:A-v0", &none, "module `no_such_module` must be importable where the actor runs"),
        ("lacks_a_module:A-v0", &none, "lacks_a_module:A-v0: No module named 'no_such_module'"),
        ("Blackjack-v1", &none, "gymnasium.wrappers.FlattenObservation(env)"),
        (own, &observations("dict"), "its observations are Dict("),
        (own, &observations("text"), "its observations are Text("),
        (own, &observations("int64"), "a Box of int64: gymnasium.wrappers.DtypeObservation"),
        (own, &json!({"actions": "tuple"}), "its actions are Tuple("),
        (own, &json!({"actions": "many"}), "actions have 300 components, at most 256 are taken"),
        (own, &json!({"actions": "wide"}), "action_count = 300, it must be 1 to 256"),
        (own, &json!({"no_such_argument": 1}), "raised TypeError"),
        ("own_environments:NextStep-v0", &none, "its autoreset_mode is AutoresetMode.NEXT_STEP"),
        (own, &fault("nan"), "gave observation[1] = NaN, it must be finite"),
        (own, &fault("inf"), "gave reward = inf, it must be finite"),
        (own, &fault("shape"), "an observation has shape (3,), its space says (2,)"),
        (own, &fault("dtype"), "an observation is of int64, its space says float32 or float64"),
        (own, &fault("list"), "an observation is a list"),
        (own, &fault("reward"), "'much'], which are not all numbers"),
        (
            own,
            &fault("raise"),
            "the environment raised ZeroDivisionError: integer division or modulo by zero; the log has the traceback",
        ),
        (own, &fault("quit"), "raised SystemExit: 4"),
        (own, &fault("die"), "the worker ended in a step with exit status: 5"),
        (own, &fault("hang"), "the worker was silent for 2 s in a step"),
        (own, &fault("print"), "nothing"),
    ] {
        let complaint = complaint(name, arguments);
        assert!(complaint.contains(told), "{name} {arguments}: {complaint}");
    }
}

#[test]
#[ignore = "needs gymnasium"]
fn pictures_are_drawn_when_they_were_asked_for_at_the_start() {
    let mut launch = launch("own_environments:Own-v0", &json!({}));
    launch.renders = true;
    let mut environments = WorkerEnvironments::start(&launch, &SEEDS).unwrap();
    let picture = environments.render(4).unwrap();
    assert_eq!((picture.width, picture.height, picture.rgb.len()), (3, 2, 18));
    assert_eq!(picture.rgb[..3], [200, 0, 0]);
    launch.renders = false;
    let mut environments = WorkerEnvironments::start(&launch, &SEEDS).unwrap();
    let error = environments.render(0).unwrap_err().to_string();
    assert!(error.contains("an array (height, width, 3) of uint8 was asked for"), "{error}");
}
