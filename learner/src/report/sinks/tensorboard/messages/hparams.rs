//! The messages of TensorBoard's plugin for hyperparameters, with the field numbers of its `plugin_data.proto` and `api.proto`. They
//! travel in the metadata of tags of their own.

use prost::{Enumeration, Message, Oneof};
use std::collections::BTreeMap;

/// What the metadata of a tag of the plugin hold.
#[derive(Clone, PartialEq, Message)]
pub struct PluginData {
    /// One of the three.
    #[prost(oneof = "Data", tags = "2, 3, 4")]
    pub data: Option<Data>,
}

/// What is told.
#[derive(Clone, PartialEq, Oneof)]
pub enum Data {
    /// What there is to be compared.
    #[prost(message, tag = "2")]
    Experiment(Experiment),
    /// A run begins.
    #[prost(message, tag = "3")]
    SessionStart(SessionStart),
    /// A run has ended.
    #[prost(message, tag = "4")]
    SessionEnd(SessionEnd),
}

/// The columns of the table in which runs are compared.
#[derive(Clone, PartialEq, Message)]
pub struct Experiment {
    /// The hyperparameters.
    #[prost(message, repeated, tag = "4")]
    pub hyperparameters: Vec<HyperparameterInfo>,
    /// What came of them.
    #[prost(message, repeated, tag = "5")]
    pub metrics: Vec<MetricInfo>,
}

/// A hyperparameter.
#[derive(Clone, PartialEq, Message)]
pub struct HyperparameterInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it does.
    #[prost(string, tag = "3")]
    pub description: String,
    /// What its values are.
    #[prost(enumeration = "DataType", tag = "4")]
    pub data_type: i32,
    /// Whether runs have different values, as far as one knows: what TensorBoard shows without being asked.
    #[prost(bool, tag = "7")]
    pub differs: bool,
}

/// What the values of a hyperparameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Nothing is told.
    Unset = 0,
    /// Text.
    String = 1,
    /// Yes or no.
    Bool = 2,
    /// Numbers.
    Float64 = 3,
}

/// A series whose last value is compared.
#[derive(Clone, PartialEq, Message)]
pub struct MetricInfo {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub name: Option<MetricName>,
    /// What the column is called.
    #[prost(string, tag = "3")]
    pub display_name: String,
    /// What it means.
    #[prost(string, tag = "4")]
    pub description: String,
}

/// Which series.
#[derive(Clone, PartialEq, Message)]
pub struct MetricName {
    /// Its tag.
    #[prost(string, tag = "2")]
    pub tag: String,
}

/// The hyperparameters of a run.
#[derive(Clone, PartialEq, Message)]
pub struct SessionStart {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub hyperparameters: BTreeMap<String, Setting>,
    /// Seconds since 1970.
    #[prost(double, tag = "5")]
    pub start_time: f64,
}

/// A value of a hyperparameter: `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct Setting {
    /// The value.
    #[prost(oneof = "Kind", tags = "2, 3, 4")]
    pub kind: Option<Kind>,
}

/// A value by its type.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// Text.
    #[prost(string, tag = "3")]
    Text(String),
    /// Yes or no.
    #[prost(bool, tag = "4")]
    Truth(bool),
}

/// How a run ended.
#[derive(Clone, PartialEq, Message)]
pub struct SessionEnd {
    /// Well or not.
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
    /// Seconds since 1970.
    #[prost(double, tag = "2")]
    pub end_time: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Status {
    /// Nothing is told.
    Unknown = 0,
    /// It came to its end.
    Success = 1,
    /// It broke.
    Failure = 2,
    /// It goes on.
    Running = 3,
}
