//! Planes <-> zstd frames.
//!
//! A payload is one frame with all planes, or, of a network of more than one chunk, a frame for each chunk of each plane, in
//! the order of the bytes in them: zstd reads several frames in a row as one stream, so that a reader which knows nothing
//! of chunks gets the same bytes, and one that does can read them on several cores. A frame tells how many bytes it holds.

use super::cores::share;
use super::planes;
use std::cell::RefCell;
use std::ops::Range;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, find_frame_compressed_size, get_frame_content_size};

/// Parameters of a chunk. A plane of so many bytes is one block of zstd, so that a frame for each costs a few bytes only,
/// and the words of a chunk stay in a core's cache from one step to the next.
pub(super) const CHUNK: usize = 1 << 17;

/// Level 1: at these sizes higher levels gain under 5 % and cost several times the time.
const ZSTD_LEVEL: i32 = 1;

/// What a thread keeps between snapshots: making these takes longer than a small network's bytes.
struct Workshop {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    planes: Vec<u8>,
    frame: Vec<u8>,
}

thread_local! {
    static WORKSHOP: RefCell<Workshop> = RefCell::new(Workshop {
        compressor: compressor().expect("the parameters are zstd's own"),
        decompressor: Decompressor::new().expect("a context without a dictionary"),
        planes: Vec::new(),
        frame: Vec::new(),
    });
}

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(ZSTD_LEVEL)?;
    // Short repetitions in noise are accidents: as matches they cost more bytes and time than as literals. A plane of small
    // differences gets 3 to 5 % smaller with these two and takes a fifth less time; other planes have none.
    compressor.set_parameter(CParameter::MinMatch(7))?;
    compressor.set_parameter(CParameter::HashLog(8))?;
    Ok(compressor)
}

/// Ranges of parameters that are worked on at a time.
pub(super) fn chunks(parameters: usize) -> impl ExactSizeIterator<Item = Range<usize>> + Send {
    (0..parameters.div_ceil(CHUNK)).map(move |chunk| chunk * CHUNK..parameters.min((chunk + 1) * CHUNK))
}

impl Workshop {
    fn compress(&mut self, bytes: Range<usize>) -> Vec<u8> {
        let Self { compressor, planes, frame, .. } = self;
        let bytes = &planes[bytes];
        frame.clear();
        frame.reserve(zstd::compress_bound(bytes.len()));
        compressor.compress_to_buffer(bytes, frame).expect("zstd compresses into a buffer of its own bound");
        // As long as need be: the buffer's own length is that of the worst case.
        frame.clone()
    }
}

/// The payload of words with so many bytes each, or of their difference to `base`.
pub(super) fn pack(width: usize, words: &[u8], base: Option<&[u8]>) -> Vec<u8> {
    let count = words.len() / width;
    let frames: Vec<Vec<Vec<u8>>> = share(chunks(count), |chunk| {
        let bytes = chunk.start * width..chunk.end * width;
        WORKSHOP.with_borrow_mut(|workshop| {
            workshop.planes.resize(bytes.len(), 0);
            planes::split(width, &words[bytes.clone()], base.map(|base| &base[bytes.clone()]), &mut workshop.planes);
            let frame_len = if count <= CHUNK { bytes.len() } else { chunk.len() };
            let starts = (0..bytes.len()).step_by(frame_len);
            starts.map(|start| workshop.compress(start..start + frame_len)).collect()
        })
    });
    let planes = frames.first().map_or(0, Vec::len);
    let in_order = (0..planes).flat_map(|plane| frames.iter().map(move |frames| &frames[plane][..]));
    in_order.collect::<Vec<_>>().concat()
}

/// A payload on its way back.
pub(super) enum Payload<'a> {
    /// A frame for each chunk of each plane, in the order of [`pack`].
    Framed(Vec<&'a [u8]>),
    /// The planes of all parameters.
    Whole(Vec<u8>),
}

impl<'a> Payload<'a> {
    /// Decompresses what can't be decompressed chunk by chunk. Never takes more memory than the agreed network's.
    ///
    /// # Errors
    /// The reason for people where zstd refuses or another number of bytes comes out.
    pub(super) fn open(payload: &'a [u8], width: usize, count: usize) -> Result<Self, String> {
        if let Some(frames) = frames(payload, width, count) {
            return Ok(Self::Framed(frames));
        }
        let expected = width * count;
        let whole = WORKSHOP.with_borrow_mut(|workshop| workshop.decompressor.decompress(payload, expected));
        let whole = whole.map_err(|error| error.to_string())?;
        if whole.len() != expected {
            return Err(format!("{} bytes came out", whole.len()));
        }
        Ok(Self::Whole(whole))
    }

    /// Writes the words of a chunk, which are the planes' or their difference to those of `base`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn read(&self, chunk: Range<usize>, base: Option<&[u8]>, words: &mut [u8]) -> Result<(), String> {
        let width = words.len() / chunk.len();
        match self {
            Self::Whole(whole) => {
                let planes = whole.chunks_exact(whole.len() / width).map(|plane| &plane[chunk.clone()]);
                planes::join(&planes.collect::<Vec<_>>(), base, words);
            }
            Self::Framed(frames) => WORKSHOP.with_borrow_mut(|Workshop { decompressor, planes, .. }| {
                planes.resize(words.len(), 0);
                let frames = frames.iter().skip(chunk.start / CHUNK).step_by(frames.len() / width);
                for (frame, plane) in frames.zip(planes.chunks_exact_mut(chunk.len())) {
                    let len = decompressor.decompress_to_buffer(frame, plane).map_err(|error| error.to_string())?;
                    if len != chunk.len() {
                        return Err(format!("{len} bytes came out of a frame of {}", chunk.len()));
                    }
                }
                planes::join(&planes.chunks_exact(chunk.len()).collect::<Vec<_>>(), base, words);
                Ok(())
            })?,
        }
        Ok(())
    }
}

/// The frames of a network of more than one chunk, where the payload is cut as [`pack`] cuts it.
fn frames(mut payload: &[u8], width: usize, count: usize) -> Option<Vec<&[u8]>> {
    if count <= CHUNK {
        return None;
    }
    let mut frames = Vec::with_capacity(width * chunks(count).len());
    for chunk in (0..width).flat_map(|_| chunks(count)) {
        if get_frame_content_size(payload).ok()?? != chunk.len() as u64 {
            return None;
        }
        let (frame, rest) = payload.split_at_checked(find_frame_compressed_size(payload).ok()?)?;
        frames.push(frame);
        payload = rest;
    }
    payload.is_empty().then_some(frames)
}
