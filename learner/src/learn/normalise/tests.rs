//! Statistics against their definitions, and the formula of return-based scaling against numbers worked out by hand.

use super::*;
use impala_common::trajectory::{TrajectoryParts, TrajectoryShape};
use impala_env::array::Array;

/// Two steps of two environments, with two numbers in an observation: the last row of observations is not trained on.
fn trajectory(observations: [f32; 12], rewards: [f32; 4], terminated: &[usize]) -> Trajectory {
    let mut outcomes = vec![Outcome::Continues; 4];
    terminated.iter().for_each(|i| outcomes[*i] = Outcome::Terminated);
    let parts = TrajectoryParts {
        observations: observations.into_iter().collect::<Array>(),
        actions: [0_u8; 4].into_iter().collect::<Array>(),
        behaviour_log_probs: vec![-1.0; 4],
        rewards: rewards.to_vec(),
        outcomes,
        ..TrajectoryParts::default()
    };
    Trajectory::try_new(TrajectoryShape::plain(2, 2, 2, 2), parts).unwrap()
}

fn rows(base: f32) -> [f32; 12] {
    std::array::from_fn(|i| base + (i * i) as f32)
}

fn observed(batches: &[&[Trajectory]]) -> Normaliser {
    let mut normaliser = Normaliser::new(Some(2), None);
    for trajectories in batches {
        let batch = Batch::new(trajectories.to_vec());
        normaliser.begin(&batch);
        normaliser.end(&batch, 0.0, 1.0);
    }
    normaliser
}

#[test]
fn means_and_deviations_are_those_of_all_frames_wherever_they_lie() {
    for base in [0.0, -3.0, 1e6] {
        let trajectories = [trajectory(rows(base), [0.0; 4], &[]), trajectory(rows(base + 7.0), [0.0; 4], &[])];
        let mut scaled = trajectories[0].observations.view().f32()[..2].to_vec();
        observed(&[&trajectories[..1], &trajectories[1..]]).observation_scale().unwrap().apply(&mut scaled);
        for component in 0..2 {
            let frames = trajectories.iter().flat_map(|t| t.observations.view().f32()[..8].chunks(2));
            let numbers: Vec<_> = frames.map(|frame| f64::from(frame[component])).collect();
            let mean = numbers.iter().sum::<f64>() / 8.0;
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 8.0;
            let first = f64::from(trajectories[0].observations.view().f32()[component]);
            let expected = (first - mean) / (variance + 1e-8).sqrt();
            // In single precision a mean of a million is known to a sixteenth.
            let error = if base == 1e6 { 4e-3 } else { 1e-6 };
            assert!((f64::from(scaled[component]) - expected).abs() < error, "{base}: {scaled:?}, {expected}");
        }
    }
}

#[test]
fn a_batch_is_seen_as_the_policy_before_it_would_and_counts_for_the_next() {
    let batch = Batch::new(vec![trajectory(rows(5.0), [0.0; 4], &[])]);
    let mut normaliser = Normaliser::new(Some(2), None);
    assert_eq!(normaliser.observation_scale(), Some(ObservationScale::identity(2)));
    let mut columns = Columns::default();
    batch.gather(0..2, &mut columns);
    let untouched = columns.clone();
    normaliser.begin(&batch).apply(&mut columns);
    let within = |x: &f32| x.clamp(-10.0, 10.0);
    assert_eq!(columns.observations, untouched.observations.iter().map(within).collect::<Vec<_>>());
    normaliser.end(&batch, 0.0, 1.0);
    normaliser.begin(&batch).apply(&mut columns);
    assert_ne!(columns.observations, untouched.observations);
    assert_eq!(columns.rewards, untouched.rewards);
}

#[test]
fn only_the_order_of_trajectories_matters_and_not_how_they_came_together() {
    let [a, b, c] = [0.1, 0.7, -12.3].map(|base| trajectory(rows(base), [0.0; 4], &[]));
    let apart = observed(&[&a, &b, &c].map(std::slice::from_ref));
    assert_eq!(observed(&[&[a, b], &[c]]), apart);
}

