//! What TensorBoard's page for hyperparameters is told: which there are, the values of this run, and how it ended. The results are
//! series like others, of which the page takes the last value.

use super::file::now;
use super::messages::hparams::{
    Data, DataType, Experiment, HyperparameterInfo, Kind, MetricInfo, MetricName, PluginData, SessionEnd, SessionStart,
    Setting, Status,
};
use super::messages::{self, Content, DataClass, Metadata, Plugin, Tensor, Value};
use crate::config::hyperparameters::{self, Hyperparameter};
use crate::config::setting::{self, Bounds};
use crate::report::series::{RESULTS, Tag};
use crate::report::summary::RunEnd;
use prost::Message;

/// What runs are most likely to differ in. A run does not know the others, and TensorBoard shows five columns unless it is told otherwise.
const VARIED: [&str; 5] = ["entropy_cost", "environment", "hidden", "learning_rate", "seed"];

/// The columns of the comparison, the same for every run of a release: TensorBoard takes those of whichever run it finds first.
pub(super) fn experiment(hyperparameters: &[Hyperparameter]) -> Value {
    let info = |Hyperparameter { setting, value }: &Hyperparameter| HyperparameterInfo {
        name: setting.key.into(),
        description: setting.help.into(),
        data_type: data_type(setting, value.as_ref()).into(),
        differs: VARIED.contains(&setting.key),
    };
    let metric = |Tag { name, meaning, .. }: Tag| MetricInfo {
        name: Some(MetricName { tag: name.into() }),
        display_name: name.split_once('/').map_or(name, |(_, name)| name).into(),
        description: meaning.into(),
    };
    value(
        "_hparams_/experiment",
        Data::Experiment(Experiment {
            hyperparameters: hyperparameters.iter().map(info).collect(),
            metrics: RESULTS.iter().map(|result| metric(result.tag)).collect(),
        }),
    )
}

/// The run begins with these values.
pub(super) fn session_start(hyperparameters: &[Hyperparameter]) -> Value {
    let named = |Hyperparameter { setting, value }: &Hyperparameter| {
        Some((setting.key.to_owned(), Setting { kind: Some(kind(value.as_ref()?)) }))
    };
    let hyperparameters = hyperparameters.iter().filter_map(named).collect();
    value("_hparams_/session_start_info", Data::SessionStart(SessionStart { hyperparameters, start_time: now() }))
}

/// The run has ended. Nothing of one that was interrupted: it may go on, and TensorBoard keeps the first end that it reads.
pub(super) fn session_end(end: &RunEnd) -> Option<Value> {
    let status = match end {
        RunEnd::Interrupted => return None,
        RunEnd::Failed(_) => Status::Failure,
        RunEnd::Solved | RunEnd::SolvedTimeBudget | RunEnd::FramesBudget | RunEnd::TimeBudget => Status::Success,
    };
    let end = SessionEnd { status: status.into(), end_time: now() };
    Some(value("_hparams_/session_end_info", Data::SessionEnd(end)))
}

/// A message of the plugin stands in the metadata of a tag; the value itself is an array without anything in it.
fn value(tag: &str, data: Data) -> Value {
    let content = PluginData { data: Some(data) }.encode_to_vec();
    Value {
        tag: tag.into(),
        metadata: Some(Metadata {
            plugin: Some(Plugin { name: "hparams".into(), content }),
            data_class: DataClass::Tensor.into(),
            ..Metadata::default()
        }),
        content: Some(Content::Tensor(Tensor {
            data_type: messages::DataType::Float.into(),
            shape: Some(messages::Shape { dimensions: vec![messages::Dimension { size: 0 }] }),
            ..Tensor::default()
        })),
    }
}

fn kind(value: &toml::Value) -> Kind {
    match value {
        toml::Value::Integer(number) => Kind::Number(*number as f64),
        toml::Value::Float(number) => Kind::Number(*number),
        toml::Value::Boolean(truth) => Kind::Truth(*truth),
        other => Kind::Text(hyperparameters::text(other)),
    }
}

fn data_type(setting: &setting::Setting, value: Option<&toml::Value>) -> DataType {
    match value.map(kind) {
        Some(Kind::Number(_)) => DataType::Float64,
        Some(Kind::Truth(_)) => DataType::Bool,
        // What has bounds is a number, also where it has no value.
        None if setting.bounds != Bounds::Any => DataType::Float64,
        Some(Kind::Text(_)) | None => DataType::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn data(value: &Value) -> Data {
        let plugin = value.metadata.as_ref().unwrap().plugin.as_ref().unwrap();
        assert_eq!(plugin.name, "hparams");
        PluginData::decode(&plugin.content[..]).unwrap().data.unwrap()
    }

    fn hyperparameters(toml: &str) -> Vec<Hyperparameter> {
        Config::complete(toml.parse().unwrap(), &impala_env::builtin()).unwrap().hyperparameters()
    }

    #[test]
    fn values_have_their_types() {
        let hyperparameters = hyperparameters("seed = 7\nlearning_rate = 0.001\nhidden = [32, 16]\ndevice = \"cpu\"");
        let Data::SessionStart(start) = data(&session_start(&hyperparameters)) else { panic!("another message") };
        let told = |key: &str| start.hyperparameters.get(key).and_then(|setting| setting.kind.clone());
        assert_eq!(told("seed"), Some(Kind::Number(7.0)));
        assert_eq!(told("learning_rate"), Some(Kind::Number(0.001)));
        assert_eq!(told("time_max"), Some(Kind::Number(600.0)));
        assert_eq!(told("amsgrad"), Some(Kind::Truth(true)));
        assert_eq!(told("hidden"), Some(Kind::Text("32,16".into())));
        assert_eq!(told("environment"), Some(Kind::Text("cartpole-v1".into())));
        // What follows from others is told too, and what has no value is not.
        assert_eq!(told("solved_return"), Some(Kind::Number(475.0)));
        assert_eq!(told("batch_size"), None);
        // Places and what is told of a run make no difference to it.
        assert!(["run_dir", "listen", "checkpoint_store", "tensorboard"].iter().all(|key| told(key).is_none()));
    }

    #[test]
    fn runs_of_a_release_tell_the_same_columns() {
        let one = experiment(&hyperparameters(""));
        assert_eq!(
            one,
            experiment(&hyperparameters("batch_size = 64\nlearning_rate_end = 0.0001\nsolved_return = 100.0"))
        );
        let Data::Experiment(Experiment { hyperparameters, metrics }) = data(&one) else { panic!("another message") };
        let data_type = |name: &str| hyperparameters.iter().find(|info| info.name == name).unwrap().data_type();
        assert_eq!((data_type("batch_size"), data_type("hidden")), (DataType::Float64, DataType::String));
        assert_eq!((data_type("deterministic"), data_type("seed")), (DataType::Bool, DataType::Float64));
        assert_eq!(hyperparameters.iter().filter(|info| info.differs).count(), VARIED.len());
        assert_eq!(metrics[0].name.as_ref().unwrap().tag, "result/frames_to_solve");
    }

    #[test]
    fn a_run_that_may_go_on_has_not_ended() {
        assert_eq!(session_end(&RunEnd::Interrupted), None);
        let status = |end: RunEnd| match data(&session_end(&end).unwrap()) {
            Data::SessionEnd(end) => end.status(),
            other => panic!("another message: {other:?}"),
        };
        assert_eq!(status(RunEnd::Solved), Status::Success);
        assert_eq!(status(RunEnd::Failed("x".into())), Status::Failure);
    }
}
