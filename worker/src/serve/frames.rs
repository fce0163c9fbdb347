//! Frames on a worker's side. The other side is waited for as long as it takes.

use crate::frame::{Answer, HEADER_LEN, Request, header};
use std::io::{self, ErrorKind, Read, Write};

/// What comes from the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Request(Request),
    /// A frame of a kind that is none; what follows its header is not read.
    Unknown(u8),
    /// The other side closed its end between two requests.
    End,
}

/// Waits for a request, and reads what comes with it.
///
/// # Errors
/// The stream fails, or ends within a request.
pub(super) fn read(input: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Incoming> {
    payload.clear();
    if input.by_ref().take(HEADER_LEN as u64).read_to_end(payload)? == 0 {
        return Ok(Incoming::End);
    }
    let Ok([a, b, c, d, kind, ..]) = <[u8; HEADER_LEN]>::try_from(payload.as_slice()) else {
        return Err(ErrorKind::UnexpectedEof.into());
    };
    let Some(request) = Request::from_u8(kind) else { return Ok(Incoming::Unknown(kind)) };
    let length = u32::from_le_bytes([a, b, c, d]);
    payload.clear();
    // Memory follows what comes, not what a header says.
    let read = input.by_ref().take(length.into()).read_to_end(payload)?;
    match read as u64 == u64::from(length) {
        true => Ok(Incoming::Request(request)),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Says something.
///
/// # Errors
/// The stream fails.
pub(super) fn write(output: &mut impl Write, answer: Answer, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    output.write_all(&header(length, answer as u8))?;
    output.write_all(payload)?;
    output.flush()
}
