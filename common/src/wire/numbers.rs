//! Packed little-endian numbers: copies on little-endian machines, number by number on others.

use super::WireError;
use bytemuck::Pod;
use bytes::Bytes;
use impala_env::array::{Array, Dtype};
use std::time::Duration;

/// Packs numbers of four bytes.
pub(super) fn to_bytes<T: Word>(values: &[T]) -> Bytes {
    if cfg!(target_endian = "little") {
        return Bytes::copy_from_slice(bytemuck::cast_slice(values));
    }
    values.iter().flat_map(|value| value.to_le()).collect()
}

/// Unpacks them. `field` is for the message.
pub(super) fn from_bytes<T: Word>(field: &'static str, bytes: &[u8]) -> Result<Vec<T>, WireError> {
    if !bytes.len().is_multiple_of(4) {
        return Err(WireError::Packed { field, bytes: bytes.len() });
    }
    if cfg!(target_endian = "little") {
        return Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(aligned) => aligned.to_vec(),
            // Fields lie in the message wherever they come.
            Err(_) => {
                let mut values = vec![T::zeroed(); bytes.len() / 4];
                bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
                values
            }
        });
    }
    Ok(bytes.chunks_exact(4).map(|w| T::from_le([w[0], w[1], w[2], w[3]])).collect())
}

/// Packs an array of either kind.
pub(super) fn array_to_bytes(array: &Array) -> Bytes {
    match array {
        Array::F32(numbers) => to_bytes(numbers),
        Array::U8(bytes) => Bytes::copy_from_slice(bytes),
    }
}

/// Unpacks it.
pub(super) fn array_from_bytes(field: &'static str, bytes: &[u8], dtype: Dtype) -> Result<Array, WireError> {
    Ok(match dtype {
        Dtype::F32 => Array::F32(from_bytes(field, bytes)?),
        Dtype::U8 => Array::U8(bytes.to_vec()),
    })
}

/// A number that travels as four bytes.
pub(super) trait Word: Pod {
    /// Little-endian.
    fn to_le(self) -> [u8; 4];
    /// Undoes [`Word::to_le`].
    fn from_le(bytes: [u8; 4]) -> Self;
}

impl Word for f32 {
    fn to_le(self) -> [u8; 4] {
        self.to_le_bytes()
    }

    fn from_le(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

impl Word for u32 {
    fn to_le(self) -> [u8; 4] {
        self.to_le_bytes()
    }

    fn from_le(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

/// Whole microseconds, rounded; beyond 71 minutes the number stands still.
pub(super) fn micros(duration: Duration) -> u32 {
    let rounded = duration.saturating_add(Duration::from_nanos(500));
    u32::try_from(rounded.as_micros()).unwrap_or(u32::MAX)
}
