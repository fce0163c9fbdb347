//! Environments' specs and networks on the wire.

use super::{WireError, pb, wire_len};
use impala_env::array::Dtype;
use impala_env::space::{ActionSpace, Bounds, ObservationSpace};
use impala_env::spec::EnvironmentSpec;
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};

impl From<EnvironmentSpec> for pb::EnvironmentSpec {
    fn from(spec: EnvironmentSpec) -> Self {
        let EnvironmentSpec { name, observations, actions, masked } = spec;
        Self { name, observations: Some(observations.into()), actions: Some(actions.into()), masked }
    }
}

impl TryFrom<pb::EnvironmentSpec> for EnvironmentSpec {
    type Error = WireError;

    /// The sizes are not bounded yet: [`Agreement::validate`](crate::agreement::Agreement::validate) and
    /// [`ServedModel`](super::ServedModel) do.
    fn try_from(spec: pb::EnvironmentSpec) -> Result<Self, WireError> {
        let observations = spec.observations.ok_or(WireError::Missing("environment.observations"))?;
        let actions = spec.actions.ok_or(WireError::Missing("environment.actions"))?;
        Ok(Self {
            name: spec.name,
            observations: observations.try_into()?,
            actions: actions.try_into()?,
            masked: spec.masked,
        })
    }
}

impl From<ObservationSpace> for pb::ObservationSpace {
    fn from(space: ObservationSpace) -> Self {
        let dtype = match space.dtype {
            Dtype::F32 => pb::Dtype::F32,
            Dtype::U8 => pb::Dtype::U8,
        };
        Self { shape: lens(&space.shape), dtype: dtype.into() }
    }
}

impl TryFrom<pb::ObservationSpace> for ObservationSpace {
    type Error = WireError;

    fn try_from(space: pb::ObservationSpace) -> Result<Self, WireError> {
        let dtype = match pb::Dtype::try_from(space.dtype) {
            Ok(pb::Dtype::F32) => Dtype::F32,
            Ok(pb::Dtype::U8) => Dtype::U8,
            Ok(pb::Dtype::Unspecified) | Err(_) => {
                let (field, value) = ("environment.observations.dtype", space.dtype.to_string());
                return Err(WireError::Unknown { field, value });
            }
        };
        Ok(Self { shape: sizes(&space.shape), dtype })
    }
}

impl From<ActionSpace> for pb::ActionSpace {
    fn from(space: ActionSpace) -> Self {
        use pb::action_space::Space;
        let space = match space {
            ActionSpace::Discrete(choices) => Space::Discrete(wire_len(choices)),
            ActionSpace::MultiDiscrete(choices) => Space::MultiDiscrete(pb::Choices { choices: lens(&choices) }),
            ActionSpace::Box(Bounds { low, high }) => Space::Box(pb::Box { low, high }),
        };
        Self { space: Some(space) }
    }
}

impl TryFrom<pb::ActionSpace> for ActionSpace {
    type Error = WireError;

    fn try_from(space: pb::ActionSpace) -> Result<Self, WireError> {
        use pb::action_space::Space;
        Ok(match space.space.ok_or(WireError::Missing("environment.actions"))? {
            Space::Discrete(choices) => Self::Discrete(choices as usize),
            Space::MultiDiscrete(pb::Choices { choices }) => Self::MultiDiscrete(sizes(&choices)),
            Space::Box(pb::Box { low, high }) => Self::Box(Bounds { low, high }),
        })
    }
}

impl From<NetworkSpec> for pb::NetworkSpec {
    fn from(network: NetworkSpec) -> Self {
        Self {
            observation_len: wire_len(network.observation_len),
            hidden: lens(&network.hidden),
            activation: network.activation.name().into(),
            head: Some(network.head.into()),
            normalises: network.normalises,
        }
    }
}

impl TryFrom<pb::NetworkSpec> for NetworkSpec {
    type Error = WireError;

