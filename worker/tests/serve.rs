//! The worker's side in Rust, by the bytes that it is asked and answers with: its environments are those of this process, to the bit,
//! and what it does not understand is told in a sentence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_env::array::ArrayRef;
use impala_env::seed::Rng;
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::{EnvironmentKind, Outcome, StepBuffer, builtin};
use impala_worker::{Ending, list, serve_on};
use rand::SeedableRng;
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [3, 0, 4_294_967_295];
/// What is asked, in the numbers of docs/worker-protocol.md.
const START: u8 = 1;
const OBSERVE: u8 = 2;
const STEP: u8 = 3;
const RENDER: u8 = 4;
const SCENE: u8 = 5;
/// What is answered.
const HELLO: u8 = 129;
const DESCRIBED: u8 = 130;
const OBSERVED: u8 = 131;
const STEPPED: u8 = 132;
const FAILED: u8 = 134;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_le_bytes(), [kind, 0, 0, 0].as_slice(), payload].concat()
}

fn start(environment: &str) -> Vec<u8> {
    let start = json!({"environment": environment, "arguments": {}, "seeds": SEEDS, "render": false});
    frame(START, start.to_string().as_bytes())
}

/// What a worker for the built-in environments answers to all of this: kinds and payloads, the hello left out.
fn answers(requests: &[u8]) -> (Ending, Vec<(u8, Vec<u8>)>) {
    let (mut input, mut output) = (requests, Vec::new());
    let ending = serve_on(&builtin(), &mut input, &mut output).unwrap();
    let (mut rest, mut frames) = (output.as_slice(), Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        frames.push((header[4], after[..length].to_vec()));
        rest = &after[length..];
    }
    assert_eq!((rest, frames.remove(0)), ([].as_slice(), (HELLO, b"IMPW\x01\0\0\0".to_vec())));
    (ending, frames)
}

fn append(array: ArrayRef<'_>, bytes: &mut Vec<u8>) {
    match array {
        ArrayRef::U8(numbers) => bytes.extend_from_slice(numbers),
        ArrayRef::F32(numbers) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
    }
}

/// Some actions of each environment, as they travel.
fn actions(space: &ActionSpace, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for place in 0..SEEDS.len() * space.components() {
        match space {
            ActionSpace::Box(bounds) => {
                let component = place % space.components();
                let number = if step.is_multiple_of(3) { bounds.low[component] } else { bounds.high[component] };
                bytes.extend(number.to_le_bytes());
            }
            space => bytes.push(((place * 7 + step / 3) % space.choices()[place % space.components()]) as u8),
        }
    }
    bytes
}

#[test]
fn every_environment_is_to_the_bit_the_one_of_this_process() {
    let (steps, mut ended) = (600, [0; 3]);
    for kind in builtin().kinds() {
        let (name, space) = (kind.name().as_str(), &kind.spec().actions);
        let asked = (0..steps).flat_map(|step| frame(STEP, &actions(space, step)));
        let requests: Vec<u8> = start(name).into_iter().chain(frame(OBSERVE, &[])).chain(asked).collect();
        let (ending, frames) = answers(&requests);
        assert_eq!((ending, frames.len()), (Ending::Asked, steps + 2), "{name}");

        let mut environments = kind.make(SEEDS.map(Rng::seed_from_u64).to_vec());
        let mut buffer = StepBuffer::new(kind.spec(), SEEDS.len());
        buffer.observe(&*environments);
        let mut bytes = Vec::new();
        append(buffer.observations.view(), &mut bytes);
        bytes.extend_from_slice(&buffer.masks);
        assert_eq!((frames[0].0, &frames[1]), (DESCRIBED, &(OBSERVED, bytes)), "{name}");
        for (step, answer) in frames[2..].iter().enumerate() {
            let taken = actions(space, step);
            let numbers: Vec<f32> = taken.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let taken = match space {
                ActionSpace::Box(_) => ArrayRef::F32(&numbers),
                ActionSpace::Discrete(_) | ActionSpace::MultiDiscrete(_) => ArrayRef::U8(&taken),
            };
            buffer.step(&mut *environments, taken);
            let mut bytes = Vec::new();
            append(buffer.observations.view(), &mut bytes);
            bytes.extend_from_slice(&buffer.masks);
            append(ArrayRef::F32(&buffer.rewards), &mut bytes);
            bytes.extend(buffer.outcomes.iter().map(|outcome| *outcome as u8));
            append(buffer.final_observations.view(), &mut bytes);
            assert!(*answer == (STEPPED, bytes), "{name}, step {step}");
            buffer.outcomes.iter().for_each(|outcome| ended[*outcome as usize] += 1);
        }
    }
    assert!(ended[Outcome::Terminated as usize] > 20 && ended[Outcome::Truncated as usize] > 20, "{ended:?}");
}

