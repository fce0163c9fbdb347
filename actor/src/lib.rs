//! The IMPALA actor: steps environments with a slightly old policy and streams trajectories to the learner.
//!
//! Data flows `env -> unroll <- policy` on one thread, the [`rollout`], and from there through the [`link`] to the
//! learner; weights come back the same way. [`app`] alone knows both sides and joins them by channels; [`cli`] turns
//! flags into its configuration, and [`program`] is the whole program with environments of one's own. [`evaluation`] plays beside it what
//! the learner wants evaluated. [`calibration`] times unrolls.

pub mod app;
pub mod backoff;
pub mod calibration;
pub mod cli;
pub mod evaluation;
pub mod health;
pub mod link;
pub mod metrics;
pub mod program;
pub mod rollout;
pub mod standing;
pub mod unroll;
pub mod weights;
pub mod window;
