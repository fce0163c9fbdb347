//! Evaluations by actors on the wire. What is wrong in the numbers of an answer, its learner says: it knows what it asked for.

use super::numbers::{from_bytes, to_bytes};
use super::{WireError, pb, wire_len};
use crate::evaluation::{Assignment, EPISODES_MAX, FAILURE_LEN_MAX, Findings};
use impala_policy::evaluate::{End, Evaluation, EvaluationPlan, Mode, Played, Series};
use pb::evaluate::Series as WireSeries;

impl From<&Assignment> for pb::Evaluate {
    fn from(assignment: &Assignment) -> Self {
        let EvaluationPlan { episodes, first, seed, series, mode, steps_max } = assignment.plan;
        Self {
            id: assignment.id,
            weights: Some((&assignment.weights).into()),
            seed,
            series: match series {
                Series::Single => None,
                Series::Try(attempt) => Some(WireSeries::Attempt(attempt)),
                Series::Beside(number) => Some(WireSeries::Beside(number)),
            },
            first,
            episodes: wire_len(episodes),
            sampled: mode == Mode::Sampled,
            steps_max,
        }
    }
}

impl TryFrom<pb::Evaluate> for Assignment {
    type Error = WireError;

    fn try_from(message: pb::Evaluate) -> Result<Self, WireError> {
        let episodes = message.episodes as usize;
        let is_bounded =
            (1..=EPISODES_MAX).contains(&episodes) && message.first.checked_add(message.episodes).is_some();
        if !is_bounded {
            let value = format!("{episodes} from {}", message.first);
            return Err(WireError::Unknown { field: "evaluate.episodes", value });
        }
        if message.steps_max == 0 {
            return Err(WireError::Unknown { field: "evaluate.steps_max", value: "0".into() });
        }
        let series = match message.series {
            None => Series::Single,
            Some(WireSeries::Attempt(attempt)) => Series::Try(attempt),
            Some(WireSeries::Beside(number)) => Series::Beside(number),
        };
        let mode = if message.sampled { Mode::Sampled } else { Mode::Greedy };
        let pb::Evaluate { id, first, seed, steps_max, .. } = message;
        let plan = EvaluationPlan { episodes, first, seed, series, mode, steps_max };
        let weights = message.weights.ok_or(WireError::Missing("evaluate.weights"))?.try_into()?;
        Ok(Self { id, plan, weights })
    }
}

impl From<Findings> for pb::Evaluated {
    fn from(findings: Findings) -> Self {
        let Findings { id, result } = findings;
        let evaluation = match result {
            Ok(evaluation) => evaluation,
            Err(failure) => {
                let failure = Some(failure.chars().take(FAILURE_LEN_MAX).collect());
                return Self { id, failure, ..Self::default() };
            }
        };
        let returns: Vec<f32> = evaluation.returns().collect();
        let length = |played: &Played| u32::try_from(played.length).unwrap_or(u32::MAX);
        let lengths: Vec<u32> = evaluation.episodes.iter().map(length).collect();
        let end = |played: &Played| match played.end {
            End::Terminated => 0,
            End::Truncated => 1,
            End::Cut => 2,
        };
        let ends: Vec<u8> = evaluation.episodes.iter().map(end).collect();
        Self { id, failure: None, returns: to_bytes(&returns), lengths: to_bytes(&lengths), ends: ends.into() }
    }
}

impl TryFrom<pb::Evaluated> for Findings {
    type Error = WireError;

