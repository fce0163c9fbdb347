//! A served model on the wire.

use super::{WireError, pb};
use crate::agreement::validate_network;
use crate::snapshot::Snapshot;
use impala_env::spec::EnvironmentSpec;
use impala_policy::network::NetworkSpec;

/// What a learner answers to whoever asks for its model: a full snapshot and what is needed to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedModel {
    /// What it was trained for.
    pub environment: EnvironmentSpec,
    /// What the parameters belong to; it fits the environment.
    pub network: NetworkSpec,
    /// The parameters.
    pub snapshot: Snapshot,
}

impl From<ServedModel> for pb::GetModelReply {
    fn from(model: ServedModel) -> Self {
        Self {
            environment: Some(model.environment.into()),
            network: Some(model.network.into()),
            snapshot: Some((&model.snapshot).into()),
        }
    }
}

impl TryFrom<pb::GetModelReply> for ServedModel {
    type Error = WireError;

    fn try_from(reply: pb::GetModelReply) -> Result<Self, WireError> {
        let environment = reply.environment.ok_or(WireError::Missing("environment"))?.try_into()?;
        let network = reply.network.ok_or(WireError::Missing("network"))?.try_into()?;
        validate_network(&environment, &network)?;
        let snapshot = reply.snapshot.ok_or(WireError::Missing("snapshot"))?.try_into()?;
        Ok(Self { environment, network, snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WeightsVersion;
    use crate::snapshot::{self, NumberFormat, Words};
    use impala_env::builtin;
    use impala_policy::activation::Activation;
    use impala_policy::network::PolicyHead;

    fn model() -> ServedModel {
        let environment = builtin().kinds()[0].spec().clone();
        let network = NetworkSpec {
            observation_len: 4,
            hidden: vec![3],
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let words = Words::round(NumberFormat::F32, &vec![0.5; network.parameter_count()], 0);
        ServedModel { environment, network, snapshot: snapshot::encode(WeightsVersion(7), &words, None) }
    }

    #[test]
    fn a_model_survives_the_wire() {
        assert_eq!(ServedModel::try_from(pb::GetModelReply::from(model())), Ok(model()));
    }

    #[test]
    fn a_network_that_is_missing_or_too_large_or_another_environments_is_refused() {
        let refused = |change: fn(&mut pb::NetworkSpec)| {
            let mut reply = pb::GetModelReply::from(model());
            change(reply.network.as_mut().unwrap());
            ServedModel::try_from(reply).unwrap_err().to_string()
        };
        assert!(refused(|network| network.observation_len = 5).contains("network.observation_len 5"));
        assert!(refused(|network| network.hidden = vec![u32::MAX, u32::MAX]).contains("hidden width"));
        assert!(refused(|network| network.activation = "step".into()).contains("network.activation"));
        let reply = pb::GetModelReply { network: None, ..model().into() };
        assert_eq!(ServedModel::try_from(reply), Err(WireError::Missing("network")));
    }
}
