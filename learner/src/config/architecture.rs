//! The network that is trained, as far as a person chooses it.

use super::section::section;
use super::values::Hidden;
use super::{ConfigError, invalid};
use clap::builder::BoolishValueParser;
use impala_env::space::{ActionSpace, Bounds};
use impala_env::spec::EnvironmentSpec;
use impala_policy::activation::Activation;
use impala_policy::network::{HIDDEN_LAYERS_MAX, NetworkSpec, PARAMETER_COUNT_MAX, PolicyHead};

section! {
    /// The network that is trained.
    Architecture from GivenArchitecture, "Network" {
        hidden: Hidden = Hidden(vec![64, 64]), "64,64", "IMPALA_HIDDEN",
            "Widths of the hidden layers, separated by commas.";
        activation: Activation = Activation::Tanh, "tanh", "IMPALA_ACTIVATION",
            "tanh or relu. tanh needs about half the frames on CartPole.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        squash_actions: bool = false, "false", "IMPALA_SQUASH_ACTIONS",
            "Draw actions that are numbers from a Gaussian squashed into their bounds by the hyperbolic tangent; else what a Gaussian draws beyond the bounds is clipped. Of choices it changes nothing.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        normalise_observations: bool = false, "false", "IMPALA_NORMALISE_OBSERVATIONS",
            "Bring each number of an observation to mean 0 and deviation 1, by what was trained on so far; the statistics are part of the policy.";
        #[clap(value_name = "POLICY")]
        initial_model: String, "random parameters", "IMPALA_INITIAL_MODEL",
            "Policy of the same environment and network whose parameters a new run begins with: a run's directory, a checkpoint or model file, the URL of checkpoints, or a learner (http://HOST:PORT). A run that is resumed goes on with its own.";
    }
}

impl Architecture {
    /// The network for an environment.
    pub fn network(&self, environment: &EnvironmentSpec) -> NetworkSpec {
        NetworkSpec {
            observation_len: environment.observation_len(),
            hidden: self.hidden.0.clone(),
            activation: self.activation,
            head: PolicyHead::of(environment, self.squash_actions),
            normalises: self.normalise_observations,
        }
    }

    /// The network can be sent and allocated.
    pub(super) fn validate(&self, environment: &EnvironmentSpec) -> Result<(), ConfigError> {
        let Hidden(widths) = &self.hidden;
        if widths.len() > HIDDEN_LAYERS_MAX {
            let value = format!("{} layers", widths.len());
            return invalid("hidden", value, format!("at most {HIDDEN_LAYERS_MAX} layers"));
        }
        let value = format!("{widths:?}");
        if widths.contains(&0) {
            return invalid("hidden", value, "every width must be at least 1, e.g. 64,64");
        }
        let boundless = |Bounds { low, high }: &Bounds| low.iter().chain(high).any(|bound| bound.is_infinite());
        if let ActionSpace::Box(bounds) = &environment.actions
            && self.squash_actions
            && boundless(bounds)
        {
            let requirement =
                format!("there is nothing to squash actions into: {} has {}", environment.name, environment.actions);
            return invalid("squash_actions", true, requirement);
        }
        if self.network(environment).parameter_count() > PARAMETER_COUNT_MAX {
            let requirement = format!("gives more than {PARAMETER_COUNT_MAX} parameters; choose smaller widths");
            return invalid("hidden", value, requirement);
        }
        Ok(())
    }
}