    fn try_from(message: pb::Evaluated) -> Result<Self, WireError> {
        let id = message.id;
        if let Some(failure) = message.failure {
            return Ok(Self { id, result: Err(failure.chars().take(FAILURE_LEN_MAX).collect()) });
        }
        let episodes = message.ends.len();
        if episodes > EPISODES_MAX {
            return Err(WireError::TooLong { field: "evaluated.ends", actual: episodes, max: EPISODES_MAX });
        }
        let returns: Vec<f32> = from_bytes("evaluated.returns", &message.returns)?;
        let lengths: Vec<u32> = from_bytes("evaluated.lengths", &message.lengths)?;
        for (field, actual) in [("evaluated.returns", returns.len()), ("evaluated.lengths", lengths.len())] {
            if actual != episodes {
                return Err(WireError::Disagrees { field, actual, agreed: episodes });
            }
        }
        let mut evaluation = Evaluation::default();
        for ((episode_return, length), end) in returns.into_iter().zip(lengths).zip(&message.ends) {
            let end = match end {
                0 => End::Terminated,
                1 => End::Truncated,
                2 => End::Cut,
                other => return Err(WireError::Unknown { field: "evaluated.ends", value: other.to_string() }),
            };
            evaluation.episodes.push(Played { episode_return, length: length.into(), end });
        }
        Ok(Self { id, result: Ok(evaluation) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::FINDINGS_BYTES_MAX;
    use crate::ids::WeightsVersion;
    use crate::snapshot::{self, NumberFormat, Words};
    use prost::Message;

    fn assignment(series: Series, mode: Mode) -> Assignment {
        let words = Words::round(NumberFormat::F32, &[0.1, -2.5, 3e-9], 0);
        let weights = snapshot::encode(WeightsVersion(7), &words, None);
        let plan = EvaluationPlan { first: 100, series, mode, steps_max: 77, ..EvaluationPlan::new(900, 1 << 60) };
        Assignment { id: u64::MAX, plan, weights }
    }

    #[test]
    fn an_assignment_survives_the_wire() {
        for series in [Series::Single, Series::Try(3), Series::Beside(1)] {
            for mode in Mode::ALL {
                let sent = assignment(series, mode);
                assert_eq!(Assignment::try_from(pb::Evaluate::from(&sent)), Ok(sent));
            }
        }
    }

    #[test]
    fn an_assignment_out_of_bounds_is_refused_by_name() {
        let error = |change: fn(&mut pb::Evaluate)| {
            let mut message = pb::Evaluate::from(&assignment(Series::Single, Mode::Greedy));
            change(&mut message);
            Assignment::try_from(message).unwrap_err().to_string()
        };
        assert!(error(|m| m.episodes = 0).contains("`evaluate.episodes` has the unknown value 0 from 100"));
        assert!(error(|m| m.episodes = 10_001).contains("10001"));
        assert!(error(|m| m.first = u32::MAX).contains("900 from 4294967295"));
        assert!(error(|m| m.steps_max = 0).contains("evaluate.steps_max"));
        assert_eq!(error(|m| m.weights = None), "field `evaluate.weights` is missing");
    }

    fn played() -> Evaluation {
        let episode = |(i, end)| Played { episode_return: 0.1 * f32::from(i), length: 1 + u64::from(i), end };
        let ends = [End::Terminated, End::Truncated, End::Cut];
        Evaluation { episodes: (0_u8..).zip(ends).map(episode).collect() }
    }

    #[test]
    fn findings_survive_the_wire() {
        for result in [Ok(played()), Err("the environment broke".to_owned())] {
            let sent = Findings { id: 3, result };
            assert_eq!(Findings::try_from(pb::Evaluated::from(sent.clone())), Ok(sent));
        }
    }

    #[test]
    fn findings_are_bounded_and_what_is_none_is_named() {
        let long = pb::Evaluated::from(Findings { id: u64::MAX, result: Err("ä".repeat(1 << 20)) });
        assert_eq!(long.failure.as_ref().map(|failure| failure.chars().count()), Some(FAILURE_LEN_MAX));
        let most = Played { episode_return: 1.0, length: u64::MAX, end: End::Cut };
        let result = Ok(Evaluation { episodes: vec![most; EPISODES_MAX] });
        let most = pb::Evaluated::from(Findings { id: u64::MAX, result });
        assert!(most.encoded_len().max(long.encoded_len()) + 64 <= FINDINGS_BYTES_MAX);
        let error = |change: fn(&mut pb::Evaluated)| {
            let mut message = pb::Evaluated::from(Findings { id: 3, result: Ok(played()) });
            change(&mut message);
            Findings::try_from(message).unwrap_err().to_string()
        };
        assert_eq!(error(|m| m.ends = vec![0, 1, 3].into()), "field `evaluated.ends` has the unknown value 3");
        assert_eq!(error(|m| m.returns.truncate(8)), "field `evaluated.returns` is 2, agreed was 3");
        assert_eq!(error(|m| m.lengths.truncate(11)), "field `evaluated.lengths` has 11 bytes, not a multiple of 4");
        let too_many = error(|m| m.ends = vec![0; EPISODES_MAX + 1].into());
        assert_eq!(too_many, "field `evaluated.ends` has 10001 bytes, at most 10000 are allowed");
    }
}
