//! The settings of a run as its checkpoints record them: a text, and what follows from it.

use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use impala_env::spec::EnvironmentName;
use impala_env::{EnvironmentKind, Registry};
use impala_policy::network::NetworkSpec;
use std::sync::Arc;

/// Recorded settings; a copy costs nothing, so that every checkpoint of a run can have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSettings(Arc<Recorded>);

#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    toml: String,
    network: NetworkSpec,
    environment: EnvironmentKind,
}

impl RecordedSettings {
    /// Of a run that goes on.
    pub fn of(config: &Config) -> Self {
        Self::new(config.record(), config)
    }

    /// From a checkpoint, of this or an earlier release.
    ///
    /// # Errors
    /// The text is no configuration, or `registry` does not know the environment.
    pub fn read(toml: String, registry: &Registry) -> Result<Self, ConfigError> {
        let config = Config::complete(parse(&toml)?, registry)?;
        Ok(Self::new(toml, &config))
    }

    fn new(toml: String, config: &Config) -> Self {
        Self(Arc::new(Recorded { toml, network: config.network(), environment: config.environment().clone() }))
    }

    /// The text.
    pub fn toml(&self) -> &str {
        &self.0.toml
    }

    /// The network of the run.
    pub fn network(&self) -> &NetworkSpec {
        &self.0.network
    }

    /// What it trains on.
    pub fn environment(&self) -> &EnvironmentName {
        self.0.environment.name()
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
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::complete(self.given()?, &Registry::only(self.0.environment.clone()))
    }
}

fn parse(toml: &str) -> Result<GivenSettings, ConfigError> {
    config::parse("of the checkpoint".as_ref(), toml)
}
