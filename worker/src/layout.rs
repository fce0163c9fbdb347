//! The packed arrays of a step: where each lies in the bytes of an answer, and what must hold of its numbers. It knows no process.

use impala_env::array::{ArrayMut, ArrayRef, Dtype};
use impala_env::spec::EnvironmentSpec;
use impala_env::{Outcome, Step};

/// Largest magnitude of an observation's number or a reward, as of every environment.
const MAGNITUDE_MAX: f32 = 1e9;
const FINITE: &str = "finite and within 1e9 of 0";

/// Sizes of the arrays of one worker's environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    environments: usize,
    dtype: Dtype,
    /// O
    observation_len: usize,
    /// The choices of each component, where there are masks.
    masked: Vec<usize>,
}

/// Something in an answer that cannot be: in which of the worker's environments, if it is in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Length { found: usize, expected: usize },
    Number { environment: usize, field: String, value: String, bounds: &'static str },
}

/// An answer cut into its arrays, all of them of this worker's environments.
struct Parts<'a> {
    observations: &'a [u8],
    masks: &'a [u8],
    rewards: &'a [u8],
    outcomes: &'a [u8],
    finals: &'a [u8],
}

impl Layout {
    pub(crate) fn new(spec: &EnvironmentSpec, environments: usize) -> Self {
        let masked = if spec.masked { spec.actions.choices().to_vec() } else { Vec::new() };
        let (dtype, observation_len) = (spec.observations.dtype, spec.observation_len());
        Self { environments, dtype, observation_len, masked }
    }

    /// M
    fn mask_len(&self) -> usize {
        self.masked.iter().sum()
    }

    fn observations_size(&self, environments: usize) -> usize {
        environments * self.observation_len * self.dtype.size()
    }

    /// Bytes of an answer that only shows.
    pub(crate) fn observed_len(&self) -> usize {
        self.observations_size(self.environments) + self.environments * self.mask_len()
    }

    fn stepped_len(&self, truncated: usize) -> usize {
        self.observed_len() + self.environments * (size_of::<f32>() + 1) + self.observations_size(truncated)
    }

    /// Bytes of the longest answer to a step: every environment was truncated.
    pub(crate) fn stepped_len_max(&self) -> usize {
        self.stepped_len(self.environments)
    }

    /// What the worker's environments show, of the answer to a step as of one that only shows: both begin alike.
    ///
    /// # Panics
    /// It was not checked before.
    pub(crate) fn read_shown(&self, answer: &[u8], observations: ArrayMut<'_>, masks: &mut [u8]) {
        let (shown, rest) = answer.split_at(self.observations_size(self.environments));
        copy(shown, observations);
        masks.copy_from_slice(&rest[..self.environments * self.mask_len()]);
    }

    /// Looks at an answer that only shows.
    pub(crate) fn check_observed(&self, answer: &[u8]) -> Result<(), Damage> {
        let (found, expected) = (answer.len(), self.observed_len());
        if found != expected {
            return Err(Damage::Length { found, expected });
        }
        let (observations, masks) = answer.split_at(self.observations_size(self.environments));
        self.check_observations(observations, "observation")?;
        self.check_masks(masks)
    }

    /// Writes the answer to a step where its caller wants it; the step's arrays are those of this worker's environments alone.
    pub(crate) fn read_stepped(&self, answer: &[u8], step: Step<'_>) -> Result<(), Damage> {
        let Parts { observations, masks, rewards, outcomes, finals } = self.cut(answer)?;
        copy(observations, step.observations);
        self.check_observations(observations, "observation")?;
        self.check_masks(masks)?;
        step.masks.copy_from_slice(masks);
        copy(rewards, ArrayMut::F32(step.rewards));
        if let Some(environment) = step.rewards.iter().position(is_out_of_bounds) {
            let value = step.rewards[environment].to_string();
            return Err(Damage::Number { environment, field: "reward".into(), value, bounds: FINITE });
        }
        let mut truncated = 0;
        for (environment, (outcome, byte)) in step.outcomes.iter_mut().zip(outcomes).enumerate() {
            *outcome = Outcome::from_u8(*byte).ok_or_else(|| {
                let (field, value) = ("outcome".into(), byte.to_string());
                Damage::Number { environment, field, value, bounds: "0, 1 or 2" }
            })?;
            truncated += usize::from(*outcome == Outcome::Truncated);
        }
        let (found, expected) = (answer.len(), self.stepped_len(truncated));
        if found != expected {
            return Err(Damage::Length { found, expected });
        }
        if let Err(Damage::Number { environment: row, field, value, bounds }) =
            self.check_observations(finals, "final observation")
        {
            let mut cut = step.outcomes.iter().enumerate().filter(|(_, outcome)| **outcome == Outcome::Truncated);
            let environment = cut.nth(row).map_or(row, |(environment, _)| environment);
            return Err(Damage::Number { environment, field, value, bounds });
        }
        match self.dtype {
            Dtype::U8 => step.final_observations.extend(ArrayRef::U8(finals)),
            Dtype::F32 => {
                let numbers: Vec<f32> = floats(finals).collect();
                step.final_observations.extend(ArrayRef::F32(&numbers));
            }
        }
        Ok(())
    }