#[test]
fn rewards_are_divided_by_what_temporal_differences_vary_by() {
    let mut normaliser = Normaliser::new(None, Some(0.9));
    let batch = Batch::new(vec![trajectory(rows(0.0), [1.0, 1.0, 1.0, 5.0], &[3])]);
    let deviation = |inputs: &InputScale| f64::from(inputs.deviation.unwrap());
    // Rewards of mean 2: Var[R] = (3 * 1 + 9) / 4 = 3. No return is known yet.
    let inputs = normaliser.begin(&batch);
    assert!((deviation(&inputs) - 3.0_f64.sqrt()).abs() < 1e-6);
    let mut columns = Columns::default();
    batch.gather(0..2, &mut columns);
    inputs.apply(&mut columns);
    assert!((columns.rewards[3] - 5.0 / 3.0_f32.sqrt()).abs() < 1e-6);
    // Targets of mean square 4 in rewards over 10 and over the deviation: E[G^2] = 4 * 100 * 3. Var[gamma] = 0.81 * 1/4 * 3/4.
    normaliser.end(&batch, 4.0, 0.1);
    let expected: f64 = 3.0 + 0.81 * 0.1875 * 1200.0;
    assert!((deviation(&normaliser.begin(&batch)) / expected.sqrt() - 1.0).abs() < 1e-5);
    // A batch that varies more than all before it is divided by what it varies by itself.
    let wild = Batch::new(vec![trajectory(rows(0.0), [0.0, 0.0, 0.0, 4000.0], &[])]);
    assert!(deviation(&normaliser.begin(&wild)) > 1732.0);
    // Where nothing differs there is nothing to divide by.
    let constant = Batch::new(vec![trajectory(rows(0.0), [1.0; 4], &[])]);
    assert_eq!(deviation(&Normaliser::new(None, Some(0.9)).begin(&constant)), 1.0);
}

#[test]
fn what_a_checkpoint_keeps_goes_on_to_the_bit_and_damage_is_noticed() {
    let mut normaliser = Normaliser::new(Some(2), Some(0.99));
    for base in [0.1, 0.3] {
        let batch = Batch::new(vec![trajectory(rows(base), [base, 0.0, 1.0, -base], &[1])]);
        normaliser.begin(&batch);
        normaliser.end(&batch, 0.7, 0.1);
    }
    let saved = normaliser.save().unwrap();
    let text = serde_json::to_string(&saved).unwrap();
    let saved: SavedNormaliser = serde_json::from_str(&text).unwrap();
    let mut again = Normaliser::new(Some(2), Some(0.99));
    assert!(again.restore(&saved));
    let batch = Batch::new(vec![trajectory(rows(9.0), [0.5; 4], &[])]);
    assert_eq!((again.begin(&batch), &again), (normaliser.begin(&batch), &normaliser));

    assert_eq!(Normaliser::new(None, None).save(), None);
    // Rewards need not be scaled any more, or may be from now on.
    assert!(Normaliser::new(Some(2), None).restore(&saved));
    let of_observations = SavedNormaliser { rewards: vec![], ..saved.clone() };
    assert!(Normaliser::new(Some(2), Some(0.9)).restore(&of_observations));
    for other in [None, Some(1), Some(3)] {
        assert!(!Normaliser::new(other, None).restore(&saved), "{other:?}");
    }
    let damaged = |change: &dyn Fn(&mut Vec<u64>)| {
        let mut damaged = saved.clone();
        change(&mut damaged.observations);
        let mut of_rewards = saved.clone();
        change(&mut of_rewards.rewards);
        [damaged, of_rewards].map(|saved| Normaliser::new(Some(2), Some(0.99)).restore(&saved))
    };
    assert_eq!(damaged(&|bits| bits[0] = f64::NAN.to_bits()), [false; 2]);
    assert_eq!(damaged(&|bits| bits[0] = (-1.0_f64).to_bits()), [false; 2]);
    assert_eq!(damaged(&|bits| *bits.last_mut().unwrap() = (-1.0_f64).to_bits()), [false; 2]);
    assert_eq!(damaged(&|bits| bits.truncate(bits.len() - 1)), [false; 2]);
}

#[test]
fn a_run_that_begins_with_a_policy_begins_with_its_statistics() {
    let scale = ObservationScale::new(vec![3.0, -1.0], vec![0.5, 20.0]);
    let mut normaliser = Normaliser::new(Some(2), None);
    normaliser.begin_with(&scale.statistics().collect::<Vec<_>>());
    let found: Vec<_> = normaliser.observation_scale().unwrap().statistics().collect();
    found.iter().zip(scale.statistics()).for_each(|(x, y)| assert!((x - y).abs() < 1e-4 * y.abs(), "{x} {y}"));
    let mut fresh = Normaliser::new(Some(2), None);
    fresh.begin_with(&ObservationScale::identity(2).statistics().collect::<Vec<_>>());
    assert_eq!(fresh, Normaliser::new(Some(2), None));
    for bad in [0.0, -1.0, f32::INFINITY] {
        fresh.begin_with(&[0.5, 0.5, 1.0, bad]);
        assert_eq!(fresh, Normaliser::new(Some(2), None), "{bad}");
    }
}
