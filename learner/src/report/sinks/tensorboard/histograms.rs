//! Distributions as TensorBoard wants them: buckets without gaps, of which each has only its right end.

use super::messages::HistogramProto;
use crate::handover::progress::LagHistogram;
use crate::learn::histogram::{Bucket, Histogram};

/// The message for a histogram.
///
/// TensorBoard takes its smallest and largest number for the ends of the outermost buckets. They are those ends here: of a bucket that
/// has no width, nothing could be drawn.
pub(super) fn message(histogram: &Histogram) -> HistogramProto {
    let Histogram { buckets, sum, squares } = histogram;
    let mut message = HistogramProto {
        min: buckets.first().map_or(0.0, |first| first.left),
        max: buckets.last().map_or(0.0, |last| last.right),
        sum: *sum,
        sum_squares: *squares,
        ..HistogramProto::default()
    };
    let mut end = message.min;
    for Bucket { left, right, count } in buckets {
        if end < *left {
            message.bucket_limit.push(*left);
            message.bucket.push(0.0);
        }
        let count = *count as f64;
        message.num += count;
        message.bucket_limit.push(*right);
        message.bucket.push(count);
        end = *right;
    }
    message
}

/// The lags that `now` has and `before` did not have yet, each in the middle of a bucket of its own; nothing if there are none.
pub(super) fn lags_between(before: &LagHistogram, now: &LagHistogram) -> Option<Histogram> {
    let mut histogram = Histogram::default();
    let before = before.counts().iter().copied().chain(std::iter::repeat(0));
    for (lag, (now, before)) in now.counts().iter().zip(before).enumerate() {
        let (lag, count) = (lag as f64, now.saturating_sub(before));
        if count > 0 {
            histogram.buckets.push(Bucket { left: lag - 0.5, right: lag + 0.5, count });
            histogram.sum += lag * count as f64;
            histogram.squares += lag * lag * count as f64;
        }
    }
    (!histogram.buckets.is_empty()).then_some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_buckets_without_anything_in_them() {
        let bucket = |left, right, count| Bucket { left, right, count };
        let buckets = vec![bucket(-2.0, -1.0, 3), bucket(-1.0, 0.5, 1), bucket(4.0, 5.0, 2)];
        let message = message(&Histogram { buckets, sum: 5.0, squares: 50.0 });
        assert_eq!((message.min, message.max, message.num), (-2.0, 5.0, 6.0));
        assert_eq!((message.sum, message.sum_squares), (5.0, 50.0));
        assert_eq!(message.bucket_limit, [-1.0, 0.5, 4.0, 5.0]);
        assert_eq!(message.bucket, [3.0, 1.0, 0.0, 2.0]);
    }

    #[test]
    fn lags_are_those_since_the_look_before() {
        let mut lag = LagHistogram::default();
        [0, 1, 1, 7].into_iter().for_each(|l| lag.record(l));
        let before = lag.clone();
        assert_eq!(lags_between(&before, &lag), None);
        [1, 3, 3, 9].into_iter().for_each(|l| lag.record(l));
        let since = lags_between(&before, &lag).unwrap();
        let told: Vec<_> = since.buckets.iter().map(|bucket| (bucket.left, bucket.right, bucket.count)).collect();
        assert_eq!(told, [(0.5, 1.5, 1), (2.5, 3.5, 2), (8.5, 9.5, 1)]);
        assert_eq!((since.sum, since.squares), (16.0, 100.0));
    }
}