    fn cut<'a>(&self, answer: &'a [u8]) -> Result<Parts<'a>, Damage> {
        let (found, expected) = (answer.len(), self.stepped_len(0));
        let cut = || {
            let (observations, rest) = answer.split_at_checked(self.observations_size(self.environments))?;
            let (masks, rest) = rest.split_at_checked(self.environments * self.mask_len())?;
            let (rewards, rest) = rest.split_at_checked(self.environments * size_of::<f32>())?;
            let (outcomes, finals) = rest.split_at_checked(self.environments)?;
            Some(Parts { observations, masks, rewards, outcomes, finals })
        };
        cut().ok_or(Damage::Length { found, expected })
    }

    /// Bytes are all sound. The environment that is named is the row.
    fn check_observations(&self, bytes: &[u8], field: &str) -> Result<(), Damage> {
        if self.dtype == Dtype::U8 {
            return Ok(());
        }
        // A sum of whether each is out of bounds is a loop that vectorises; where it lies matters only once there is one.
        let bad: u32 = floats(bytes).map(|number| u32::from(is_out_of_bounds(&number))).sum();
        if bad == 0 {
            return Ok(());
        }
        let place = floats(bytes).position(|number| is_out_of_bounds(&number)).unwrap_or_default();
        let value = floats(bytes).nth(place).unwrap_or_default().to_string();
        let (environment, number) = (place / self.observation_len, place % self.observation_len);
        Err(Damage::Number { environment, field: format!("{field}[{number}]"), value, bounds: FINITE })
    }

    fn check_masks(&self, masks: &[u8]) -> Result<(), Damage> {
        if self.masked.is_empty() {
            return Ok(());
        }
        for (environment, mask) in masks.chunks_exact(self.mask_len()).enumerate() {
            if let Some(place) = mask.iter().position(|byte| *byte > 1) {
                let (field, value) = (format!("mask[{place}]"), mask[place].to_string());
                return Err(Damage::Number { environment, field, value, bounds: "0 or 1" });
            }
            let mut rest = mask;
            for (component, choices) in self.masked.iter().enumerate() {
                let (of_component, after) = rest.split_at(*choices);
                if !of_component.contains(&1) {
                    let (field, value) = (format!("the mask of component {component}"), "all 0".into());
                    return Err(Damage::Number { environment, field, value, bounds: "1 for one choice at least" });
                }
                rest = after;
            }
        }
        Ok(())
    }
}