    /// The sizes are not bounded yet, as those of an environment.
    fn try_from(network: pb::NetworkSpec) -> Result<Self, WireError> {
        let unknown = |_| WireError::Unknown { field: "network.activation", value: network.activation.clone() };
        let activation: Activation = network.activation.parse().map_err(unknown)?;
        Ok(Self {
            observation_len: network.observation_len as usize,
            hidden: sizes(&network.hidden),
            activation,
            head: network.head.ok_or(WireError::Missing("network.head"))?.try_into()?,
            normalises: network.normalises,
        })
    }
}

impl From<PolicyHead> for pb::PolicyHead {
    fn from(head: PolicyHead) -> Self {
        use pb::policy_head::Head;
        let head = match head {
            PolicyHead::Choices(choices) => Head::Choices(pb::Choices { choices: lens(&choices) }),
            PolicyHead::MaskedChoices(choices) => Head::MaskedChoices(pb::Choices { choices: lens(&choices) }),
            PolicyHead::Gaussian(components) => Head::Gaussian(wire_len(components)),
            PolicyHead::SquashedGaussian(components) => Head::SquashedGaussian(wire_len(components)),
        };
        Self { head: Some(head) }
    }
}

impl TryFrom<pb::PolicyHead> for PolicyHead {
    type Error = WireError;

    fn try_from(head: pb::PolicyHead) -> Result<Self, WireError> {
        use pb::policy_head::Head;
        Ok(match head.head.ok_or(WireError::Missing("network.head"))? {
            Head::Choices(pb::Choices { choices }) => Self::Choices(sizes(&choices)),
            Head::MaskedChoices(pb::Choices { choices }) => Self::MaskedChoices(sizes(&choices)),
            Head::Gaussian(components) => Self::Gaussian(components as usize),
            Head::SquashedGaussian(components) => Self::SquashedGaussian(components as usize),
        })
    }
}

fn lens(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().map(|len| wire_len(*len)).collect()
}

fn sizes(lens: &[u32]) -> Vec<usize> {
    lens.iter().map(|len| *len as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_space_and_head_survives_the_wire() {
        let actions = [
            ActionSpace::Discrete(3),
            ActionSpace::MultiDiscrete(vec![2, 5]),
            ActionSpace::bounded(&[-1.0, f32::NEG_INFINITY], &[0.5, f32::INFINITY]),
        ];
        for actions in actions {
            for observations in [ObservationSpace::vector(4), ObservationSpace::bytes(&[10, 10, 4])] {
                let masked = !actions.choices().is_empty();
                let spec = EnvironmentSpec { masked, ..EnvironmentSpec::new("mine", observations, actions.clone()) };
                assert_eq!(pb::EnvironmentSpec::from(spec.clone()).try_into(), Ok(spec.clone()));
                for head in [false, true].map(|squashed| PolicyHead::of(&spec, squashed)) {
                    let network = NetworkSpec {
                        observation_len: 4,
                        hidden: vec![8],
                        activation: Activation::Relu,
                        head,
                        normalises: false,
                    };
                    assert_eq!(pb::NetworkSpec::from(network.clone()).try_into(), Ok(network));
                }
            }
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let spec = EnvironmentSpec::new("mine", ObservationSpace::vector(1), ActionSpace::Discrete(2));
        let refused = |change: fn(&mut pb::EnvironmentSpec)| {
            let mut message = pb::EnvironmentSpec::from(spec.clone());
            change(&mut message);
            EnvironmentSpec::try_from(message).unwrap_err().to_string()
        };
        assert_eq!(refused(|spec| spec.observations = None), "field `environment.observations` is missing");
        assert_eq!(refused(|spec| spec.actions = None), "field `environment.actions` is missing");
        assert_eq!(
            refused(|spec| spec.observations.as_mut().unwrap().dtype = 9),
            "field `environment.observations.dtype` has the unknown value 9"
        );
    }
}
