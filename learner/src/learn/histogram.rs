//! How numbers are distributed: counts in buckets that grow with the numbers in them, as the spacing of floating-point numbers does.
//!
//! A number's bucket is the upper bits of its representation, so that one pass counts, and no range has to be known beforehand.
//! Knows nothing of networks and of who looks at them.

/// Numbers smaller than the largest by this factor share one bucket around 0: nobody could tell them from 0 in a picture, and gradients
/// have many of them, of every size.
const NEGLIGIBLE: f64 = 1024.0;

/// Bits of a number's fraction.
const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;

/// Counts numbers; used again and again.
#[derive(Clone, Debug)]
pub struct Counts {
    /// How many bits of a number's representation its bucket leaves out.
    shift: u32,
    counts: Vec<u64>,
    min: f32,
    max: f32,
    sum: f64,
    squares: f64,
}

/// A distribution, bucket by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// From the lowest to the highest, with something in each and perhaps gaps between them.
    pub buckets: Vec<Bucket>,
    /// Of all numbers.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
}

/// Numbers of about the same size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// No number in it is lower.
    pub left: f64,
    /// No number in it is higher.
    pub right: f64,
    /// How many there are.
    pub count: u64,
}

impl Counts {
    /// With so many buckets to each power of two: `2^bits`.
    pub fn new(bits: u32) -> Self {
        let shift = FRACTION_BITS - bits;
        let mut counts =
            Self { shift, counts: vec![0; 1 << (u32::BITS - shift)], min: 0.0, max: 0.0, sum: 0.0, squares: 0.0 };
        counts.clear();
        counts
    }

    /// Counts numbers; those that are not finite are left out.
    pub fn add(&mut self, numbers: impl IntoIterator<Item = f32>) {
        for number in numbers {
            if !number.is_finite() {
                continue;
            }
            // Of the two zeros one.
            let number = number + 0.0;
            let bucket = self.bucket_of(number);
            self.counts[bucket] += 1;
            self.min = self.min.min(number);
            self.max = self.max.max(number);
            let number = f64::from(number);
            self.sum += number;
            self.squares += number * number;
        }
    }

    /// What was counted since the last call; nothing if there was no number.
    pub fn take(&mut self) -> Option<Histogram> {
        if self.min > self.max {
            return None;
        }
        let negligible = f64::from(self.max.max(-self.min)) / NEGLIGIBLE;
        let mut buckets: Vec<Bucket> = Vec::new();
        for index in self.bucket_of(self.min)..=self.bucket_of(self.max) {
            let count = std::mem::take(&mut self.counts[index]);
            if count == 0 {
                continue;
            }
            let (mut left, mut right) = (self.edge(index), self.edge(index + 1));
            if left.abs().max(right.abs()) <= negligible {
                (left, right) = (-negligible, negligible);
            }
            match buckets.last_mut() {
                Some(last) if last.right >= right => last.count += count,
                _ => buckets.push(Bucket { left, right, count }),
            }
        }
        trim(&mut buckets, self.min.into(), self.max.into());
        let histogram = Histogram { buckets, sum: self.sum, squares: self.squares };
        self.clear();
        Some(histogram)
    }

    /// The counts are 0 outside of the range, and whoever takes them leaves 0.
    fn clear(&mut self) {
        (self.min, self.max, self.sum, self.squares) = (f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0);
    }

    fn bucket_of(&self, number: f32) -> usize {
        let bits = number.to_bits();
        // In the order of the numbers: the negative ones come first, the largest of them at their end.
        let ordered = if number.is_sign_negative() { !bits } else { bits | SIGN };
        (ordered >> self.shift) as usize
    }

    /// Where a bucket begins: at its lowest number, among the negative ones at the highest of the bucket below, so that edges are round.
    fn edge(&self, index: usize) -> f64 {
        let ordered = (index as u64) << self.shift;
        let bits = match ordered.checked_sub(SIGN.into()) {
            Some(bits) => bits,
            None => !(ordered - 1),
        };
        // Beyond the largest numbers lies infinity.
        f64::from(f32::from_bits(bits as u32).clamp(f32::MIN, f32::MAX))
    }
}

