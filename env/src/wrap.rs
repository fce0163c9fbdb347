//! Around environments: a limit of steps, actions that last, and observations of several steps at once.
//!
//! Limit and repetition decide when an episode ends, so they wrap an [`Environment`](crate::Environment), which is told when the next
//! one begins: `EnvironmentKind::of_one(.., || TimeLimit::new(MyOwn::new(), 500))`. Stacked frames need to know ends alone and wrap
//! any kind: [`EnvironmentKind::with_stacked_frames`](crate::EnvironmentKind::with_stacked_frames). Rewards are clipped by a setting of
//! the learner.

mod action_repeat;
mod frame_stack;
mod time_limit;

pub use action_repeat::ActionRepeat;
pub use time_limit::TimeLimit;

#[cfg(test)]
mod tests;
