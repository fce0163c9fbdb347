//! The threads that the data passes through, one file each, and [`stage`], which starts and joins them. No stage imports
//! another: they name only what passes between them (`handover`), and `app` alone connects them.

pub mod checkpointer;
pub mod evaluator;
pub mod illustrator;
pub mod publisher;
pub mod show;
pub mod side_evaluator;
pub mod stage;
pub mod trainer;
