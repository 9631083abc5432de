//! The log: the truth of the embedded store and its change feed. Segments of about 32 MiB, named by their first
//! sequence; the oldest are deleted when the log outgrows its limit and the index has taken them over.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::ahead::Ahead;
use super::frame::{self, Frame};
use crate::model::{Document, Feed, Sequence, StoreError};

/// Distance in bytes between two entries of a segment's position table.
const POSITION_STEP: u64 = 64 * 1024;

/// Bytes read at once to serve the feed.
const READ_STEP: usize = 256 * 1024;

/// One file of the log.
#[derive(Clone)]
struct Segment {
    first: Sequence,
    /// Last sequence in it; `first - 1` while it is empty.
    last: Sequence,
    /// Bytes of whole, acknowledged frames.
    length: u64,
    /// Some (first sequence, offset) of frames, in order, to find a place without reading all. `None` until the first
    /// reader of a segment of an earlier run needs them.
    positions: Option<Vec<(Sequence, u64)>>,
    file: Arc<File>,
    path: PathBuf,
}

impl Segment {
    fn create(dir: &Path, first: Sequence) -> io::Result<Self> {
        let path = dir.join(format!("{first:020}.log"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Segment { first, last: first - 1, length: 0, positions: Some(Vec::new()), file: Arc::new(file), path })
    }

    /// A finished segment of an earlier run.
    fn old(path: PathBuf, first: Sequence, last: Sequence) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Segment { first, last, length, positions: None, file: Arc::new(file), path })
    }

    fn note(&mut self, first: Sequence, last: Sequence, bytes: u64) {
        let positions = self.positions.get_or_insert_default();
        if positions.last().is_none_or(|(_, offset)| self.length - offset >= POSITION_STEP) {
            positions.push((first, self.length));
        }
        self.last = last;
        self.length += bytes;
    }
}

/// The segments as readers see them: acknowledged frames only.
#[derive(Clone, Default)]
pub(super) struct LogReader {
    segments: Arc<RwLock<VecDeque<Segment>>>,
    ahead: Arc<Ahead>,
}

/// The writing side; there is one.
pub(super) struct Log {
    dir: PathBuf,
    reader: LogReader,
    segment_bytes: u64,
    /// After a failed write the bytes behind the last acknowledged frame must be cut off before anything else happens.
    torn: bool,
}

impl Log {
    /// Opens the log and hands all changes after `applied` to `replay`, in order. A torn last frame is cut off.
    ///
    /// # Errors
    /// `Damaged` when changes after `applied` are missing; I/O errors.
    pub(super) fn open(dir: &Path, segment_bytes: u64, applied: Sequence, mut replay: impl FnMut(Document)) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(super::io_error)?;
        let mut segments = VecDeque::new();
        let paths = segment_paths(dir).map_err(super::io_error)?;
        let ends: Vec<Option<Sequence>> = paths.iter().skip(1).map(|(next, _)| Some(next - 1)).chain([None]).collect();
        for ((first, path), end) in paths.into_iter().zip(ends) {
            let segment = match end {
                // The index has all of it; only the feed may want it.
                Some(end) if end <= applied && first <= end => Segment::old(path, first, end).map_err(super::io_error)?,
                _ => load(first, path, applied, end.is_none(), &mut segments, &mut replay)?,
            };
            segments.push_back(segment);
        }
        let head = segments.back().map_or(0, |segment| segment.last);
        if segments.is_empty() || head < applied {
            // A new store; or relaxed durability and a power loss that the index survived and the log's tail did not.
            for segment in segments.drain(..) {
                fs::remove_file(&segment.path).map_err(super::io_error)?;
            }
            segments.push_back(Segment::create(dir, applied + 1).map_err(super::io_error)?);
        }
        let length = segments.back().map_or(Ok(0), |active| active.file.metadata().map(|found| found.len())).map_err(super::io_error)?;
        let reader = LogReader { segments: Arc::new(RwLock::new(segments)), ahead: Arc::new(Ahead::of(length)) };
        Ok(Log { dir: dir.to_owned(), reader, segment_bytes, torn: false })
    }

    pub(super) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Appends one encoded frame; with `sync`, returns only when the disk has it. On an error nothing was appended.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn append(&mut self, bytes: &[u8], first: Sequence, last: Sequence, sync: bool) -> io::Result<()> {
        let (file, length) = {
            let segments = self.reader.segments.read();
            let active = segments.back().ok_or_else(|| io::Error::other("no active segment"))?;
            (Arc::clone(&active.file), active.length)
        };
        if self.torn {
            self.reader.ahead.change().cut(&file, length)?;
            self.torn = false;
        }
        let written = self.reader.ahead.write(&file, bytes, length).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // The frame must not come back after a crash, so cut it off now; the next append tries again if need be.
            self.torn = self.reader.ahead.change().cut(&file, length).is_err();
            return Err(error);
        }
        let full = {
            let mut segments = self.reader.segments.write();
            segments.back_mut().is_some_and(|active| {
                active.note(first, last, bytes.len() as u64);
                active.length >= self.segment_bytes
            })
        };
        if full {
            self.roll(last + 1, &file);
        }
        Ok(())
    }

    /// Begins a new segment. When that fails, for lack of space perhaps, the old one goes on growing.
    fn roll(&mut self, next: Sequence, active: &File) {
        let changing = self.reader.ahead.change();
        let length = self.reader.segments.read().back().map_or(0, |segment| segment.length);
        match changing.cut(active, length).and_then(|()| Segment::create(&self.dir, next)) {
            Ok(segment) => {
                self.reader.segments.write().push_back(segment);
                changing.begin();
            }
            Err(error) => tracing::warn!(%error, "cannot begin a new log segment, the old one goes on"),
        }
    }
}

