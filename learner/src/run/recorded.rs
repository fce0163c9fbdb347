//! The settings of a run as its checkpoints record them: a text, and the network that follows from it.

use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use impala_env::Registry;
use impala_policy::network::NetworkSpec;
use std::sync::Arc;

/// Recorded settings; a copy costs nothing, so that every checkpoint of a run can have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSettings(Arc<Recorded>);

#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    toml: String,
    network: NetworkSpec,
}

impl RecordedSettings {
    /// Of a run that goes on.
    pub fn of(config: &Config) -> Self {
        Self(Arc::new(Recorded { toml: config.to_toml(), network: config.network() }))
    }

    /// From a checkpoint, of this or an earlier release.
    ///
    /// # Errors
    /// The text is no configuration, or `registry` does not know the environment.
    pub fn read(toml: String, registry: &Registry) -> Result<Self, ConfigError> {
        let network = Config::complete(parse(&toml)?, registry)?.network();
        Ok(Self(Arc::new(Recorded { toml, network })))
    }

    /// The text.
    pub fn toml(&self) -> &str {
        &self.0.toml
    }

    /// The network of the run.
    pub fn network(&self) -> &NetworkSpec {
        &self.0.network
    }

    /// The settings as if each had been given, but for those that follow from others.
    ///
    /// # Errors
    /// The text is no configuration: a bug, since it was one when it was read or written.
    pub fn given(&self) -> Result<GivenSettings, ConfigError> {
        parse(self.toml())
    }

    /// The complete settings.
    ///
    /// # Errors
    /// As [`RecordedSettings::given`].
    pub fn config(&self, registry: &Registry) -> Result<Config, ConfigError> {
        Config::complete(self.given()?, registry)
    }
}

fn parse(toml: &str) -> Result<GivenSettings, ConfigError> {
    config::parse("of the checkpoint".as_ref(), toml)
}
