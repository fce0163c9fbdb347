//! Bytes of equal significance brought together, on the way through the exclusive-or of a delta: sign and exponent bytes
//! resemble one another and compress, so do the upper bytes of small differences.
//!
//! A plane is the bytes of one significance of a range of words; the planes of a range follow one another, the least
//! significant first. Each function is a single pass over its memory.

/// Writes the planes of the words, or of their difference to `base`, one after the other.
///
/// # Shapes
/// - words, base, planes: `[count * width]` bytes, with `width` 2 or 4
pub(super) fn split(width: usize, words: &[u8], base: Option<&[u8]>, planes: &mut [u8]) {
    match (width, base) {
        (2, None) => split_pairs(pairs(words), planes),
        (2, Some(base)) => split_pairs(pairs(words).zip(pairs(base)).map(|(a, b)| a ^ b), planes),
        (_, None) => split_quads(quads(words), planes),
        (_, Some(base)) => split_quads(quads(words).zip(quads(base)).map(|(a, b)| a ^ b), planes),
    }
}

/// Undoes [`split`], with the planes wherever they lie.
///
/// # Shapes
/// - planes: one of `[count]` bytes for each byte of a word
/// - words, base: `[count * width]` bytes, with `width` 2 or 4
pub(super) fn join(planes: &[&[u8]], base: Option<&[u8]>, words: &mut [u8]) {
    match *planes {
        [low, high] => {
            let joined = low.iter().zip(high).map(|(low, high)| u16::from_le_bytes([*low, *high]));
            let (words, _) = words.as_chunks_mut::<2>();
            match base {
                None => words.iter_mut().zip(joined).for_each(|(word, new)| *word = new.to_le_bytes()),
                Some(base) => {
                    let new = joined.zip(pairs(base)).map(|(difference, base)| difference ^ base);
                    words.iter_mut().zip(new).for_each(|(word, new)| *word = new.to_le_bytes());
                }
            }
        }
        [a, b, c, d] => {
            let joined = a.iter().zip(b).zip(c).zip(d);
            let joined = joined.map(|(((a, b), c), d)| u32::from_le_bytes([*a, *b, *c, *d]));
            let (words, _) = words.as_chunks_mut::<4>();
            match base {
                None => words.iter_mut().zip(joined).for_each(|(word, new)| *word = new.to_le_bytes()),
                Some(base) => {
                    let new = joined.zip(quads(base)).map(|(difference, base)| difference ^ base);
                    words.iter_mut().zip(new).for_each(|(word, new)| *word = new.to_le_bytes());
                }
            }
        }
        _ => unreachable!("words have two or four bytes"),
    }
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word))
}

fn quads(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word))
}

/// Shifts and truncations instead of byte loads: the compiler makes vector instructions of these.
fn split_pairs(words: impl Iterator<Item = u16>, planes: &mut [u8]) {
    let (low, high) = planes.split_at_mut(planes.len() / 2);
    for ((word, low), high) in words.zip(low).zip(high) {
        *low = word as u8;
        *high = (word >> 8) as u8;
    }
}

fn split_quads(words: impl Iterator<Item = u32>, planes: &mut [u8]) {
    let count = planes.len() / 4;
    let (lower, upper) = planes.split_at_mut(2 * count);
    let ((a, b), (c, d)) = (lower.split_at_mut(count), upper.split_at_mut(count));
    for ((((word, a), b), c), d) in words.zip(a).zip(b).zip(c).zip(d) {
        *a = word as u8;
        *b = (word >> 8) as u8;
        *c = (word >> 16) as u8;
        *d = (word >> 24) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_equal_significance_lie_together_and_come_back() {
        let words = [1, 2, 3, 4, 11, 12, 13, 14];
        let base = [1, 2, 3, 4, 1, 2, 3, 4];
        let mut planes = [0; 8];
        split(2, &words, None, &mut planes);
        assert_eq!(planes, [1, 3, 11, 13, 2, 4, 12, 14]);
        split(4, &words, Some(&base), &mut planes);
        assert_eq!(planes, [0, 11 ^ 1, 0, 12 ^ 2, 0, 13 ^ 3, 0, 14 ^ 4]);
        let mut joined = [0; 8];
        join(&planes.chunks(2).collect::<Vec<_>>(), Some(&base), &mut joined);
        assert_eq!(joined, words);
        split(2, &words, Some(&base), &mut planes);
        join(&planes.chunks(4).collect::<Vec<_>>(), Some(&base), &mut joined);
        assert_eq!(joined, words);
    }
}
