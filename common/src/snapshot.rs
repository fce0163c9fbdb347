//! Weights on their way: parameters of one version <-> compressed, checksummed bytes.
//!
//! A payload is built in four steps, each undone in reverse by the reader: the parameters are rounded to the encoding's
//! number format; a delta is the exclusive-or with the same words of the version that the receiver holds, so it loses
//! nothing against the rounded numbers; bytes of equal significance are brought together; zstd. The checksum covers the
//! rounded words, so it also notices a delta applied to the wrong base. A stored payload is the rounded words as they are:
//! between processes of one machine, compressing a small network takes longer than sending it.

mod words;

use crate::ids::WeightsVersion;
use bytes::Bytes;
use impala_env::named;
use impala_policy::network::PARAMETER_COUNT_MAX;
use serde::{Deserialize, Serialize};
pub use words::{NumberFormat, Words};

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
    /// Number of updates behind the weights.
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
        /// In the snapshot.
        actual: usize,
        /// In the agreed network.
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
        /// Of the decoded words.
        actual: u32,
        /// In the snapshot.
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

/// Level 1: at these sizes higher levels gain under 5 % and cost several times the time.
const ZSTD_LEVEL: i32 = 1;

/// Writes words as a snapshot: in full without a base, else as the difference.
///
/// # Panics
/// If the base has another length or number format than the words: both are one network's.
pub fn encode(version: WeightsVersion, words: &Words, base: Option<(WeightsVersion, &Words)>) -> Snapshot {
    let planes = match base {
        Some((_, base)) => words.xor(base).into_planes(),
        None => words.clone().into_planes(),
    };
    let payload = zstd::bulk::compress(&planes, ZSTD_LEVEL).expect("zstd compresses into a buffer of its own bound");
    Snapshot {
        version,
        encoding: words.format().encoding(base.is_some()),
        base: base.map(|(version, _)| version),
        parameter_count: words.parameter_count(),
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
        parameter_count: words.parameter_count(),
        checksum: words.checksum(),
        payload: Bytes::copy_from_slice(words.bytes()),
        stored: true,
    }
}

/// Reads the snapshots of one network in the order of a stream and holds the last one as the base of the next delta.
#[derive(Debug)]
pub struct Decoder {
    parameter_count: usize,
    held: Option<(WeightsVersion, Words)>,
}

impl Decoder {
    /// A decoder that holds nothing yet, for a network of `parameter_count` parameters.
    pub fn new(parameter_count: usize) -> Self {
        Self { parameter_count, held: None }
    }

    /// The parameters in the snapshot, as 32-bit numbers. After an error the held version is what it was before.
    ///
    /// # Errors
    /// Another network, a base that is not held, or damage; the message names both sides' values.
    pub fn decode(&mut self, snapshot: &Snapshot) -> Result<Vec<f32>, SnapshotError> {
        let expected = self.parameter_count.min(PARAMETER_COUNT_MAX);
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
        let len = expected * format.word_len();
        let words = match (snapshot.stored, base) {
            (true, _) => stored(snapshot, len)?,
            (false, None) => Words::from_planes(format, &decompress(&snapshot.payload, len)?),
            (false, Some(base)) => Words::from_planes(format, &decompress(&snapshot.payload, len)?).xor(base),
        };
        let (actual, expected) = (words.checksum(), snapshot.checksum);
        if actual != expected {
            return Err(SnapshotError::Checksum { actual, expected });
        }
        let parameters = words.to_parameters();
        if let Some(position) = parameters.iter().position(|x| !x.is_finite()) {
            let value = parameters[position].to_string();
            return Err(SnapshotError::NotFinite { position, value });
        }
        self.held = Some((snapshot.version, words));
        Ok(parameters)
    }
}

/// The words of a payload that is neither rearranged nor compressed.
fn stored(snapshot: &Snapshot, expected: usize) -> Result<Words, SnapshotError> {
    if let Some(base) = snapshot.base {
        return Err(SnapshotError::StoredDelta { base });
    }
    let payload_len = snapshot.payload.len();
    if payload_len != expected {
        let reason = "it is stored as it is".to_owned();
        return Err(SnapshotError::Payload { payload_len, expected, reason });
    }
    Ok(Words::from_bytes(snapshot.encoding.format(), snapshot.payload.to_vec()))
}

