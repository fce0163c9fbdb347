//! x
#![allow(dead_code, unused)]
pub mod env;
pub mod policy;
pub mod rollout;
pub mod unroll;
pub mod weights;
