//! What a person gave, as the sum of the sections: by flag, environment variable or file, keys side by side without tables.

use super::Config;
use super::architecture::{Architecture, GivenArchitecture};
use super::batching::{Batching, GivenBatching};
use super::checkpoints::{Checkpoints, GivenCheckpoints};
use super::compute::{Compute, GivenCompute};
use super::goal::{GivenGoal, Goal};
use super::objective::{GivenObjective, Objective};
use super::optimisation::{GivenOptimisation, Optimisation};
use super::output::{GivenOutput, Output};
use super::rollout::{GivenRollout, Rollout};
use super::serving::{GivenServing, Serving};
use super::setting::Setting;
use super::task::{GivenTask, Task};
use super::weights::{GivenWeights, Weights};
use impala_common::process::arguments;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

macro_rules! sections {
    ($( $section:ident: $given:ident => $complete:ident; )*) => {
        /// The settings that a person gave; the others are absent.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args)]
        pub struct GivenSettings {
            $(
                #[doc = concat!("Given of [`", stringify!($complete), "`].")]
                #[command(flatten)]
                pub $section: $given,
            )*
        }

        impl GivenSettings {
            /// Fills the gaps of `self` from `fallback`.
            #[must_use]
            pub fn or(self, fallback: Self) -> Self {
                Self { $( $section: self.$section.or(fallback.$section), )* }
            }

            /// Reads the value of a known key.
            fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, file: &mut A) -> Result<(), A::Error> {
                $(if self.$section.take(key, file)? {
                    return Ok(());
                })*
                Err(unknown(key))
            }
        }

        /// Every setting of a configuration and its line in a file.
        pub(super) fn lines(config: &Config) -> impl Iterator<Item = (&'static Setting, Option<String>)> {
            [$(config.$section.lines(),)*].into_iter().flatten()
        }

        /// Describes every setting, section by section.
        pub fn all() -> impl Iterator<Item = &'static Setting> {
            [$($complete::SETTINGS,)*].into_iter().flatten()
        }
    };
}

sections! {
    task: GivenTask => Task;
    goal: GivenGoal => Goal;
    rollout: GivenRollout => Rollout;
    batching: GivenBatching => Batching;
    architecture: GivenArchitecture => Architecture;
    objective: GivenObjective => Objective;
    optimisation: GivenOptimisation => Optimisation;
    compute: GivenCompute => Compute;
    weights: GivenWeights => Weights;
    checkpoints: GivenCheckpoints => Checkpoints;
    serving: GivenServing => Serving;
    output: GivenOutput => Output;
}

/// How much a key must be like a setting (Jaro-Winkler) to be taken for it.
const SIMILAR: f64 = 0.8;

static KEYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| all().map(|setting| setting.key).collect());

fn unknown<E: Error>(key: &str) -> E {
    let nearest = arguments::nearest(key, KEYS.iter().copied(), SIMILAR);
    let nearest = nearest.map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
    E::custom(format!(
        "`{key}` is no setting{nearest} (the keys are the flags of `impala learner --help`, with _ for -)"
    ))
}

/// A key of the table. It is looked up while the reader stands on it, so that an error names its place in the file.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        if KEYS.contains(&key.as_str()) { Ok(Self(key)) } else { Err(unknown(&key)) }
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = GivenSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut file: A) -> Result<GivenSettings, A::Error> {
        let mut given = GivenSettings::default();
        while let Some(Key(key)) = file.next_key()? {
            given.take(&key, &mut file)?;
        }
        Ok(given)
    }
}

impl<'de> Deserialize<'de> for GivenSettings {
    /// Each section takes its keys; what none takes is refused by name. Derived code cannot do that for flattened parts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

impl FromStr for GivenSettings {
    type Err = toml::de::Error;

    /// Reads the text of a configuration file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        toml::from_str(text)
    }
}