impl LogReader {
    /// Makes all appended frames durable (relaxed durability).
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = self.segments.read().back().map(|active| Arc::clone(&active.file));
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Writes zeros ahead when the active segment has used most of those that are there. For a background thread; a commit
    /// waits for it only when it needs more than there are.
    ///
    /// # Errors
    /// The error of the operating system; the log itself has not suffered.
    pub(super) fn write_ahead(&self, dir: &Path) -> io::Result<()> {
        let changing = self.ahead.change();
        self.active().map_or(Ok(()), |(file, frames)| changing.extend(dir, &file, frames))
    }

    /// Takes back what was written ahead, durably. Nothing may be appended any more.
    pub(super) fn finish(&self) -> io::Result<()> {
        let changing = self.ahead.change();
        self.active().map_or(Ok(()), |(file, frames)| changing.cut(&file, frames))
    }

    fn active(&self) -> Option<(Arc<File>, u64)> {
        self.segments.read().back().map(|active| (Arc::clone(&active.file), active.length))
    }

    /// The last sequence.
    pub(super) fn head(&self) -> Sequence {
        self.segments.read().back().map_or(0, |segment| segment.last)
    }

    /// Whether the log is over `limit` bytes and [`trim`](Self::trim) up to `applied` could help.
    pub(super) fn wants_trim(&self, limit: u64, applied: Sequence) -> bool {
        let segments = self.segments.read();
        let bytes: u64 = segments.iter().map(|segment| segment.length).sum();
        bytes > limit && segments.len() > 1 && segments.front().is_some_and(|oldest| oldest.last <= applied)
    }

    /// Deletes the oldest segments while the log is over `limit` and the index durably has what they hold.
    pub(super) fn trim(&self, limit: u64, applied: Sequence) {
        while self.wants_trim(limit, applied) {
            let Some(oldest) = self.segments.write().pop_front() else { return };
            if let Err(error) = fs::remove_file(&oldest.path) {
                tracing::warn!(%error, path = %oldest.path.display(), "cannot delete an old log segment");
            }
        }
    }

    /// Finds the positions of a segment of an earlier run.
    fn index(&self, first: Sequence) -> Result<(), StoreError> {
        let same = |segment: &&Segment| segment.first == first;
        let Some(mut segment) = self.segments.read().iter().find(same).cloned() else { return Ok(()) };
        let (end, last) = (segment.length, segment.last);
        segment.positions = Some(Vec::new());
        segment.length = 0;
        let mut header = [0; frame::HEADER + frame::SEQUENCES];
        while segment.length < end {
            segment.file.read_exact_at(&mut header, segment.length).map_err(super::io_error)?;
            let (first, last, length) = frame::extent(&header).ok_or_else(|| StoreError::Damaged("a frame of the log".to_owned()))?;
            segment.note(first, last, length as u64);
        }
        if segment.last != last || segment.length != end {
            return Err(StoreError::Damaged(format!("the log lacks changes before {}", last + 1)));
        }
        if let Some(known) = self.segments.write().iter_mut().find(|segment| segment.first == first) {
            known.positions = segment.positions;
        }
        Ok(())
    }

