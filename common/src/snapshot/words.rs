//! Parameters as words of a number format.

use super::Encoding;
use super::cores::share;
use super::frames::{CHUNK, Payload, chunks};
use crc32fast::Hasher;
use half::f16;
use half::slice::HalfFloatSliceExt;
use impala_policy::network::NetworkSpec;

/// Number format of weights on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberFormat {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl NumberFormat {
    /// Bytes of one number.
    pub fn word_len(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The encoding of this format, in full or as a delta.
    pub fn encoding(self, is_delta: bool) -> Encoding {
        match (self, is_delta) {
            (Self::F32, false) => Encoding::F32,
            (Self::F16, false) => Encoding::F16,
            (Self::Bf16, false) => Encoding::Bf16,
            (Self::F32, true) => Encoding::F32Delta,
            (Self::F16, true) => Encoding::F16Delta,
            (Self::Bf16, true) => Encoding::Bf16Delta,
        }
    }
}

/// How many parameters a network has, and how many of them, at their end, no number format rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterCount {
    /// All of them.
    pub all: usize,
    /// Those that are exact: statistics, which may be far larger than they differ.
    pub exact: usize,
}

impl From<usize> for ParameterCount {
    /// None of them is exact.
    fn from(all: usize) -> Self {
        Self { all, exact: 0 }
    }
}

impl From<&NetworkSpec> for ParameterCount {
    fn from(network: &NetworkSpec) -> Self {
        Self { all: network.parameter_count(), exact: network.statistics_len() }
    }
}

impl ParameterCount {
    /// Words of a format that they take: an exact one is two of 16 bits, its lower half first.
    pub(super) fn words(self, format: NumberFormat) -> usize {
        self.all + self.exact * (size_of::<f32>() / format.word_len() - 1)
    }
}

/// All parameters of a network, rounded to a number format; little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    format: NumberFormat,
    count: ParameterCount,
    bytes: Vec<u8>,
    checksum: u32,
}

impl Words {
    /// Rounds every parameter to the nearest number of the format, but the last `exact`, which stay what they are.
    pub fn round(format: NumberFormat, parameters: &[f32], exact: usize) -> Self {
        let (width, count) = (format.word_len(), ParameterCount { all: parameters.len(), exact });
        let (parameters, statistics) = parameters.split_at(count.all - exact);
        let mut bytes = vec![0; parameters.len() * width];
        bytes.reserve_exact(exact * size_of::<f32>());
        let chunks = bytes.chunks_mut(CHUNK * width).zip(parameters.chunks(CHUNK));
        let mut sums = share(chunks, |(bytes, parameters)| {
            round(format, parameters, bytes);
            crc_of(bytes)
        });
        if exact > 0 {
            let start = bytes.len();
            bytes.extend(statistics.iter().flat_map(|x| x.to_le_bytes()));
            sums.push(crc_of(&bytes[start..]));
        }
        Self { format, count, bytes, checksum: crc_of_all(&sums) }
    }

    /// Reads the words of a payload, which are its planes or their difference to `base`, and the numbers in them. `memory`
    /// is used for the bytes, whatever it holds, and given back with an error.
    ///
    /// # Errors
    /// The reason for people where the payload is not the words of so many parameters in the format.
    pub(super) fn read(
        format: NumberFormat,
        count: ParameterCount,
        payload: &[u8],
        base: Option<&Self>,
        memory: &mut Vec<u8>,
    ) -> Result<(Self, Vec<f32>), String> {
        let (width, words) = (format.word_len(), count.words(format));
        let payload = Payload::open(payload, width, words)?;
        memory.resize(words * width, 0);
        let mut parameters = vec![0.0; words];
        let outputs = memory.chunks_mut(CHUNK * width).zip(parameters.chunks_mut(CHUNK));
        let sums = share(chunks(words).zip(outputs), |(chunk, (bytes, parameters))| {
            let base = base.map(|base| &base.bytes[chunk.start * width..chunk.end * width]);
            payload.read(chunk, base, bytes)?;
            widen(format, bytes, parameters);
            Ok(crc_of(bytes))
        });
        let sums = sums.into_iter().collect::<Result<Vec<_>, String>>()?;
        take_exact(count, memory, &mut parameters);
        Ok((Self { format, count, bytes: std::mem::take(memory), checksum: crc_of_all(&sums) }, parameters))
    }

    /// The words of a stored payload, and the numbers in them; `memory` as for [`read`](Self::read).
    pub(super) fn stored(
        format: NumberFormat,
        count: ParameterCount,
        payload: &[u8],
        memory: &mut Vec<u8>,
    ) -> (Self, Vec<f32>) {
        memory.clear();
        memory.extend_from_slice(payload);
        let words = Self { format, count, bytes: std::mem::take(memory), checksum: crc32fast::hash(payload) };
        let parameters = words.to_parameters();
        (words, parameters)
    }

    /// The numbers in single precision, exactly.
    pub fn to_parameters(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.count.words(self.format)];
        widen(self.format, &self.bytes, &mut parameters);
        take_exact(self.count, &self.bytes, &mut parameters);
        parameters
    }

    /// The number format.
    pub fn format(&self) -> NumberFormat {
        self.format
    }

    /// Parameters of the network.
    pub fn count(&self) -> ParameterCount {
        self.count
    }

    /// CRC-32 of the bytes.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Little-endian.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The memory, for other words.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Puts the exact parameters, which end the bytes, into the place of what was read of their words.