/// Appends the bytes of an array, as they travel.
pub(crate) fn append(array: ArrayRef<'_>, bytes: &mut Vec<u8>) {
    match array {
        ArrayRef::U8(choices) => bytes.extend_from_slice(choices),
        ArrayRef::F32(numbers) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Writes the numbers of bytes that travelled, of which there are as many.
pub(crate) fn copy(bytes: &[u8], numbers: ArrayMut<'_>) {
    match numbers {
        ArrayMut::U8(numbers) => numbers.copy_from_slice(bytes),
        ArrayMut::F32(numbers) => numbers.iter_mut().zip(floats(bytes)).for_each(|(number, read)| *number = read),
    }
}

/// NaN is.
fn is_out_of_bounds(number: &f32) -> bool {
    !(-MAGNITUDE_MAX..=MAGNITUDE_MAX).contains(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::StepBuffer;
    use impala_env::space::{ActionSpace, ObservationSpace};

    fn spec() -> EnvironmentSpec {
        let actions = ActionSpace::MultiDiscrete(vec![2, 1]);
        EnvironmentSpec { masked: true, ..EnvironmentSpec::new("gym:Two-v0", ObservationSpace::vector(2), actions) }
    }

    /// Two environments, the second of which was truncated.
    fn answer() -> Vec<u8> {
        let mut bytes = Vec::new();
        let floats = |bytes: &mut Vec<u8>, numbers: &[f32]| bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        floats(&mut bytes, &[1.0, 2.0, 3.0, 4.0]);
        bytes.extend([1, 0, 1, 0, 1, 1]);
        floats(&mut bytes, &[0.5, -1.0]);
        bytes.extend([0, 2]);
        floats(&mut bytes, &[5.0, 6.0]);
        bytes
    }

    fn read(answer: &[u8]) -> Result<StepBuffer, Damage> {
        read_as(&spec(), 2, answer)
    }

    fn read_as(spec: &EnvironmentSpec, environments: usize, answer: &[u8]) -> Result<StepBuffer, Damage> {
        let mut buffer = StepBuffer::new(spec, environments);
        let step = Step {
            observations: buffer.observations.view_mut(),
            masks: &mut buffer.masks,
            rewards: &mut buffer.rewards,
            outcomes: &mut buffer.outcomes,
            final_observations: &mut buffer.final_observations,
        };
        Layout::new(spec, environments).read_stepped(answer, step).map(|()| buffer)
    }

    #[test]
    fn a_step_is_read_as_it_was_written() {
        let buffer = read(&answer()).unwrap();
        assert_eq!(buffer.observations.view().f32(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(buffer.masks, [1, 0, 1, 0, 1, 1]);
        assert_eq!(buffer.rewards, [0.5, -1.0]);
        assert_eq!(buffer.outcomes, [Outcome::Continues, Outcome::Truncated]);
        assert_eq!(buffer.final_observations.view().f32(), [5.0, 6.0]);
        let layout = Layout::new(&spec(), 2);
        assert_eq!(layout.check_observed(&answer()[..layout.observed_len()]), Ok(()));
        assert_eq!(answer().len() + 8, layout.stepped_len_max());
    }

    #[test]
    fn bytes_are_read_as_they_are() {
        let actions = ActionSpace::bounded(&[0.0], &[1.0]);
        let spec = EnvironmentSpec::new("gym:Bytes-v0", ObservationSpace::bytes(&[3]), actions);
        let answer = [&[1, 2, 255], 2.5_f32.to_le_bytes().as_slice(), &[2], &[7, 8, 9]].concat();
        let buffer = read_as(&spec, 1, &answer).unwrap();
        assert_eq!((buffer.observations.view().u8(), buffer.rewards), ([1, 2, 255].as_slice(), vec![2.5]));
        assert_eq!((buffer.final_observations.view().u8(), buffer.masks), ([7, 8, 9].as_slice(), vec![]));
    }

    #[test]
    fn no_length_but_the_right_one_is_read() {
        let whole = answer();
        for length in 0..whole.len() {
            let damage = read(&whole[..length]).unwrap_err();
            assert!(matches!(damage, Damage::Length { found, .. } if found == length), "{damage:?}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Err(Damage::Length { found: 41, expected: 40 }));
    }

    #[test]
    fn numbers_that_cannot_be_are_named_with_their_place() {
        let spoilt = |place: usize, bytes: &[u8]| {
            let mut answer = answer();
            answer[place..place + bytes.len()].copy_from_slice(bytes);
            match read(&answer) {
                Err(Damage::Number { environment, field, value, .. }) => format!("{environment} {field} {value}"),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(spoilt(12, &f32::NAN.to_le_bytes()), "1 observation[1] NaN");
        assert_eq!(spoilt(0, &f32::NEG_INFINITY.to_le_bytes()), "0 observation[0] -inf");
        assert_eq!(spoilt(0, &2e9_f32.to_le_bytes()), "0 observation[0] 2000000000");
        assert_eq!(spoilt(16, &[2]), "0 mask[0] 2");
        assert_eq!(spoilt(16, &[0]), "0 the mask of component 0 all 0");
        assert_eq!(spoilt(22, &f32::INFINITY.to_le_bytes()), "0 reward inf");
        assert_eq!(spoilt(31, &[3]), "1 outcome 3");
        assert_eq!(spoilt(36, &f32::NAN.to_le_bytes()), "1 final observation[1] NaN");
    }
}
