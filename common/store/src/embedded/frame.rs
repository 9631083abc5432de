//! How a group of changes is written to the log: a header (magic, length, checksum), then the changes. A frame counts
//! only as a whole, so a group that was torn by a crash is not there at all.
//!
//! All numbers are little-endian. Header: magic u32, body length u32, XXH3 of the body u64. Body: first sequence u64,
//! count u32, then per change: version u64, kind u8 (0 tombstone, 1 value), key length u16, value length u32, key, value.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::key;
use crate::model::{Document, Sequence, StoreError};

const MAGIC: u32 = 0x4646_4C31;
pub(super) const HEADER: usize = 16;
/// Bytes after the header that say which sequences a frame has.
pub(super) const SEQUENCES: usize = 12;
const CHANGE_START: usize = 15;

/// Appends one frame with these changes, whose sequences follow each other.
pub(super) fn encode(changes: &[Document], into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + HEADER, 0);
    into.extend_from_slice(&changes.first().map_or(0, |change| change.sequence).to_le_bytes());
    into.extend_from_slice(&u32::try_from(changes.len()).unwrap_or(u32::MAX).to_le_bytes());
    for change in changes {
        into.extend_from_slice(&change.version.to_le_bytes());
        into.push(u8::from(change.value.is_some()));
        let lengths = into.len();
        into.resize(lengths + 6, 0);
        let key_start = into.len();
        key::encode(&change.key, into);
        let key_length = u16::try_from(into.len() - key_start).unwrap_or(u16::MAX);
        let value = change.value.as_deref().unwrap_or_default();
        into[lengths..lengths + 2].copy_from_slice(&key_length.to_le_bytes());
        into[lengths + 2..lengths + 6].copy_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        into.extend_from_slice(value);
    }
    let body = start + HEADER;
    let length = u32::try_from(into.len() - body).unwrap_or(u32::MAX);
    let checksum = xxh3_64(&into[body..]);
    into[start..start + 4].copy_from_slice(&MAGIC.to_le_bytes());
    into[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    into[start + 8..start + 16].copy_from_slice(&checksum.to_le_bytes());
}

/// A whole frame with a right checksum.
pub(super) struct Frame<'a> {
    pub(super) first: Sequence,
    pub(super) count: u32,
    /// Length on disk, header included.
    pub(super) length: usize,
    changes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the beginning of `bytes`; `None` when there is no whole and valid one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let length = body_length(header)?;
        let body = bytes.get(HEADER..HEADER + length)?;
        let checksum = u64::from_le_bytes(header[8..16].try_into().ok()?);
        if length < SEQUENCES || xxh3_64(body) != checksum {
            return None;
        }
        let first = u64::from_le_bytes(body[..8].try_into().ok()?);
        let count = u32::from_le_bytes(body[8..12].try_into().ok()?);
        Some(Frame { first, count, length: HEADER + length, changes: &body[SEQUENCES..] })
    }

    /// The last sequence in the frame.
    pub(super) fn last(&self) -> Sequence {
        self.first + u64::from(self.count) - 1
    }

    /// Hands every change after `from` to `each`, until it returns false.
    pub(super) fn changes(&self, from: Sequence, mut each: impl FnMut(Document) -> bool) -> Result<(), StoreError> {
        let mut rest = self.changes;
        for sequence in self.first..=self.last() {
            let start = rest.get(..CHANGE_START).ok_or_else(damaged)?;
            let version = u64::from_le_bytes(start[..8].try_into().map_err(|_| damaged())?);
            let has_value = start[8] == 1;
            let key_length = usize::from(u16::from_le_bytes([start[9], start[10]]));
            let value_length = u32::from_le_bytes([start[11], start[12], start[13], start[14]]) as usize;
            let end = CHANGE_START + key_length + value_length;
            let change = rest.get(CHANGE_START..end).ok_or_else(damaged)?;
            rest = &rest[end..];
            if sequence <= from {
                continue;
            }
            let (key, value) = change.split_at(key_length);
            let value = has_value.then(|| Bytes::copy_from_slice(value));
            if !each(Document { key: key::decode(key)?, version, sequence, value }) {
                break;
            }
        }
        Ok(())
    }
}

/// The length of the body that a header announces.
pub(super) fn body_length(header: &[u8]) -> Option<usize> {
    let magic = u32::from_le_bytes(header.get(..4)?.try_into().ok()?);
    let length = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?);
    (magic == MAGIC).then_some(length as usize)
}

/// First and last sequence and length on disk of the frame that begins so, unchecked.
pub(super) fn extent(start: &[u8; HEADER + SEQUENCES]) -> Option<(Sequence, Sequence, usize)> {
    let length = HEADER + body_length(start)?;
    let first = u64::from_le_bytes(start[HEADER..HEADER + 8].try_into().ok()?);
    let count = u32::from_le_bytes(start[HEADER + 8..].try_into().ok()?);
    (count > 0).then(|| (first, first + u64::from(count) - 1, length))
}

fn damaged() -> StoreError {
    StoreError::Damaged("a change in the log cannot be decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Key;

    #[test]
    fn a_frame_comes_back_whole_and_any_flipped_or_missing_byte_makes_it_invalid() {
        let change = |sequence, value: Option<&'static str>| Document {
            key: Key::new("entity", "", format!("id{sequence}")),
            version: 3,
            sequence,
            value: value.map(Bytes::from),
        };
        let changes = vec![change(7, Some("{}")), change(8, None), change(9, Some(""))];
        let mut bytes = Vec::new();
        encode(&changes, &mut bytes);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.first, frame.last(), frame.length), (7, 9, bytes.len()));
        let mut read = Vec::new();
        frame
            .changes(7, |change| {
                read.push(change);
                true
            })
            .unwrap();
        assert_eq!(read, changes[1..]);
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] ^= 0x10;
            assert!(Frame::parse(&bad).is_none(), "byte {position}");
            assert!(Frame::parse(&bytes[..position]).is_none());
        }
    }
}
