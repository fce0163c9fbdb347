//! Packed little-endian numbers. On little-endian machines each of these loops compiles to a copy.

use super::WireError;
use bytes::Bytes;
use std::time::Duration;

pub(super) fn f32s_to_bytes(values: impl Iterator<Item = f32>) -> Bytes {
    values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
}

pub(super) fn u32s_to_bytes(values: impl Iterator<Item = u32>) -> Bytes {
    values.flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

pub(super) fn f32s_from_bytes(field: &'static str, bytes: &[u8]) -> Result<Vec<f32>, WireError> {
    Ok(words(field, bytes)?.map(f32::from_le_bytes).collect())
}

pub(super) fn u32s_from_bytes(field: &'static str, bytes: &[u8]) -> Result<Vec<u32>, WireError> {
    Ok(words(field, bytes)?.map(u32::from_le_bytes).collect())
}

/// Whole microseconds, rounded; beyond 71 minutes the number stands still.
pub(super) fn micros(duration: Duration) -> u32 {
    let rounded = duration.saturating_add(Duration::from_nanos(500));
    u32::try_from(rounded.as_micros()).unwrap_or(u32::MAX)
}

fn words<'a>(field: &'static str, bytes: &'a [u8]) -> Result<impl Iterator<Item = [u8; 4]> + 'a, WireError> {
    if !bytes.len().is_multiple_of(4) {
        return Err(WireError::Packed { field, bytes: bytes.len() });
    }
    Ok(bytes.chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]))
}
