use super::*;
use proptest::prelude::*;

fn versions() -> (WeightsVersion, WeightsVersion) {
    (WeightsVersion(7), WeightsVersion(8))
}

fn words(format: NumberFormat, parameters: &[f32]) -> Words {
    Words::round(format, parameters, 0)
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
fn a_bomb_is_refused_before_it_unfolds() {
    let payload = zstd::bulk::compress(&vec![0; 1 << 24], 1).unwrap();
    let snapshot =
        Snapshot { payload: payload.into(), ..encode(WeightsVersion(1), &words(NumberFormat::F32, &[0.0; 4]), None) };
    assert!(matches!(Decoder::new(4).decode(&snapshot), Err(SnapshotError::Payload { expected: 16, .. })));
}

#[test]
fn another_network_and_infinite_parameters_are_refused() {
    let snapshot = encode(WeightsVersion(1), &words(NumberFormat::F16, &[1e9, 0.0]), None);
    let error = Decoder::new(3).decode(&snapshot).unwrap_err();
    assert_eq!(error, SnapshotError::ParameterCount { actual: 2, expected: 3 });
    let infinite = encode(WeightsVersion(1), &words(NumberFormat::F32, &[f32::INFINITY, 0.0]), None);
    let error = Decoder::new(2).decode(&infinite).unwrap_err();
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

#[test]
fn readers_and_writers_that_know_one_frame_only_understand_several() {
    let count = 2 * frames::CHUNK + 77;
    let parameters: Vec<f32> = (0..count).map(|i| (i as f32 * 0.1).sin()).collect();
    let words = Words::round(NumberFormat::F16, &parameters, 0);
    let snapshot = encode(WeightsVersion(1), &words, None);
    // All planes as one run of bytes, as releases before the chunks wrote and read them.
    let planes = zstd::bulk::decompress(&snapshot.payload, 2 * count).unwrap();
    let low = words.bytes().iter().step_by(2);
    let high = words.bytes().iter().skip(1).step_by(2);
    assert!(planes.iter().eq(low.chain(high)));
    let payload = zstd::bulk::compress(&planes, 1).unwrap().into();
    let one_frame = Snapshot { payload, ..snapshot.clone() };
    let mut decoder = Decoder::new(count);
    assert_eq!(decoder.decode(&one_frame), Decoder::new(count).decode(&snapshot));
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
