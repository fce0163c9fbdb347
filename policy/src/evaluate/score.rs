//! An evaluation in a few numbers: what people and scripts are told of it, and what a run remembers of it.

use super::STEPS_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest magnitude of a return in a score that is kept: what the wire allows of training's returns.
const RETURN_MAX: f64 = 1e9;

/// Returns of the evaluated episodes, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Episodes played.
    pub episodes: usize,
    /// Mean return.
    pub mean: f64,
    /// Smallest return.
    pub min: f64,
    /// Largest return.
    pub max: f64,
    /// Episodes that did not end by themselves: their returns count only so far.
    pub cut: usize,
}

impl Score {
    /// Whether it can be one: episodes, and finite returns in their order.
    pub fn is_sound(&self) -> bool {
        let Self { episodes, mean, min, max, cut } = *self;
        // No comparison holds of a number that is none.
        let is_bounded = [mean, min, max].iter().all(|x| (-RETURN_MAX..=RETURN_MAX).contains(x));
        let slack = 1e-6 * mean.abs();
        is_bounded && episodes > 0 && cut <= episodes && min <= mean + slack && mean <= max + slack
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { episodes, mean, min, max, cut } = *self;
        write!(f, "mean {mean:.2}, min {min:.2}, max {max:.2} over {episodes} fresh episodes")?;
        match cut {
            0 => Ok(()),
            _ => write!(f, ", {cut} of them cut after {STEPS_MAX} steps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{End, Evaluation, Played};

    fn evaluation(returns: &[f32]) -> Evaluation {
        let played = |episode_return: &f32| Played { episode_return: *episode_return, length: 1, end: End::Terminated };
        Evaluation { episodes: returns.iter().map(played).collect() }
    }

    #[test]
    fn episodes_that_the_evaluation_cut_are_told_to_people_and_scripts() {
        let score = |cut| Score { cut, ..evaluation(&[1.0, 2.0, 6.0]).score() };
        assert_eq!(score(0).to_string(), "mean 3.00, min 1.00, max 6.00 over 3 fresh episodes");
        let told = "mean 3.00, min 1.00, max 6.00 over 3 fresh episodes, 2 of them cut after 108000 steps";
        assert_eq!(score(2).to_string(), told);
        let json = serde_json::to_string(&score(2)).unwrap();
        assert_eq!(json, r#"{"episodes":3,"mean":3.0,"min":1.0,"max":6.0,"cut":2}"#);
        assert_eq!(serde_json::from_str::<Score>(&json).unwrap(), score(2));
    }

    #[test]
    fn a_score_that_no_evaluation_comes_to_is_not_sound() {
        let sound = evaluation(&[0.1; 100]).score();
        assert!(sound.is_sound());
        let others = [
            Score { episodes: 0, ..sound },
            Score { mean: f64::NAN, ..sound },
            Score { max: f64::INFINITY, ..sound },
            Score { mean: 0.2, ..sound },
            Score { min: 0.2, ..sound },
            Score { cut: 101, ..sound },
            evaluation(&[]).score(),
        ];
        assert!(!others.iter().any(Score::is_sound));
    }
}
