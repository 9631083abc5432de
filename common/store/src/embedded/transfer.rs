//! The background thread: transfers the overlay into fjall, makes the log longer ahead of use or syncs it under relaxed
//! durability, trims the log, and brings fjall back after it has given up.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::index::Index;
use super::log::LogReader;
use crate::model::StoreError;
use crate::settings::Durability;

/// Time between two transfers; hot keys are written once in it.
const PERIOD: Duration = Duration::from_millis(50);
/// Bytes that make a transfer begin at once.
const SOON_BYTES: usize = 8 * 1024 * 1024;
/// Time between two syncs of the log under relaxed durability.
const SYNC_PERIOD: Duration = Duration::from_millis(100);
/// Free bytes below which reopening fjall is not even tried.
const REOPEN_BYTES: u64 = 4 * 1024 * 1024;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// What the thread owns.
pub(super) struct Transfer {
    pub(super) index: Arc<Index>,
    pub(super) log: LogReader,
    pub(super) durability: Durability,
    pub(super) dir: PathBuf,
    pub(super) feed_bytes: u64,
}

impl Transfer {
    /// Works until the sender is gone, then transfers the rest and makes everything durable.
    pub(super) fn run(self, stop: Receiver<()>) {
        let mut synced = Instant::now();
        loop {
            let pause = if self.index.waiting_bytes() > SOON_BYTES { Duration::ZERO } else { PERIOD };
            if stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            if self.durability == Durability::Fsync
                && let Err(error) = self.log.write_ahead(&self.dir)
            {
                tracing::warn!(%error, "cannot make the log longer ahead of use");
            }
            if self.durability == Durability::Relaxed && synced.elapsed() >= SYNC_PERIOD {
                if let Err(error) = self.log.sync() {
                    tracing::error!(%error, "cannot sync the log");
                }
                synced = Instant::now();
            }
            if let Err(error) = self.index.transfer().and_then(|_| self.trim()) {
                tracing::warn!(%error, "cannot move documents into the document files; the log has them");
                self.recover(&stop);
            }
        }
        if let Err(error) = self.log.finish() {
            tracing::error!(%error, "cannot sync the log at the end");
        }
        // Twice: the first may only finish what was in motion.
        let end = self.index.transfer().and_then(|_| self.index.transfer()).and_then(|_| self.index.persist());
        if let Err(error) = end {
            tracing::warn!(%error, "documents stay in the log until the next start");
        }
    }

    fn trim(&self) -> Result<(), StoreError> {
        if self.log.wants_trim(self.feed_bytes, self.log.head()) {
            self.log.trim(self.feed_bytes, self.index.persist()?);
        }
        Ok(())
    }

    /// Waits until there is space, then closes and opens fjall. Until then the old one, read-only by now, serves reads.
    fn recover(&self, stop: &Receiver<()>) {
        loop {
            if stop.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            if super::free_bytes(&self.dir).is_some_and(|free| free < REOPEN_BYTES) {
                continue;
            }
            match self.index.reopen() {
                Ok(()) => return tracing::info!("reopened the document files"),
                Err(error) => tracing::error!(%error, "cannot reopen the document files"),
            }
        }
    }
}
