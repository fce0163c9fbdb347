//! Parameters as words of a number format.

use super::Encoding;
use super::cores::share;
use super::frames::{CHUNK, Payload, chunks};
use crc32fast::Hasher;
use half::f16;
use half::slice::HalfFloatSliceExt;

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

/// All parameters of a network, rounded to a number format; little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    format: NumberFormat,
    bytes: Vec<u8>,
    checksum: u32,
}

impl Words {
    /// Rounds every parameter to the nearest number of the format.
    pub fn round(format: NumberFormat, parameters: &[f32]) -> Self {
        let width = format.word_len();
        let mut bytes = vec![0; parameters.len() * width];
        let chunks = bytes.chunks_mut(CHUNK * width).zip(parameters.chunks(CHUNK));
        let sums = share(chunks, |(bytes, parameters)| {
            round(format, parameters, bytes);
            crc_of(bytes)
        });
        Self { format, bytes, checksum: crc_of_all(&sums) }
    }

    /// Reads the words of a payload, which are its planes or their difference to `base`, and the numbers in them. `memory`
    /// is used for the bytes, whatever it holds, and given back with an error.
    ///
    /// # Errors
    /// The reason for people where the payload is no `count` words of the format.
    pub(super) fn read(
        format: NumberFormat,
        count: usize,
        payload: &[u8],
        base: Option<&Self>,
        memory: &mut Vec<u8>,
    ) -> Result<(Self, Vec<f32>), String> {
        let width = format.word_len();
        let payload = Payload::open(payload, width, count)?;
        memory.resize(count * width, 0);
        let mut parameters = vec![0.0; count];
        let outputs = memory.chunks_mut(CHUNK * width).zip(parameters.chunks_mut(CHUNK));
        let sums = share(chunks(count).zip(outputs), |(chunk, (bytes, parameters))| {
            let base = base.map(|base| &base.bytes[chunk.start * width..chunk.end * width]);
            payload.read(chunk, base, bytes)?;
            widen(format, bytes, parameters);
            Ok(crc_of(bytes))
        });
        let sums = sums.into_iter().collect::<Result<Vec<_>, String>>()?;
        Ok((Self { format, bytes: std::mem::take(memory), checksum: crc_of_all(&sums) }, parameters))
    }

    /// The words of a stored payload, and the numbers in them; `memory` as for [`read`](Self::read).
    pub(super) fn stored(format: NumberFormat, payload: &[u8], memory: &mut Vec<u8>) -> (Self, Vec<f32>) {
        memory.clear();
        memory.extend_from_slice(payload);
        let mut parameters = vec![0.0; payload.len() / format.word_len()];
        widen(format, payload, &mut parameters);
        let checksum = crc32fast::hash(payload);
        (Self { format, bytes: std::mem::take(memory), checksum }, parameters)
    }

    /// The numbers in single precision, exactly.
    pub fn to_parameters(&self) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameter_count()];
        widen(self.format, &self.bytes, &mut parameters);
        parameters
    }

    /// The number format.
    pub fn format(&self) -> NumberFormat {
        self.format
    }

    /// Parameters of the network.
    pub fn parameter_count(&self) -> usize {
        self.bytes.len() / self.format.word_len()
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
        let words = Words::round(NumberFormat::F16, &[65_504.0, 65_520.0, -1e9, f32::INFINITY, 1.5, f32::NAN]);
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
            let words = Words::round(NumberFormat::Bf16, &[x]);
            assert_eq!(words.to_parameters()[0].to_bits(), bf16::from_f32(x).to_f32().to_bits());
        }
    }
}
