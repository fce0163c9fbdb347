//! V-trace: returns corrected for the age of the policy that acted (Espeholt et al. 2018, arXiv 1802.01561, section 4.1).
//!
//! A pure function over host memory. Arrays are time-major `[T, B]` and flat: T steps, B columns, element `t * B + b`.
//! With the importance ratio `ratio_t = pi(a_t | x_t) / mu(a_t | x_t)`:
//!
//! ```text
//! rho_t   = min(rho_bar, ratio_t)
//! c_t     = lambda * min(c_bar, ratio_t)
//! delta_t = rho_t * (r_t + discount_t * V(x_{t+1}) - V(x_t))                                  (eq. 1)
//! vs_t    = V(x_t) + delta_t + discount_t * c_t * (vs_{t+1} - V(x_{t+1}))                     (remark 1)
//! pg_advantage_t = min(pg_rho_bar, ratio_t) * (r_t + discount_t * vs_{t+1} - V(x_t))          (section 4.2)
//! ```
//!
//! with `V(x_T) = vs_T =` bootstrap value. A discount of 0 ends an episode: nothing after it is seen; what a
//! truncated one would have been worth is in its last reward by then (`ReturnScale`). The advantage
//! bootstraps from `vs_{t+1}` for every lambda, as the paper writes it (rlax mixes in `V` for lambda < 1).

use impala_policy::activation::exp;
use pulp::{Arch, Simd, WithSimd};

/// Where importance ratios are clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VtraceClipping {
    /// Of the temporal differences; decides which policy's value is the fixed point.
    pub rho_bar: f32,
    /// Of the traces; decides how fast corrections travel back.
    pub c_bar: f32,
    /// Factor on the traces, 0 to 1; 1 is the paper's n-step form.
    pub lambda: f32,
    /// Bound of the importance ratio of the policy gradient.
    pub pg_rho_bar: f32,
}

/// Arguments of [`vtrace`].
#[derive(Clone, Copy, Debug)]
pub struct VtraceInputs<'a> {
    /// B
    pub columns: usize,
    /// `[T, B]`, log-probability of the action under the policy that acted.
    pub behaviour_log_probs: &'a [f32],
    /// `[T, B]`, log-probability of the action under the policy that learns.
    pub target_log_probs: &'a [f32],
    /// `[T, B]`, 0 at the end of an episode.
    pub discounts: &'a [f32],
    /// `[T, B]`
    pub rewards: &'a [f32],
    /// `[T, B]`
    pub values: &'a [f32],
    /// `[B]`, value of the observation after the last step.
    pub bootstrap_values: &'a [f32],
}

/// What [`vtrace`] gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VtraceReturns {
    /// `[T, B]`, targets of the baseline.
    pub vs: Vec<f32>,
    /// `[T, B]`, weights of the policy gradient.
    pub pg_advantages: Vec<f32>,
}

/// Computes V-trace targets and advantages; the memory of `returns` is used again.
///
/// # Panics
/// If the arrays do not agree on `[T, B]`: they come from one batch.
pub fn vtrace(inputs: &VtraceInputs<'_>, clipping: &VtraceClipping, returns: &mut VtraceReturns) {
    let VtraceInputs { columns, behaviour_log_probs, target_log_probs, discounts, rewards, values, bootstrap_values } =
        *inputs;
    let frames = values.len();
    let lengths = [behaviour_log_probs.len(), target_log_probs.len(), discounts.len(), rewards.len()];
    assert!(lengths.iter().all(|len| *len == frames), "arrays of {lengths:?} elements beside {frames} values");
    assert_eq!(bootstrap_values.len(), columns, "one bootstrap value a column");
    assert!(columns > 0 && frames.is_multiple_of(columns), "{frames} values are not rows of {columns} columns");

    returns.vs.resize(frames, 0.0);
    returns.pg_advantages.resize(frames, 0.0);
    Arch::new().dispatch(Recursion { inputs, clipping, returns });
}

/// The recursion from the last row to the first; the columns of a row are independent of one another and so go in vectors.
struct Recursion<'a> {
    inputs: &'a VtraceInputs<'a>,
    clipping: &'a VtraceClipping,
    returns: &'a mut VtraceReturns,
}

