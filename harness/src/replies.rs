//! What a learner says, as the wire carries it.

use impala_common::agreement::Agreement;
use impala_common::ids::{ActorIndex, Session, WeightsVersion};
use impala_common::snapshot::{self, Encoding, NumberFormat, Snapshot, Words};
use impala_common::wire::pb;
use impala_env::builtin;
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};

/// What a learner of `CartPole` agrees to with its only actor.
pub fn agreement(session: u64) -> Agreement {
    let environment = builtin().kinds()[0].spec().clone();
    Agreement {
        session: Session(session.into()),
        actor_index: ActorIndex(0),
        network: NetworkSpec {
            observation_len: environment.observation_len(),
            hidden: vec![8],
            activation: Activation::Tanh,
            head: PolicyHead::of(&environment, false),
            normalises: false,
        },
        environment,
        unroll_length: 5,
        environments_per_actor: 3,
        seed: 1,
        encoding: Encoding::F32Delta,
        in_flight_max: 2,
        lockstep: None,
    }
}

fn words(version: u64) -> Words {
    let parameters = vec![version as f32 * 0.01; agreement(0).network.parameter_count()];
    Words::round(NumberFormat::F32, &parameters, 0)
}

/// Weights that are all `version / 100`.
pub fn full(version: u64) -> pb::Snapshot {
    pb::Snapshot::from(&snapshot::encode(WeightsVersion(version), &words(version), None))
}

/// The same without compression.
pub fn stored(version: u64) -> pb::Snapshot {
    pb::Snapshot::from(&snapshot::store(WeightsVersion(version), &words(version)))
}

/// The same as the difference to another version.
pub fn delta(version: u64, base: u64) -> pb::Snapshot {
    let snapshot: Snapshot =
        snapshot::encode(WeightsVersion(version), &words(version), Some((WeightsVersion(base), &words(base))));
    pb::Snapshot::from(&snapshot)
}

/// What became of a trajectory.
pub fn receipt(sequence: u64, disposition: pb::Disposition) -> pb::PushReply {
    let receipt = pb::Receipt { sequence, disposition: disposition.into(), weights_version: 0, weights: None };
    pb::PushReply { message: Some(pb::push_reply::Message::Receipt(receipt)) }
}

/// A receipt with the weights for the next trajectory.
pub fn receipt_with(sequence: u64, weights: pb::Snapshot) -> pb::PushReply {
    let weights_version = weights.version;
    let disposition = pb::Disposition::Trained.into();
    let receipt = pb::Receipt { sequence, disposition, weights_version, weights: Some(weights) };
    pb::PushReply { message: Some(pb::push_reply::Message::Receipt(receipt)) }
}

/// Weights by themselves, as they come after `open`.
pub fn weights(snapshot: pb::Snapshot) -> pb::PushReply {
    pb::PushReply { message: Some(pb::push_reply::Message::Weights(snapshot)) }
}

/// Ends the run.
pub fn finish(reason: &str) -> pb::PushReply {
    finish_with(reason, false)
}

/// Ends the session; the actor is to register again.
pub fn wait(reason: &str) -> pb::PushReply {
    finish_with(reason, true)
}

fn finish_with(reason: &str, wait: bool) -> pb::PushReply {
    let finish = pb::Finish { reason: reason.into(), wait };
    pb::PushReply { message: Some(pb::push_reply::Message::Finish(finish)) }
}
