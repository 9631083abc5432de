//! Zeros behind the frames of the segment in use, written ahead of them.
//!
//! A commit that overwrites blocks which the file has already waits for the data alone; one that makes the file longer
//! waits for the file system's journal as well, which takes twice the time and twice the processor. No frame begins with a
//! zero, so zeros at the end of a log are no frames, and a crash leaves nothing to repair.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Written ahead at once: as much as the segment has already, within these bounds, so that a log that is hardly used
/// stays small.
const LEAST: u64 = 64 * 1024;
const MOST: u64 = 4 * 1024 * 1024;
/// Free bytes on the disk below which nothing is written ahead.
const KEEP_FREE: u64 = 256 * 1024 * 1024;

/// The length of the file of the segment in use.
#[derive(Default)]
pub(super) struct Ahead {
    /// What of it is behind the frames is zeros. Grows only after the zeros are there.
    length: AtomicU64,
    /// Held by whoever changes the length.
    changing: Mutex<()>,
}

/// The right to change the length of the file, or the file.
pub(super) struct Changing<'a> {
    ahead: &'a Ahead,
    _lock: MutexGuard<'a, ()>,
}

impl Ahead {
    /// Of a file that has this length.
    pub(super) fn of(length: u64) -> Self {
        Ahead { length: AtomicU64::new(length), changing: Mutex::new(()) }
    }

    /// Waits for whoever changes the length at present.
    pub(super) fn change(&self) -> Changing<'_> {
        Changing { ahead: self, _lock: self.changing.lock() }
    }

    /// Writes behind the frames, which end at `at`: over zeros if there are enough.
    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        if end <= self.length.load(Ordering::Acquire) {
            return file.write_all_at(bytes, at);
        }
        let _changing = self.change();
        file.write_all_at(bytes, at)?;
        self.length.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }
}

impl Changing<'_> {
    /// Ends the file after its frames, durably.
    pub(super) fn cut(&self, file: &File, frames: u64) -> io::Result<()> {
        file.set_len(frames)?;
        self.ahead.length.store(frames, Ordering::Release);
        file.sync_all()
    }

    /// From now on it is about another file, which is empty.
    pub(super) fn begin(&self) {
        self.ahead.length.store(0, Ordering::Release);
    }

    /// Writes more zeros when most of those that were there are used, durably.
    pub(super) fn extend(&self, dir: &Path, file: &File, frames: u64) -> io::Result<()> {
        let length = self.ahead.length.load(Ordering::Acquire);
        let step = frames.clamp(LEAST, MOST);
        if frames == 0 || length >= frames + step / 2 || super::free_bytes(dir).is_none_or(|free| free < KEEP_FREE) {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(frames + step - length).unwrap_or(0)];
        file.write_all_at(&zeros, length)?;
        // The new length is in the journal before a commit relies on it.
        file.sync_data()?;
        self.ahead.length.store(length + zeros.len() as u64, Ordering::Release);
        Ok(())
    }
}