fn take_exact(count: ParameterCount, bytes: &[u8], parameters: &mut Vec<f32>) {
    if count.exact > 0 {
        parameters.truncate(count.all - count.exact);
        let words = bytes[bytes.len() - count.exact * size_of::<f32>()..].as_chunks().0;
        parameters.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
    }
}

fn crc_of(bytes: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher
}

/// CRC-32 of the bytes of the parts, one after the other.
fn crc_of_all(parts: &[Hasher]) -> u32 {
    let mut all = Hasher::new();
    parts.iter().for_each(|part| all.combine(part));
    all.finalize()
}

/// Numbers that are converted at a time: they stay in the first-level cache on their way to bytes.
const BLOCK: usize = 512;

/// # Shapes
/// - parameters: `[count]`
/// - bytes: `[count * width]`
fn round(format: NumberFormat, parameters: &[f32], bytes: &mut [u8]) {
    match format {
        NumberFormat::F32 => {
            let words = bytes.as_chunks_mut().0.iter_mut().zip(parameters);
            words.for_each(|(word, x)| *word = x.to_le_bytes());
        }
        NumberFormat::F16 => {
            let mut rounded = [f16::ZERO; BLOCK];
            for (bytes, parameters) in bytes.chunks_mut(2 * BLOCK).zip(parameters.chunks(BLOCK)) {
                let rounded = &mut rounded[..parameters.len()];
                rounded.convert_from_f32_slice(parameters);
                let words = bytes.as_chunks_mut().0.iter_mut().zip(rounded);
                words.for_each(|(word, x)| *word = finite(x.to_bits()).to_le_bytes());
            }
        }
        NumberFormat::Bf16 => {
            let words = bytes.as_chunks_mut().0.iter_mut().zip(parameters);
            words.for_each(|(word, x)| *word = round_to_bf16(*x).to_le_bytes());
        }
    }
}

/// The bits of a half; the largest number in place of infinity: one parameter beyond 65,504 must not keep a policy from acting.
fn finite(bits: u16) -> u16 {
    bits - u16::from(bits & 0x7fff == 0x7c00)
}

/// As `bf16::from_f32`, without a branch, so that the compiler makes vector instructions of it.
fn round_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    // To the nearest, of two equally near ones to the even one.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let not_a_number = bits >> 16 | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { not_a_number } else { rounded }) as u16
}

/// # Shapes
/// - bytes: `[count * width]`
/// - parameters: `[count]`
fn widen(format: NumberFormat, bytes: &[u8], parameters: &mut [f32]) {
    match format {
        NumberFormat::F32 => {
            let words = bytes.as_chunks().0.iter().zip(parameters);
            words.for_each(|(word, x)| *x = f32::from_le_bytes(*word));
        }
        NumberFormat::F16 => {
            let mut halves = [f16::ZERO; BLOCK];
            for (bytes, parameters) in bytes.chunks(2 * BLOCK).zip(parameters.chunks_mut(BLOCK)) {
                let halves = &mut halves[..parameters.len()];
                let words = bytes.as_chunks().0.iter().zip(halves.iter_mut());
                words.for_each(|(word, x)| *x = f16::from_le_bytes(*word));
                halves.convert_to_f32_slice(parameters);
            }
        }
        NumberFormat::Bf16 => {
            let words = bytes.as_chunks().0.iter().zip(parameters);
            words.for_each(|(word, x)| *x = f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn what_is_too_large_for_a_half_becomes_the_largest() {
        let words = Words::round(NumberFormat::F16, &[65_504.0, 65_520.0, -1e9, f32::INFINITY, 1.5, f32::NAN], 0);
        let parameters = words.to_parameters();
        assert_eq!(parameters[..5], [65_504.0, 65_504.0, -65_504.0, 65_504.0, 1.5]);
        assert!(parameters[5].is_nan());
    }

    #[test]
    fn bf16_rounds_as_the_crate_does() {
        let upper = (0..=u16::MAX).step_by(7).map(|upper| u32::from(upper) << 16);
        let bits = upper.flat_map(|upper| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|lower| upper | lower));
        for x in bits.map(f32::from_bits) {
            assert_eq!(round_to_bf16(x), bf16::from_f32(x).to_bits(), "{x} = {:08x}", x.to_bits());
            let words = Words::round(NumberFormat::Bf16, &[x], 0);
            assert_eq!(words.to_parameters()[0].to_bits(), bf16::from_f32(x).to_f32().to_bits());
        }
    }

    #[test]
    fn what_is_exact_stays_so_in_every_format() {
        let parameters = [1.0 + 1e-3, -3.0, 1e9, 123_456.79, -1e-30];
        for format in [NumberFormat::F32, NumberFormat::F16, NumberFormat::Bf16] {
            let words = Words::round(format, &parameters, 3);
            assert_eq!(words.bytes().len(), 2 * format.word_len() + 3 * 4);
            let (read, again) =
                (words.to_parameters(), Words::stored(format, words.count(), words.bytes(), &mut vec![]));
            assert_eq!(read[2..], parameters[2..], "{format:?}");
            assert_eq!(read[0] == parameters[0], format == NumberFormat::F32);
            assert_eq!(again, (words, read));
        }
    }
}
