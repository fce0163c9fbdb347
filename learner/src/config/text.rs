//! A configuration as text: the file in a run's directory, in its checkpoints, and what `--print-config` prints.

use super::setting::Setting;
use super::settings::{self, GivenSettings};
use super::{Config, parse};
use serde::Serialize;
use std::collections::BTreeMap;

/// Why a value stands in a comment: another run with the same settings has another.
const PLACE: &str = "a place of this run";
/// Why no value stands there.
pub(super) const FOLLOWS: &str = "follows from other settings";
/// The same.
pub(super) const PICKED: &str = "`train` picks it for the machine when it starts";

impl Config {
    /// The configuration as a TOML file that `--config` reads back to the same.
    /// What follows from other settings stands in comments, so that it still follows when those are changed.
    pub fn to_toml(&self) -> String {
        self.text(&[])
    }

    /// The same for a run's directory and its checkpoints: what names places of this run stands in comments, so that another
    /// run with the same settings does not go on with this one.
    pub fn record(&self) -> String {
        self.text(&["run_dir", "checkpoint_store"])
    }

    fn text(&self, places: &[&str]) -> String {
        let line = |(setting, line): (&Setting, Option<String>)| {
            let key = setting.key;
            let place = places.contains(&key).then_some(&PLACE);
            let why_open = self.open.iter().find(|(open, _)| *open == key).map(|(_, why)| why).or(place);
            match (line, why_open) {
                (Some(line), None) => format!("{line}\n"),
                // A path may have lines.
                (Some(line), Some(why)) => format!("# {} ({why})\n", line.replace('\n', "\n# ")),
                (None, _) => match self.followed(key) {
                    Some(line) => format!("# {line} ({FOLLOWS})\n"),
                    None => format!("# {key} is not given: {}\n", setting.default),
                },
            }
        };
        settings::lines(self).map(line).collect()
    }

    /// The settings as if each had been given, but for those that follow from others.
    pub fn given(&self) -> GivenSettings {
        parse("of a run".as_ref(), &self.to_toml()).expect("a configuration reads back")
    }

    /// The value that a setting without one of its own has by others.
    pub(super) fn followed(&self, key: &str) -> Option<String> {
        match key {
            "solved_return" => line(key, &self.solved_return()),
            "batch_size" => {
                let columns = self.fixed_trajectories()? * self.rollout.environments_per_actor;
                line(key, &columns)
            }
            "learning_rate_end" => line(key, &self.optimisation.end()),
            _ => None,
        }
    }
}

/// A line of the file; nothing for a setting that is not given.
pub(super) fn line(key: &str, value: &impl Serialize) -> Option<String> {
    let text = toml::to_string(&BTreeMap::from([(key, value)])).expect("plain settings are TOML");
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