fn decompress(payload: &[u8], expected: usize) -> Result<Vec<u8>, SnapshotError> {
    let fail = |reason: String| SnapshotError::Payload { payload_len: payload.len(), expected, reason };
    let bytes = zstd::bulk::decompress(payload, expected).map_err(|e| fail(e.to_string()))?;
    if bytes.len() != expected {
        return Err(fail(format!("{} bytes came out", bytes.len())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions() -> (WeightsVersion, WeightsVersion) {
        (WeightsVersion(7), WeightsVersion(8))
    }

    fn words(format: NumberFormat, parameters: &[f32]) -> Words {
        Words::round(format, parameters)
    }

    fn parameters() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-8.0_f32..8.0, 0..200)
    }

    proptest! {
        #[test]
        fn full_and_delta_snapshots_give_the_rounded_numbers_back(first in parameters(), step in -0.1_f32..0.1) {
            let second: Vec<f32> = first.iter().map(|x| x + step * x).collect();
            let (v1, v2) = versions();
            for format in [NumberFormat::F32, NumberFormat::F16, NumberFormat::Bf16] {
                let (a, b) = (words(format, &first), words(format, &second));
                let mut decoder = Decoder::new(first.len());
                prop_assert_eq!(decoder.decode(&encode(v1, &a, None)), Ok(a.to_parameters()));
                prop_assert_eq!(decoder.decode(&encode(v2, &b, Some((v1, &a)))), Ok(b.to_parameters()));
                prop_assert_eq!(decoder.decode(&store(v1, &a)), Ok(a.to_parameters()));
                prop_assert_eq!(decoder.decode(&encode(v2, &b, Some((v1, &a)))), Ok(b.to_parameters()));
                if format == NumberFormat::F32 {
                    prop_assert_eq!(b.to_parameters(), second.clone());
                }
            }
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_an_error_and_leaves_the_held_version(
            first in prop::collection::vec(-8.0_f32..8.0, 1..100),
            position in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let (v1, v2) = versions();
            let base = words(NumberFormat::F16, &first);
            let next = words(NumberFormat::F16, &first.iter().map(|x| x * 1.01).collect::<Vec<_>>());
            let sound = encode(v2, &next, Some((v1, &base)));
            let mut decoder = Decoder::new(first.len());
            decoder.decode(&encode(v1, &base, None)).unwrap();

            let mut payload = sound.payload.to_vec();
            let position = position.index(payload.len());
            payload[position] ^= 1 << bit;
            let flipped = Snapshot { payload: payload.into(), ..sound.clone() };
            // Some bits of a zstd frame carry nothing; if decoding succeeds, the numbers must be the right ones.
            if let Ok(parameters) = decoder.decode(&flipped) {
                prop_assert_eq!(parameters, next.to_parameters());
                decoder.decode(&encode(v1, &base, None)).unwrap();
            }
            let cut = Snapshot { payload: sound.payload.slice(..position), ..sound.clone() };
            prop_assert!(decoder.decode(&cut).is_err());
            prop_assert_eq!(decoder.decode(&sound), Ok(next.to_parameters()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            count in 0_usize..100,
            stored in any::<bool>(),
        ) {
            let snapshot = Snapshot {
                version: WeightsVersion(1),
                encoding: Encoding::F32,
                base: None,
                parameter_count: count,
                checksum: 0,
                payload: payload.into(),
                stored,
            };
            let _ = Decoder::new(count).decode(&snapshot);
        }
    }

    #[test]
    fn a_delta_without_its_base_is_refused_with_both_versions() {
        let (v1, v2) = versions();
        let base = words(NumberFormat::F16, &[1.0, 2.0]);
        let next = words(NumberFormat::F16, &[1.5, 2.5]);
        let delta = encode(v2, &next, Some((v1, &base)));
        let mut decoder = Decoder::new(2);
        let error = decoder.decode(&delta).unwrap_err();
        assert_eq!(error, SnapshotError::Base { base: v1, held: None });
        decoder.decode(&encode(v2, &next, None)).unwrap();
        let error = decoder.decode(&delta).unwrap_err();
        assert_eq!(error, SnapshotError::Base { base: v1, held: Some(v2) });
    }

    #[test]
    fn a_wrong_base_of_the_right_version_fails_the_checksum() {
        let (v1, v2) = versions();
        let next = words(NumberFormat::F32, &[1.5]);
        let delta = encode(v2, &next, Some((v1, &words(NumberFormat::F32, &[1.0]))));
        let mut decoder = Decoder::new(1);
        decoder.decode(&encode(v1, &words(NumberFormat::F32, &[3.0]), None)).unwrap();
        assert!(matches!(decoder.decode(&delta), Err(SnapshotError::Checksum { .. })));
    }

    #[test]
    fn a_stored_snapshot_of_another_length_or_with_a_base_is_refused() {
        let (v1, v2) = versions();
        let sound = store(v2, &words(NumberFormat::F16, &[1.5, 2.5]));
        let mut decoder = Decoder::new(2);
        let cut = Snapshot { payload: sound.payload.slice(..3), ..sound.clone() };
        assert!(matches!(decoder.decode(&cut), Err(SnapshotError::Payload { payload_len: 3, expected: 4, .. })));
        decoder.decode(&store(v1, &words(NumberFormat::F16, &[1.0, 2.0]))).unwrap();
        let delta = Snapshot { base: Some(v1), encoding: Encoding::F16Delta, ..sound.clone() };
        assert_eq!(decoder.decode(&delta), Err(SnapshotError::StoredDelta { base: v1 }));
        assert_eq!(decoder.decode(&sound).unwrap(), [1.5, 2.5]);
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let payload = zstd::bulk::compress(&vec![0; 1 << 24], 1).unwrap();
        let snapshot = Snapshot {
            payload: payload.into(),
            ..encode(WeightsVersion(1), &words(NumberFormat::F32, &[0.0; 4]), None)
        };
        assert!(matches!(Decoder::new(4).decode(&snapshot), Err(SnapshotError::Payload { expected: 16, .. })));
    }

    #[test]
    fn another_network_and_infinite_parameters_are_refused() {
        let snapshot = encode(WeightsVersion(1), &words(NumberFormat::F16, &[1e9, 0.0]), None);
        let error = Decoder::new(3).decode(&snapshot).unwrap_err();
        assert_eq!(error, SnapshotError::ParameterCount { actual: 2, expected: 3 });
        let error = Decoder::new(2).decode(&snapshot).unwrap_err();
        assert_eq!(error, SnapshotError::NotFinite { position: 0, value: "inf".into() });
    }

    #[test]
    fn names_round_trip() {
        for encoding in Encoding::ALL {
            assert_eq!(encoding.name().parse(), Ok(encoding));
            assert_eq!(encoding.format().encoding(encoding.is_delta()), encoding);
        }
        assert!("gzip".parse::<Encoding>().unwrap_err().contains("f16-delta"));
    }
}
