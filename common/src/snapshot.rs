//! Weights on their way: parameters of one version <-> compressed, checksummed bytes.
//!
//! A payload is built in four steps, each undone in reverse by the reader: the parameters are rounded to the encoding's
//! number format, but for those that are exact; a delta is the exclusive-or with the same words of the version that the
//! receiver holds, so it loses nothing against the rounded numbers; bytes of equal significance are brought together; zstd.
//! The checksum covers the rounded words, so it also notices a delta applied to the wrong base. A stored payload is the
//! rounded words as they are: between processes of one machine, compressing a small network takes longer than sending it.

mod cores;
mod frames;
mod planes;
mod words;

use crate::ids::WeightsVersion;
use bytes::Bytes;
use frames::pack;
use impala_env::named;
use impala_policy::network::PARAMETER_COUNT_MAX;
use serde::{Deserialize, Serialize};
pub use words::{NumberFormat, ParameterCount, Words};

/// How weights are written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// 32-bit numbers, exact.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16: the range of `f32` with 8 bits of precision.
    Bf16,
    /// As `F32`, against the version that the receiver holds.
    F32Delta,
    /// As `F16`, against the version that the receiver holds.
    F16Delta,
    /// As `Bf16`, against the version that the receiver holds.
    Bf16Delta,
}

impl Encoding {
    /// Every encoding, in the order in which help texts name them.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::Bf16, Self::F32Delta, Self::F16Delta, Self::Bf16Delta];

    /// The name in flags and configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32Delta => "f32-delta",
            Self::F16Delta => "f16-delta",
            Self::Bf16Delta => "bf16-delta",
        }
    }

    /// The numbers that the receiver ends up with.
    pub fn format(self) -> NumberFormat {
        match self {
            Self::F32 | Self::F32Delta => NumberFormat::F32,
            Self::F16 | Self::F16Delta => NumberFormat::F16,
            Self::Bf16 | Self::Bf16Delta => NumberFormat::Bf16,
        }
    }

    /// Whether a receiver that holds the base is sent the difference.
    pub fn is_delta(self) -> bool {
        matches!(self, Self::F32Delta | Self::F16Delta | Self::Bf16Delta)
    }
}

named!(Encoding, "weights encoding");

/// One version of the weights, ready for the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of updates that went into the weights.
    pub version: WeightsVersion,
    /// Number format and kind.
    pub encoding: Encoding,
    /// The version that a delta starts from; absent in a full snapshot.
    pub base: Option<WeightsVersion>,
    /// Parameters of the network.
    pub parameter_count: usize,
    /// CRC-32 of the rounded words, little-endian.
    pub checksum: u32,
    /// Compressed words, or the words themselves if `stored`.
    pub payload: Bytes,
    /// Whether the payload is neither rearranged nor compressed; such a snapshot is always full.
    pub stored: bool,
}

/// Why bytes are not the weights that they claim to be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Another network, or a size beyond every bound.
    #[error("snapshot has {actual} parameters, the agreed network has {expected}")]
    ParameterCount {
        /// What the snapshot has.
        actual: usize,
        /// What the agreed network has.
        expected: usize,
    },
    /// A delta to a version that is not held.
    #[error("snapshot is a delta against version {base}, held is {held:?}")]
    Base {
        /// Version that the delta starts from.
        base: WeightsVersion,
        /// Version that the decoder holds in this number format.
        held: Option<WeightsVersion>,
    },
    /// zstd refused, or another number of bytes came out.
    #[error("snapshot payload of {payload_len} bytes does not decompress to {expected} bytes: {reason}")]
    Payload {
        /// Compressed size.
        payload_len: usize,
        /// Expected decompressed size.
        expected: usize,
        /// What went wrong.
        reason: String,
    },
    /// A stored payload that claims to be a delta.
    #[error("snapshot is stored as it is, yet claims to be a delta against version {base}")]
    StoredDelta {
        /// Version that it names.
        base: WeightsVersion,
    },
    /// The words are not those that were sent.
    #[error("snapshot checksum is {actual:08x}, expected {expected:08x}")]
    Checksum {
        /// Checksum of the decoded words.
        actual: u32,
        /// Checksum that came with the snapshot.
        expected: u32,
    },
    /// A parameter is NaN or infinite.
    #[error("snapshot parameter {position} is {value}, expected a finite number")]
    NotFinite {
        /// Position in the flat parameters.
        position: usize,
        /// The number as text.
        value: String,
    },
}

