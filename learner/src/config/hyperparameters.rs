//! The settings that decide how a run learns, with their values: what runs are compared by.

use super::checkpoints::Checkpoints;
use super::output::Output;
use super::serving::Serving;
use super::setting::Setting;
use super::{Config, settings};

/// A setting that decides how a run learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyperparameter {
    /// Which.
    pub setting: &'static Setting,
    /// Its value, also where that follows from other settings; nothing where it has none.
    pub value: Option<toml::Value>,
}

impl Hyperparameter {
    /// The value as a person would give it on the command line.
    pub fn text(&self) -> Option<String> {
        self.value.as_ref().map(text)
    }
}

/// A value as a person would give it: without quotes, the widths of layers with commas between them.
pub(crate) fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

impl Config {
    /// All of them in their order: what names places, or what of a run is kept and told, is left out.
    pub fn hyperparameters(&self) -> Vec<Hyperparameter> {
        let others = [Checkpoints::SETTINGS, Serving::SETTINGS, Output::SETTINGS];
        let is_other = |setting: &Setting| others.iter().any(|section| section.contains(setting));
        let lines = settings::lines(self).filter(|(setting, _)| !is_other(setting));
        let hyperparameter = |(setting, line): (&'static Setting, Option<String>)| {
            let line = line.or_else(|| self.followed(setting.key));
            Hyperparameter { setting, value: line.map(|line| value(setting.key, &line)) }
        };
        lines.map(hyperparameter).collect()
    }
}

/// The value in a line of the file.
fn value(key: &str, line: &str) -> toml::Value {
    let mut table: toml::Table = line.parse().expect("a line of a configuration is TOML");
    table.remove(key).expect("the line is that of the key")
}
