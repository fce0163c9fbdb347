//! The IMPALA actor: steps environments with a slightly old policy and streams trajectories to the learner.
//!
//! Data flows `env -> unroll <- policy` on one thread, the [`rollout`], and from there through the [`link`] to the
//! learner; weights come back the same way. [`app`] alone knows both sides and joins them by channels; [`cli`] turns
//! flags into its configuration. [`calibration`] times unrolls.

pub mod app;
pub mod backoff;
pub mod calibration;
pub mod cli;
pub mod health;
pub mod link;
pub mod metrics;
pub mod rollout;
pub mod standing;
pub mod unroll;
pub mod weights;
pub mod window;
