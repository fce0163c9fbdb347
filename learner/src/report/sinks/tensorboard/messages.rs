//! The few of TensorBoard's messages that an event file takes, with the field numbers of its `event.proto`, `summary.proto`,
//! `histogram.proto` and `tensor.proto`. Those of the plugin for hyperparameters are in [`hparams`].

pub mod hparams;

use prost::{Enumeration, Message, Oneof};

/// What a file's first event says: the format that TensorBoard reads.
pub const FILE_VERSION: &str = "brain.Event:2";

/// A record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Where it stands on the horizontal axis.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// What it tells.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// What an event tells.
#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// The first of a file: [`FILE_VERSION`].
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Values of one moment.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// A process begins.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// What becomes of the process that writes.
#[derive(Clone, PartialEq, Message)]
pub struct SessionLog {
    /// What happened.
    #[prost(enumeration = "SessionStatus", tag = "1")]
    pub status: i32,
}

/// See [`SessionLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum SessionStatus {
    /// Nothing is told.
    Unspecified = 0,
    /// It begins at this step: what earlier files have from this step on is not valid any more.
    Start = 1,
}

/// Values of one moment.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// At most one for each tag.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// A value under its tag.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// The name of the series; groups are what stands before a `/`.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// Of the series; only the first of a run counts.
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
    /// The value.
    #[prost(oneof = "Content", tags = "2, 5, 8")]
    pub content: Option<Content>,
}

/// The value itself.
#[derive(Clone, PartialEq, Oneof)]
pub enum Content {
    /// A number.
    #[prost(float, tag = "2")]
    Scalar(f32),
    /// A distribution.
    #[prost(message, tag = "5")]
    Histogram(HistogramProto),
    /// Text, or nothing where the metadata say all.
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

/// What a series is.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// Which part of TensorBoard shows it.
    #[prost(message, optional, tag = "1")]
    pub plugin: Option<Plugin>,
    /// Markdown that TensorBoard shows with it.
    #[prost(string, tag = "3")]
    pub description: String,
    /// How it is stored.
    #[prost(enumeration = "DataClass", tag = "4")]
    pub data_class: i32,
}

/// A part of TensorBoard.
#[derive(Clone, PartialEq, Message)]
pub struct Plugin {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Whatever it wants to be told, a message of its own.
    #[prost(bytes = "vec", tag = "2")]
    pub content: Vec<u8>,
}

/// How a series is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum DataClass {
    /// Nothing is told.
    Unknown = 0,
    /// A number a step.
    Scalar = 1,
    /// An array of whatever a step.
    Tensor = 2,
}

/// A distribution.
#[derive(Clone, PartialEq, Message)]
pub struct HistogramProto {
    /// Where the first bucket begins.
    #[prost(double, tag = "1")]
    pub min: f64,
    /// Where the last bucket ends.
    #[prost(double, tag = "2")]
    pub max: f64,
    /// How many numbers.
    #[prost(double, tag = "3")]
    pub num: f64,
    /// Their sum.
    #[prost(double, tag = "4")]
    pub sum: f64,
    /// The sum of their squares.
    #[prost(double, tag = "5")]
    pub sum_squares: f64,
    /// Where each bucket ends; it begins where the one before ends.
    #[prost(double, repeated, tag = "6")]
    pub bucket_limit: Vec<f64>,
    /// How many numbers each has.
    #[prost(double, repeated, tag = "7")]
    pub bucket: Vec<f64>,
}

/// An array.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// What its elements are.
    #[prost(enumeration = "DataType", tag = "1")]
    pub data_type: i32,
    /// Without one it has one element and no dimension.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    /// The elements of an array of strings.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub strings: Vec<Vec<u8>>,
}

/// What elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// Nothing is told.
    Invalid = 0,
    /// f32
    Float = 1,
    /// Bytes.
    String = 7,
}

/// The sizes of an array.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    /// From the outermost to the innermost.
    #[prost(message, repeated, tag = "2")]
    pub dimensions: Vec<Dimension>,
}

/// A dimension of an array.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// Elements along it.
    #[prost(int64, tag = "1")]
    pub size: i64,
}
