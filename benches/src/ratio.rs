//! A ratio from pairs of measurements, and how sure it is.
//!
//! Both measurements of a pair are taken one after the other, so that a slow minute of the machine meets both. The ratio is
//! the median over the pairs; its interval is Student's on the logarithms of the ratios: rates differ by factors, and a
//! bootstrap of the five to ten rounds that anybody waits for is too narrow.

/// Student's t for a two-sided interval of 95 %, by degrees of freedom from 1 on.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// Of more degrees of freedom than the table has, somewhat too wide.
const STUDENT_BEYOND: f64 = 2.042;

/// What pairs say about the second measurement over the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Middle value; of an even number of pairs the mean of the two in the middle.
    pub median: f64,
    /// 95 % interval of the geometric mean; one pair has none.
    pub interval: Option<(f64, f64)>,
}

impl Ratio {
    /// Of pairs (before, after) of positive numbers; `None` without any.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let ratios = pairs.iter().filter(|(before, after)| *before > 0.0 && *after > 0.0);
        let ratios: Vec<f64> = ratios.map(|(before, after)| after / before).collect();
        let median = median(&ratios)?;
        let n = ratios.len() as f64;
        let mean = ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / n;
        let interval = (ratios.len() > 1).then(|| {
            let squares: f64 = ratios.iter().map(|ratio| (ratio.ln() - mean).powi(2)).sum();
            let student = STUDENT.get(ratios.len() - 2).copied().unwrap_or(STUDENT_BEYOND);
            let half = student * (squares / (n - 1.0) / n).sqrt();
            ((mean - half).exp(), (mean + half).exp())
        });
        Some(Self { median, interval })
    }
}

/// Middle value; of an even number the mean of the two in the middle; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_of_the_machine_is_not_in_the_ratio_and_spread_is_in_its_interval() {
        let steady = Ratio::of(&[(1.0, 2.0), (10.0, 20.0), (100.0, 200.0)]).unwrap();
        assert_eq!(steady.median, 2.0);
        let (low, high) = steady.interval.unwrap();
        assert!((low - 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9);
        // Logarithms 0, ln 4, their mean ln 2, standard error ln 2: t is 12.706.
        let (low, high) = Ratio::of(&[(1.0, 1.0), (1.0, 4.0)]).unwrap().interval.unwrap();
        let half = 12.706 * 2.0_f64.ln();
        assert!((low.ln() - 2.0_f64.ln() + half).abs() < 1e-9 && (high.ln() - 2.0_f64.ln() - half).abs() < 1e-9);
    }

    #[test]
    fn one_pair_has_no_interval_and_none_no_ratio() {
        assert_eq!(Ratio::of(&[(2.0, 3.0)]), Some(Ratio { median: 1.5, interval: None }));
        assert_eq!(Ratio::of(&[(0.0, 3.0)]), None);
    }
}
