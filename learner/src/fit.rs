//! What is measured before a run begins, to fit it to the machine.

pub mod calibration;
pub mod device_choice;