#[test]
fn what_is_not_understood_is_told_with_its_kind() {
    let wanted = |change: fn(&mut Value)| {
        let mut start = json!({"environment": "catch", "arguments": {}, "seeds": [1], "render": false});
        change(&mut start);
        frame(START, start.to_string().as_bytes())
    };
    let after_start = |request: Vec<u8>| [start("catch"), request].concat();
    for (requests, kind, told) in [
        (
            start("catsh"),
            "unknown_environment",
            "unknown environment `catsh` (did you mean catch?): use one of cartpole-v1",
        ),
        (start("two words"), "unknown_environment", "`two words` is no name of an environment"),
        (
            wanted(|start| start["arguments"] = json!({"size": 3})),
            "unsupported",
            "takes no arguments, `size` was given",
        ),
        (wanted(|start| start["seeds"] = json!(-1)), "protocol", "its start is none (invalid type"),
        (frame(STEP, &[]), "protocol", "Step was asked before Start"),
        (frame(9, &[]), "protocol", "requests of kind 9 are unknown"),
        (after_start(start("catch")), "protocol", "it was started already"),
        (after_start(frame(STEP, &[0, 1])), "protocol", "actions came in 2 bytes, those of its environments have 3"),
        (after_start(frame(STEP, &[0, 1, 3])), "protocol", "action 3 of 3 choices"),
        (after_start(frame(SCENE, &[3, 0, 0, 0])), "protocol", "a scene of one of 3 environments was expected"),
        (
            after_start(frame(RENDER, &[0; 4])),
            "unsupported",
            "catch is of Rust, whose worker has scenes and no pictures",
        ),
    ] {
        let (ending, mut frames) = answers(&requests);
        let (answer, json) = frames.pop().unwrap();
        let failure: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((ending, answer, failure["kind"].as_str()), (Ending::Failed, FAILED, Some(kind)), "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(told), "{failure}");
    }
}

#[test]
fn a_request_that_ends_in_its_middle_is_an_error_and_an_end_between_two_is_none() {
    let whole = [start("catch"), frame(OBSERVE, &[])].concat();
    let served = |requests: &[u8]| serve_on(&builtin(), &mut &*requests, &mut Vec::new());
    let ends = [0, whole.len() - 8, whole.len()];
    for length in 0..=whole.len() {
        assert_eq!(served(&whole[..length]).is_ok(), ends.contains(&length), "after {length} bytes");
    }
}

#[test]
fn a_listing_has_a_line_for_each_environment_with_all_that_is_known_of_it() {
    let mut registry = builtin();
    let (observations, actions) = (ObservationSpace::bytes(&[2, 3]), ActionSpace::bounded(&[-1.0], &[f32::INFINITY]));
    let catch = registry.get(&"catch".parse().unwrap()).unwrap();
    let kind = EnvironmentKind::new("mine", observations, actions, 2.5, move |rngs| catch.make(rngs)).unwrap();
    let kind = kind.with_rewards(f32::MIN..=0.5).unwrap().with_action_names(&["force"]).unwrap().without_state();
    registry.register(kind.with_steps_per_second(7).unwrap()).unwrap();
    let mut output = Vec::new();
    list(&registry, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), registry.kinds().len());
    assert_eq!((&lines[0]["name"], &lines[0]["resumable"]), (&json!("cartpole-v1"), &json!(true)));
    let expected = json!({
        "name": "mine", "observations": {"dtype": "u8", "shape": [2, 3]},
        "actions": {"box": {"low": [-1.0], "high": [null]}}, "masked": false, "autoreset": "same_step", "solved_return": 2.5,
        "steps_max": null, "steps_per_second": 7, "rewards": [null, 0.5], "action_names": ["force"], "resumable": false
    });
    assert_eq!(*lines.last().unwrap(), expected);
}
