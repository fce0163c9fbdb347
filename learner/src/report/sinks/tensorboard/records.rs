//! TFRecord, the framing of event files: each record is its length, a checksum of that, the bytes, a checksum of those. Knows nothing of
//! what the bytes mean.

/// Appends a record with these bytes to `file`.
pub(super) fn append(file: &mut Vec<u8>, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&masked(crc32c::crc32c(&length)).to_le_bytes());
    file.extend_from_slice(bytes);
    file.extend_from_slice(&masked(crc32c::crc32c(bytes)).to_le_bytes());
}

/// What is written of a checksum: the checksum of bytes that hold checksums would be a weak one.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The bytes of every record; `None` if a record is damaged or cut short.
#[cfg(test)]
pub(super) fn read(mut file: &[u8]) -> Option<Vec<&[u8]>> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let (length, rest) = file.split_first_chunk()?;
        let (of_length, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (of_bytes, rest) = rest.split_first_chunk()?;
        let is_sound = |bytes: &[u8], checksum: &[u8; 4]| {
            let stored = u32::from_le_bytes(*checksum).wrapping_sub(0xa282_ead8).rotate_left(15);
            stored == crc32c::crc32c(bytes)
        };
        if !is_sound(length, of_length) || !is_sound(bytes, of_bytes) {
            return None;
        }
        records.push(bytes);
        file = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnoli_s() {
        // The check value of CRC-32C, and a test vector of RFC 3720 (32 bytes of zeros).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn records_are_framed_and_read_back() {
        let mut file = Vec::new();
        append(&mut file, b"first");
        append(&mut file, b"");
        append(&mut file, &[7; 300]);
        assert_eq!(read(&file), Some(vec![&b"first"[..], b"", &[7; 300]]));
        assert_eq!(read(&file[..file.len() - 1]), None);
        for place in [0, 9, 14, 18] {
            let mut damaged = file.clone();
            damaged[place] ^= 1;
            assert_eq!(read(&damaged), None, "byte {place}");
        }
    }
}