/// The bit of a number's sign.
const SIGN: u32 = 1 << 31;

/// Ends the outermost buckets where the numbers end, unless nothing of a bucket's width would be left.
fn trim(buckets: &mut [Bucket], min: f64, max: f64) {
    if let Some(first) = buckets.first_mut().filter(|first| first.left < min && min < first.right) {
        first.left = min;
    }
    if let Some(last) = buckets.last_mut().filter(|last| last.left < max && max < last.right) {
        last.right = max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bits: u32, numbers: &[f32]) -> Histogram {
        let mut counts = Counts::new(bits);
        counts.add(numbers.iter().copied());
        counts.take().unwrap()
    }

    fn told(bits: u32, numbers: &[f32]) -> Vec<(f64, f64, u64)> {
        histogram(bits, numbers).buckets.iter().map(|bucket| (bucket.left, bucket.right, bucket.count)).collect()
    }

    #[test]
    fn every_number_is_counted_in_a_bucket_that_holds_it() {
        let numbers: Vec<f32> = (0..5000).map(|i| ((i * 7919 % 5003) as f32 - 2500.0) * 0.001).collect();
        let Histogram { buckets, sum, squares } = histogram(3, &numbers);
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 5000);
        for pair in buckets.windows(2) {
            assert!(pair[0].right <= pair[1].left, "{pair:?}");
        }
        for (index, bucket) in buckets.iter().enumerate() {
            assert!(bucket.left < bucket.right, "{bucket:?}");
            let is_last = index + 1 == buckets.len();
            let within = |x: f64| bucket.left <= x && (x < bucket.right || is_last && x == bucket.right);
            let expected = numbers.iter().filter(|number| within(f64::from(**number))).count();
            // A negative number at an edge belongs to the bucket below it.
            assert!(expected.abs_diff(bucket.count as usize) <= 1, "{bucket:?} should have {expected}");
        }
        let exact: f64 = numbers.iter().map(|x| f64::from(*x)).sum();
        let exact_squares: f64 = numbers.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((sum - exact).abs() < 1e-9 && (squares - exact_squares).abs() < 1e-9);
    }

    #[test]
    fn buckets_are_as_fine_as_was_asked_for_and_end_where_the_numbers_do() {
        assert_eq!(told(1, &[1.0, 1.25, 1.5, 3.0, 7.0]), [(1.0, 1.5, 2), (1.5, 2.0, 1), (3.0, 4.0, 1), (6.0, 7.0, 1)]);
        assert_eq!(told(5, &[500.0; 3]), [(500.0, 504.0, 3)]);
        // On an edge, with a width all the same.
        assert_eq!(told(2, &[-1.0, 1.0, 1.0]), [(-1.25, -1.0, 1), (1.0, 1.25, 2)]);
    }

    #[test]
    fn what_is_negligible_beside_the_largest_is_counted_as_zero() {
        let least = 2.0 / 1024.0;
        assert_eq!(
            told(2, &[2.0, 1e-5, -1e-3, 0.0, -0.0, 1e-39, 0.5]),
            [(f64::from(-1e-3_f32), least, 5), (0.5, 0.625, 1), (2.0, 2.5, 1)]
        );
        assert_eq!(told(2, &[0.0; 7]).iter().map(|(.., count)| count).sum::<u64>(), 7);
    }

    #[test]
    fn numbers_that_are_not_finite_are_left_out_and_the_largest_have_finite_buckets() {
        let mut counts = Counts::new(2);
        counts.add([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        assert_eq!(counts.take(), None);
        let extreme = histogram(2, &[f32::MAX, f32::MIN, f32::NAN]);
        assert!(extreme.buckets.iter().all(|bucket| bucket.left.is_finite() && bucket.right.is_finite()));
        assert_eq!((extreme.buckets.len(), extreme.sum), (2, 0.0));
        assert!(extreme.squares.is_finite());
    }

    #[test]
    fn counting_begins_anew_after_each_look() {
        let mut counts = Counts::new(3);
        counts.add([1.0, 2.0]);
        assert!(counts.take().is_some());
        assert_eq!(counts.take(), None);
        counts.add([3.0]);
        assert_eq!(counts.take().unwrap().buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [1]);
    }
}
