use super::*;
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use proptest::prelude::*;
use prost::Message;

fn shape() -> TrajectoryShape {
    TrajectoryShape::plain(3, 2, 4, 2)
}

fn trajectory() -> Trajectory {
    let parts = TrajectoryParts {
        sequence: Sequence(5),
        weights_version: WeightsVersion(9),
        observations: (0..32).map(|i| i as f32 * 0.5).collect(),
        actions: vec![0_u8, 1, 1, 0, 1, 0].into(),
        masks: vec![],
        behaviour_log_probs: vec![-0.5; 6],
        rewards: vec![1.0; 6],
        outcomes: [0, 0, 1, 0, 0, 2].map(|o| Outcome::from_u8(o).unwrap()).to_vec(),
        final_observations: vec![0.25; 4].into(),
    };
    let [room, weights, unroll] = [90_000, 0, 15].map(Duration::from_micros);
    Trajectory::try_new(shape(), parts).unwrap().with_time(RolloutTime { room, weights, unroll })
}

fn agreement() -> Agreement {
    Agreement {
        session: Session(3 << 100),
        actor_index: ActorIndex(1),
        environment: EnvironmentSpec::new("cartpole-v1", ObservationSpace::vector(4), ActionSpace::Discrete(2)),
        network: NetworkSpec {
            observation_len: 4,
            hidden: vec![64, 32],
            activation: Activation::Relu,
            head: PolicyHead::single(2),
            normalises: false,
        },
        unroll_length: 20,
        environments_per_actor: 8,
        seed: 1 << 40,
        encoding: Encoding::Bf16Delta,
        in_flight_max: 2,
        lockstep: Some(Lockstep { actors: 2, trajectories_per_batch: 1 }),
    }
}

#[test]
fn trajectories_round_trip() {
    let message = pb::Trajectory::from(&trajectory());
    assert_eq!(trajectory_from_pb(&message, &shape()), Ok(trajectory()));
}

#[test]
fn times_are_rounded_bounded_and_not_needed() {
    let long = RolloutTime { room: Duration::MAX, unroll: Duration::from_nanos(1_600), ..RolloutTime::default() };
    let mut message = pb::Trajectory::from(&trajectory().with_time(long));
    assert_eq!((message.room_wait_micros, message.unroll_micros), (Some(u32::MAX), Some(2)));
    // An actor of an older build sends none.
    (message.room_wait_micros, message.weights_wait_micros, message.unroll_micros) = (None, None, None);
    assert_eq!(trajectory_from_pb(&message, &shape()).unwrap().time(), RolloutTime::default());
}

#[test]
fn the_largest_trajectory_fits_its_bound() {
    let frames = shape().frames();
    let parts = TrajectoryParts {
        outcomes: vec![Outcome::Truncated; frames],
        final_observations: vec![0.5; frames * shape().observation_len()].into(),
        ..trajectory().into_parts()
    };
    let largest = pb::Trajectory::from(&Trajectory::try_new(shape(), parts).unwrap());
    let message = pb::PushRequest { message: Some(pb::push_request::Message::Trajectory(largest)) };
    assert!(message.encoded_len() <= shape().wire_bytes_max());
}

#[test]
fn agreements_registrations_and_snapshots_round_trip() {
    let reply = pb::RegisterReply::from(agreement());
    assert_eq!(Agreement::try_from(reply), Ok(agreement()));

    let registration = Registration {
        protocol_version: 1,
        actor_name: "pod-1".into(),
        incarnation: Incarnation(77),
        actor_index: Some(ActorIndex(4)),
        produced: Sequence(12),
        environments: vec![agreement().environment],
        encodings: Encoding::ALL.to_vec(),
        weights_in_receipts: true,
        stored_payloads: true,
        evaluates: true,
    };
    assert_eq!(Registration::from(pb::RegisterRequest::from(registration.clone())), registration);

    let snapshot = Snapshot {
        version: WeightsVersion(8),
        encoding: Encoding::F16Delta,
        base: Some(WeightsVersion(7)),
        parameter_count: 3,
        checksum: 0xdead_beef,
        payload: vec![1, 2, 3].into(),
        stored: true,
    };
    assert_eq!(Snapshot::try_from(pb::Snapshot::from(&snapshot)), Ok(snapshot));
}

#[test]
fn a_run_has_no_longer_name_than_a_file() {
    assert_eq!(run_name("läuft"), "läuft");
    assert_eq!(run_name(&"ä".repeat(1 << 20)).chars().count(), RUN_NAME_MAX);
}

#[test]
fn each_malformed_field_of_a_trajectory_is_named() {
    let error = |change: fn(&mut pb::Trajectory)| {
        let mut message = pb::Trajectory::from(&trajectory());
        change(&mut message);
        trajectory_from_pb(&message, &shape()).unwrap_err().to_string()
    };
    assert_eq!(error(|m| m.unroll_length = 4), "field `unroll_length` is 4, agreed was 3");
    assert_eq!(error(|m| m.environments = 1), "field `environments` is 1, agreed was 2");
    assert_eq!(error(|m| m.rewards.truncate(23)), "field `rewards` has 23 bytes, not a multiple of 4");
    assert!(error(|m| m.rewards.truncate(20)).starts_with("rewards has 5 elements, expected 6"));
    assert_eq!(error(|m| m.outcomes = vec![9; 6].into()), "field `outcomes` has the unknown value 9");
    let nan = |m: &mut pb::Trajectory| m.rewards = to_bytes(&[f32::NAN; 6]);
    assert_eq!(error(nan), "rewards[0] is NaN, expected a number within 1e9 of 0");
}

#[test]
fn a_reply_that_cannot_be_kept_is_refused() {
    let error = |change: fn(&mut pb::RegisterReply)| {
        let mut reply = pb::RegisterReply::from(agreement());
        change(&mut reply);
        Agreement::try_from(reply).unwrap_err().to_string()
    };
    assert_eq!(error(|r| r.network = None), "field `network` is missing");
    assert_eq!(error(|r| r.encoding = 99), "field `encoding` has the unknown value 99");
    assert_eq!(error(|r| r.encoding = 0), "field `encoding` has the unknown value 0");
    assert_eq!(error(|r| r.unroll_length = 0), "unroll_length 0 is not between 1 and 4096");
    let activation = |r: &mut pb::RegisterReply| r.network.as_mut().unwrap().activation = "gelu".into();
    assert_eq!(error(activation), "field `network.activation` has the unknown value gelu");
}

proptest! {
    #[test]
    fn damaged_trajectories_are_refused_or_valid_but_never_panic(
        position in any::<prop::sample::Index>(),
        bit in 0_u32..8,
        keep in any::<prop::sample::Index>(),
    ) {
        let sound = pb::Trajectory::from(&trajectory()).encode_to_vec();
        let mut flipped = sound.clone();
        flipped[position.index(sound.len())] ^= 1 << bit;
        for bytes in [flipped.as_slice(), &sound[..keep.index(sound.len())]] {
            let Ok(message) = pb::Trajectory::decode(bytes) else { continue };
            if let Ok(parsed) = trajectory_from_pb(&message, &shape()) {
                prop_assert_eq!(parsed.shape(), &shape());
                prop_assert!(parsed.observations.view().f32().iter().all(|x| x.is_finite()));
            }
        }
    }
}
