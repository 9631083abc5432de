//! Numbered frames: the last ones in a ring for readers that return, and a channel for those that are here.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

/// Frames kept for readers that return; older readers get a snapshot.
const RING: usize = 2048;
/// Frames a reader may be behind before it gets a snapshot instead.
const CHANNEL: usize = 1024;

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `<start of this process>-<generation>`
    pub id: String,
    /// The event's name.
    pub event: &'static str,
    /// JSON.
    pub data: String,
}

pub(super) struct Frames {
    /// Tells this process's generations from those of an earlier one.
    start: String,
    generation: u64,
    ring: VecDeque<Arc<Frame>>,
    channel: broadcast::Sender<Arc<Frame>>,
}

impl Frames {
    pub(super) fn new() -> Self {
        let start = format!("{:x}", jiff::Timestamp::now().as_millisecond());
        Frames { start, generation: 0, ring: VecDeque::new(), channel: broadcast::Sender::new(CHANNEL) }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// A frame with the present generation.
    pub(super) fn frame(&self, event: &'static str, data: String) -> Frame {
        Frame { id: format!("{}-{}", self.start, self.generation), event, data }
    }

    /// Takes the next generation and hands the frame out.
    pub(super) fn push(&mut self, event: &'static str, data: &impl Serialize) {
        let data = match serde_json::to_string(data) {
            Ok(data) => data,
            Err(error) => {
                tracing::error!(event, %error, "a live event cannot be written as JSON and is left out");
                return;
            }
        };
        self.generation += 1;
        let frame = Arc::new(self.frame(event, data));
        self.ring.push_back(Arc::clone(&frame));
        if self.ring.len() > RING {
            self.ring.pop_front();
        }
        // Nobody listening is fine.
        let _ = self.channel.send(frame);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Frame>> {
        self.channel.subscribe()
    }

    /// The frames after this one, or `None` if they are not all in the ring (or the id is another process's).
    pub(super) fn after(&self, id: &str) -> Option<Vec<Arc<Frame>>> {
        let (start, generation) = id.rsplit_once('-')?;
        let seen: u64 = generation.parse().ok()?;
        if start != self.start || seen > self.generation {
            return None;
        }
        let missed = usize::try_from(self.generation - seen).ok()?;
        (missed <= self.ring.len()).then(|| self.ring.iter().skip(self.ring.len() - missed).cloned().collect())
    }
}
