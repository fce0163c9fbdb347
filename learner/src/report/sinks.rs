//! Where reports go. A sink is a struct that the [`Reporter`](super::reporter::Reporter) makes, and calls with a
//! [`View`](super::View) at every report: it computes and writes little, for it runs on the learner's async thread. One that fails is
//! left out from then on, with a warning; training goes on. A resumed run appends to what its earlier processes wrote, or
//! goes on in a file beside it.

pub mod console;
pub mod csv;
pub mod curve;
pub mod mlflow;
pub mod prometheus;
pub mod tensorboard;
pub(crate) mod web;