    /// Changes after `from`. Readers keep an open segment readable even when it is deleted meanwhile.
    pub(super) fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        let mut changes = Vec::new();
        let mut from = from;
        while changes.len() < limit {
            let segment = {
                let segments = self.segments.read();
                let head = segments.back().map_or(0, |segment| segment.last);
                if from >= head {
                    break;
                }
                match segments.iter().rev().find(|segment| segment.first <= from + 1) {
                    Some(segment) => Place::of(segment, from + 1),
                    None if changes.is_empty() => return Ok(Feed::Truncated { resume: head }),
                    None => break,
                }
            };
            let Place { file, offset, end } = match segment {
                Ok(place) => place,
                Err(first) => {
                    self.index(first)?;
                    continue;
                }
            };
            let before = from;
            from = read_changes(&file, offset, end, from, limit, &mut changes)?;
            if from == before {
                return Err(StoreError::Damaged(format!("the log has no change {}", from + 1)));
            }
        }
        Ok(Feed::Changes(changes))
    }
}

/// Where to read in a segment.
struct Place {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Place {
    /// Where a sequence is in a segment; the segment's first sequence when its positions are not known yet.
    fn of(segment: &Segment, sequence: Sequence) -> Result<Self, Sequence> {
        let positions = segment.positions.as_ref().ok_or(segment.first)?;
        let place = positions.partition_point(|(first, _)| *first <= sequence);
        let offset = place.checked_sub(1).map_or(0, |place| positions[place].1);
        Ok(Place { file: Arc::clone(&segment.file), offset, end: segment.length })
    }
}

/// Reads frames between two offsets of a segment and returns the last sequence that was added.
fn read_changes(
    file: &File,
    mut offset: u64,
    end: u64,
    mut from: Sequence,
    limit: usize,
    into: &mut Vec<Document>,
) -> Result<Sequence, StoreError> {
    let mut buffer = Vec::new();
    while offset < end && into.len() < limit {
        let mut header = [0; frame::HEADER];
        file.read_exact_at(&mut header, offset).map_err(super::io_error)?;
        let body = frame::body_length(&header).ok_or_else(|| StoreError::Damaged("a frame of the log".to_owned()))?;
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        buffer.resize((frame::HEADER + body).max(READ_STEP).min(left), 0);
        file.read_exact_at(&mut buffer, offset).map_err(super::io_error)?;
        let mut used = 0;
        while let Some(frame) = Frame::parse(&buffer[used..]) {
            used += frame.length;
            if frame.last() <= from {
                continue;
            }
            frame.changes(from, |change| {
                from = change.sequence;
                into.push(change);
                into.len() < limit
            })?;
            if into.len() >= limit {
                return Ok(from);
            }
        }
        if used == 0 {
            return Err(StoreError::Damaged("a frame of the log has a wrong checksum".to_owned()));
        }
        offset += used as u64;
    }
    Ok(from)
}

fn segment_paths(dir: &Path) -> io::Result<Vec<(Sequence, PathBuf)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let first = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log")?.parse().ok());
        if let Some(first) = first {
            paths.push((first, path));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads one segment, checks it, and replays what the index lacks. What does not join on to it, `segments` loses.
fn load(
    first: Sequence,
    path: PathBuf,
    applied: Sequence,
    last_one: bool,
    segments: &mut VecDeque<Segment>,
    replay: &mut impl FnMut(Document),
) -> Result<Segment, StoreError> {
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(super::io_error)?;
    let bytes = fs::read(&path).map_err(super::io_error)?;
    let joins = segments.back().map_or(first <= applied + 1, |before| before.last + 1 == first);
    if !joins && first > applied + 1 {
        return Err(StoreError::Damaged(format!("the log lacks changes before {first}; the documents reach to {applied}")));
    }
    if !joins {
        tracing::warn!(before = first, "the log has a gap; the feed begins after it");
        segments.clear();
    }
    let mut segment = Segment { first, last: first - 1, length: 0, positions: Some(Vec::new()), file: Arc::new(file), path };
    while let Some(frame) = Frame::parse(&bytes[segment.length as usize..]) {
        if frame.first != segment.last + 1 || frame.count == 0 {
            break;
        }
        if frame.last() > applied {
            frame.changes(applied, |change| {
                replay(change);
                true
            })?;
        }
        segment.note(frame.first, frame.last(), frame.length as u64);
    }
    let rest = &bytes[segment.length as usize..];
    if last_one && rest.iter().any(|byte| *byte != 0) {
        tracing::info!(bytes = rest.len(), "cut off an unfinished group at the end of the log");
        segment.file.set_len(segment.length).and_then(|()| segment.file.sync_all()).map_err(super::io_error)?;
    }
    Ok(segment)
}