/// Writes words as a snapshot: in full without a base, else as the difference.
///
/// # Panics
/// If the base has another length or number format than the words: both are one network's.
pub fn encode(version: WeightsVersion, words: &Words, base: Option<(WeightsVersion, &Words)>) -> Snapshot {
    if let Some((_, base)) = base {
        assert_eq!(
            (words.format(), words.count()),
            (base.format(), base.count()),
            "both sides of a delta are the same network in the same format"
        );
    }
    let payload = pack(words.format().word_len(), words.bytes(), base.map(|(_, base)| base.bytes()));
    Snapshot {
        version,
        encoding: words.format().encoding(base.is_some()),
        base: base.map(|(version, _)| version),
        parameter_count: words.count().all,
        checksum: words.checksum(),
        payload: payload.into(),
        stored: false,
    }
}

/// Writes words as a full snapshot without compression.
pub fn store(version: WeightsVersion, words: &Words) -> Snapshot {
    Snapshot {
        version,
        encoding: words.format().encoding(false),
        base: None,
        parameter_count: words.count().all,
        checksum: words.checksum(),
        payload: Bytes::copy_from_slice(words.bytes()),
        stored: true,
    }
}

/// Reads the snapshots of one network in the order of a stream and holds the last one as the base of the next delta.
#[derive(Debug)]
pub struct Decoder {
    count: ParameterCount,
    held: Option<(WeightsVersion, Words)>,
    /// Memory of the version before the held one, for the next.
    spare: Vec<u8>,
}

impl Decoder {
    /// A decoder that holds nothing yet, for a network of so many parameters.
    pub fn new(count: impl Into<ParameterCount>) -> Self {
        Self { count: count.into(), held: None, spare: Vec::new() }
    }

    /// The parameters in the snapshot, as 32-bit numbers. After an error the held version is what it was before.
    ///
    /// # Errors
    /// Another network, a base that is not held, or damage; the message names both sides' values.
    pub fn decode(&mut self, snapshot: &Snapshot) -> Result<Vec<f32>, SnapshotError> {
        let expected = self.count.all.min(PARAMETER_COUNT_MAX);
        let count = ParameterCount { all: expected, ..self.count };
        if snapshot.parameter_count != expected {
            let actual = snapshot.parameter_count;
            return Err(SnapshotError::ParameterCount { actual, expected });
        }
        let format = snapshot.encoding.format();
        let held = self.held.as_ref().filter(|(_, words)| words.format() == format);
        let base = match snapshot.base {
            None => None,
            Some(base) => match held {
                Some((version, words)) if *version == base => Some(words),
                _ => {
                    let held = held.map(|(version, _)| *version);
                    return Err(SnapshotError::Base { base, held });
                }
            },
        };
        let payload = &snapshot.payload;
        let len = count.words(format) * format.word_len();
        let fail = |reason: String| SnapshotError::Payload { payload_len: payload.len(), expected: len, reason };
        let (words, parameters) = match (snapshot.stored, snapshot.base) {
            (true, Some(base)) => return Err(SnapshotError::StoredDelta { base }),
            (true, None) if payload.len() != len => return Err(fail("it is stored as it is".into())),
            (true, None) => Words::stored(format, count, payload, &mut self.spare),
            (false, _) => Words::read(format, count, payload, base, &mut self.spare).map_err(fail)?,
        };
        if let Err(error) = check(&words, &parameters, snapshot.checksum) {
            self.spare = words.into_bytes();
            return Err(error);
        }
        if let Some((_, words)) = self.held.replace((snapshot.version, words)) {
            self.spare = words.into_bytes();
        }
        Ok(parameters)
    }
}

/// Whether these are the words that were sent, and numbers that a network can work with.
fn check(words: &Words, parameters: &[f32], expected: u32) -> Result<(), SnapshotError> {
    let actual = words.checksum();
    if actual != expected {
        return Err(SnapshotError::Checksum { actual, expected });
    }
    // The whole first, since that goes without a branch.
    if parameters.iter().fold(true, |all, x| all & x.is_finite()) {
        return Ok(());
    }
    let position = parameters.iter().position(|x| !x.is_finite()).expect("one of them is not");
    Err(SnapshotError::NotFinite { position, value: parameters[position].to_string() })
}

#[cfg(test)]
mod tests;