impl<'a> WithSimd for Recursion<'a> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let VtraceInputs { columns, values, bootstrap_values, .. } = *self.inputs;
        let clipping = self.clipping;
        for start in (0..values.len()).step_by(columns).rev() {
            let row = |array: &'a [f32]| &array[start..start + columns];
            let (behaviour, target) = (row(self.inputs.behaviour_log_probs), row(self.inputs.target_log_probs));
            let (discounts, rewards) = (row(self.inputs.discounts), row(self.inputs.rewards));
            let (vs, later_vs) = self.returns.vs[start..].split_at_mut(columns);
            // Of the row after: V(x_{t+1}), vs_{t+1}.
            let (next_values, next_vs) = match later_vs.is_empty() {
                true => (bootstrap_values, bootstrap_values),
                false => (&values[start + columns..start + 2 * columns], &later_vs[..columns]),
            };
            let values = row(values);
            let advantages = &mut self.returns.pg_advantages[start..start + columns];
            for i in 0..columns {
                let ratio = exp(target[i] - behaviour[i]);
                let rho = ratio.min(clipping.rho_bar);
                let c = clipping.lambda * ratio.min(clipping.c_bar);
                let delta = rho * (rewards[i] + discounts[i] * next_values[i] - values[i]);
                vs[i] = values[i] + delta + discounts[i] * c * (next_vs[i] - next_values[i]);
                let q = rewards[i] + discounts[i] * next_vs[i];
                advantages[i] = ratio.min(clipping.pg_rho_bar) * (q - values[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: VtraceClipping = VtraceClipping { rho_bar: 1.0, c_bar: 1.0, lambda: 1.0, pg_rho_bar: 1.0 };

    /// Owned arguments of one column.
    #[derive(Clone, Debug)]
    struct Column {
        behaviour: Vec<f32>,
        target: Vec<f32>,
        discounts: Vec<f32>,
        rewards: Vec<f32>,
        values: Vec<f32>,
        bootstrap: f32,
    }

    impl Column {
        fn vtrace(&self, clipping: &VtraceClipping) -> VtraceReturns {
            let inputs = VtraceInputs {
                columns: 1,
                behaviour_log_probs: &self.behaviour,
                target_log_probs: &self.target,
                discounts: &self.discounts,
                rewards: &self.rewards,
                values: &self.values,
                bootstrap_values: &[self.bootstrap],
            };
            let mut returns = VtraceReturns::default();
            vtrace(&inputs, clipping, &mut returns);
            returns
        }

        /// The definition as a sum (eq. 1), in f64 and O(T^2).
        fn by_definition(&self, clipping: &VtraceClipping) -> (Vec<f64>, Vec<f64>) {
            let steps = self.values.len();
            let f = |x: f32| f64::from(x);
            let ratio = |t: usize| (f(self.target[t]) - f(self.behaviour[t])).exp();
            let value = |t: usize| if t == steps { f(self.bootstrap) } else { f(self.values[t]) };
            let vs: Vec<f64> = (0..steps)
                .map(|s| {
                    let mut sum = value(s);
                    let mut weight = 1.0;
                    for t in s..steps {
                        let td = f(self.rewards[t]) + f(self.discounts[t]) * value(t + 1) - value(t);
                        sum += weight * ratio(t).min(f(clipping.rho_bar)) * td;
                        weight *= f(self.discounts[t]) * f(clipping.lambda) * ratio(t).min(f(clipping.c_bar));
                    }
                    sum
                })
                .collect();
            let next_vs = |t: usize| if t + 1 == steps { f(self.bootstrap) } else { vs[t + 1] };
            let advantage = |t: usize| {
                let q = f(self.rewards[t]) + f(self.discounts[t]) * next_vs(t);
                ratio(t).min(f(clipping.pg_rho_bar)) * (q - value(t))
            };
            let advantages = (0..steps).map(advantage).collect();
            (vs, advantages)
        }
    }

    fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
        let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (a, e) in actual.iter().zip(expected) {
            assert!((f64::from(*a) - e).abs() <= tolerance * scale, "{a} is not {e} (scale {scale})");
        }
        assert_eq!(actual.len(), expected.len());
    }

    fn column() -> impl Strategy<Value = Column> {
        let step =
            (-3.0_f32..0.0, -3.0_f32..0.0, prop_oneof![Just(0.0_f32), 0.8_f32..1.0], -1.0_f32..1.0, -5.0_f32..5.0);
        (prop::collection::vec(step, 1..30), -5.0_f32..5.0).prop_map(|(steps, bootstrap)| Column {
            behaviour: steps.iter().map(|s| s.0).collect(),
            target: steps.iter().map(|s| s.1).collect(),
            discounts: steps.iter().map(|s| s.2).collect(),
            rewards: steps.iter().map(|s| s.3).collect(),
            values: steps.iter().map(|s| s.4).collect(),
            bootstrap,
        })
    }

    fn clipping() -> impl Strategy<Value = VtraceClipping> {
        (0.1_f32..4.0, 0.1_f32..4.0, 0.0_f32..=1.0, 0.1_f32..4.0)
            .prop_map(|(rho_bar, c_bar, lambda, pg_rho_bar)| VtraceClipping { rho_bar, c_bar, lambda, pg_rho_bar })
    }

    proptest! {
        #[test]
        fn recursion_equals_the_definition(column in column(), clipping in clipping()) {
            let returns = column.vtrace(&clipping);
            let (vs, advantages) = column.by_definition(&clipping);
            // Ratios up to e^3 clipped at 4 amplify rounding over 30 steps.
            assert_close(&returns.vs, &vs, 1e-3);
            assert_close(&returns.pg_advantages, &advantages, 1e-3);
        }

        #[test]
        fn on_policy_it_is_the_n_step_return(mut column in column()) {
            column.target.clone_from(&column.behaviour);
            let vs = column.vtrace(&PLAIN).vs;
            let mut n_step = f64::from(column.bootstrap);
            let mut expected = vec![0.0; vs.len()];
            for t in (0..vs.len()).rev() {
                n_step = f64::from(column.rewards[t]) + f64::from(column.discounts[t]) * n_step;
                expected[t] = n_step;
            }
            assert_close(&vs, &expected, 1e-5);
        }

        #[test]
        fn a_discount_of_zero_makes_two_traces(mut column in column(), clipping in clipping(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(column.values.len());
            column.discounts[cut] = 0.0;
            let whole = column.vtrace(&clipping);
            let mut front = column.clone();
            for array in [&mut front.behaviour, &mut front.target, &mut front.discounts, &mut front.rewards, &mut front.values] {
                array.truncate(cut + 1);
            }
            // What lies after the cut cannot matter.
            front.bootstrap = 1e6;
            let front = front.vtrace(&clipping);
            prop_assert_eq!(&whole.vs[..=cut], &front.vs[..]);
            prop_assert_eq!(&whole.pg_advantages[..=cut], &front.pg_advantages[..]);
        }

        #[test]
        fn clipping_is_monotone(column in column(), clipping in clipping(), factor in 1.0_f32..3.0) {
            let last = column.values.len() - 1;
            let wider = VtraceClipping { rho_bar: clipping.rho_bar * factor, pg_rho_bar: clipping.pg_rho_bar * factor, ..clipping };
            let (narrow, wide) = (column.vtrace(&clipping), column.vtrace(&wider));
            // The last step has no successor: its correction grows with the bound, in the direction of its error.
            let correction = |r: &VtraceReturns| (r.vs[last] - column.values[last]).abs();
            prop_assert!(correction(&wide) >= correction(&narrow));
            prop_assert!(wide.pg_advantages[last].abs() >= narrow.pg_advantages[last].abs());
            prop_assert!(narrow.vs.iter().chain(&wide.vs).all(|vs| vs.is_finite()));
        }

        #[test]
        fn where_every_error_is_positive_wider_bounds_raise_every_target(
            mut column in column(),
            clipping in clipping(),
            factor in 1.0_f32..3.0,
        ) {
            // Values of 0 before returns of 0 or more: no temporal difference is negative.
            column.values.fill(0.0);
            column.rewards.iter_mut().for_each(|reward| *reward = reward.abs());
            column.bootstrap = column.bootstrap.abs();
            let narrow = column.vtrace(&clipping);
            let wider_rho = VtraceClipping { rho_bar: clipping.rho_bar * factor, ..clipping };
            let wider_c = VtraceClipping { c_bar: clipping.c_bar * factor, ..clipping };
            for wide in [column.vtrace(&wider_rho), column.vtrace(&wider_c)] {
                for (wide, narrow) in wide.vs.iter().zip(&narrow.vs) {
                    prop_assert!(*wide >= narrow * (1.0 - 1e-5), "{} below {}", wide, narrow);
                }
            }
        }
    }
}
