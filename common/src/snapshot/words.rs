//! Parameters as words of a number format, and the byte rearrangements before compression.

use super::Encoding;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

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
}

impl Words {
    /// Rounds every parameter to the nearest number of the format.
    pub fn round(format: NumberFormat, parameters: &[f32]) -> Self {
        let bytes = match format {
            NumberFormat::F32 => parameters.iter().flat_map(|x| x.to_le_bytes()).collect(),
            NumberFormat::F16 => {
                let mut rounded = vec![f16::ZERO; parameters.len()];
                rounded.convert_from_f32_slice(parameters);
                rounded.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            NumberFormat::Bf16 => {
                let mut rounded = vec![bf16::ZERO; parameters.len()];
                rounded.convert_from_f32_slice(parameters);
                rounded.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
        };
        Self { format, bytes }
    }

    /// The numbers in single precision, exactly.
    pub fn to_parameters(&self) -> Vec<f32> {
        let pairs = self.bytes.chunks_exact(2).map(|w| [w[0], w[1]]);
        match self.format {
            NumberFormat::F32 => {
                let words = self.bytes.chunks_exact(4);
                words.map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect()
            }
            NumberFormat::F16 => {
                let words: Vec<f16> = pairs.map(f16::from_le_bytes).collect();
                words.to_f32_vec()
            }
            NumberFormat::Bf16 => {
                let words: Vec<bf16> = pairs.map(bf16::from_le_bytes).collect();
                words.to_f32_vec()
            }
        }
    }

    /// Words as they are. The length of `bytes` is a multiple of the word length.
    pub(super) fn from_bytes(format: NumberFormat, bytes: Vec<u8>) -> Self {
        Self { format, bytes }
    }

    /// The words, little-endian.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
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
        crc32fast::hash(&self.bytes)
    }

    /// Exclusive-or, which is its own inverse.
    ///
    /// # Panics
    /// If the two differ in format or length.
    pub fn xor(&self, other: &Self) -> Self {
        assert_eq!(
            (self.format, self.bytes.len()),
            (other.format, other.bytes.len()),
            "both sides of a delta are the same network in the same format"
        );
        let bytes = self.bytes.iter().zip(&other.bytes).map(|(a, b)| a ^ b).collect();
        Self { format: self.format, bytes }
    }

    /// Brings bytes of equal significance together: sign and exponent bytes resemble one another and compress.
    pub(super) fn into_planes(self) -> Vec<u8> {
        let width = self.format.word_len();
        let count = self.parameter_count();
        let mut planes = vec![0; self.bytes.len()];
        for (significance, plane) in planes.chunks_exact_mut(count.max(1)).enumerate() {
            let bytes = self.bytes.iter().skip(significance).step_by(width);
            plane.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        planes
    }

    /// Undoes `into_planes`. The length of `planes` is a multiple of the word length.
    pub(super) fn from_planes(format: NumberFormat, planes: &[u8]) -> Self {
        let width = format.word_len();
        let count = planes.len() / width;
        let mut bytes = vec![0; planes.len()];
        for (significance, plane) in planes.chunks_exact(count.max(1)).enumerate() {
            let words = bytes.iter_mut().skip(significance).step_by(width);
            words.zip(plane).for_each(|(to, from)| *to = *from);
        }
        Self { format, bytes }
    }
}
