//! How far the log is, as far as this replica has seen, and whether the database has gone back behind that.
//!
//! A database that was restored from a backup under its services, or whose standby took over without the last commits, has
//! lost what they remember: every write would meet a version that is not there. So the store fails, and its service starts
//! over from what the database has.

use std::sync::OnceLock;

use tokio::sync::watch;

use crate::model::Sequence;

/// The highest head that was seen; writer, watcher and readers share it.
pub(super) struct Head {
    seen: watch::Sender<Sequence>,
    gone_back: OnceLock<String>,
}

impl Head {
    pub(super) fn new(head: Sequence) -> Self {
        Head { seen: watch::Sender::new(head), gone_back: OnceLock::new() }
    }

    pub(super) fn seen(&self) -> Sequence {
        *self.seen.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Sequence> {
        self.seen.subscribe()
    }

    /// A head that somebody heard of, perhaps late.
    pub(super) fn moved(&self, head: Sequence) {
        self.seen.send_if_modified(|seen| std::mem::replace(seen, head.max(*seen)) < head);
    }

    /// A head that the server answered to a question asked when `before` had been [`seen`](Self::seen).
    pub(super) fn answered(&self, before: Sequence, head: Sequence) {
        if head < before {
            let _ = self.gone_back.set(format!("the database has lost commits: it was at {before} and is at {head}"));
        }
        self.moved(head);
    }

    /// Why the store cannot go on.
    pub(super) fn gone_back(&self) -> Option<&str> {
        self.gone_back.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_gone_back_when_it_answers_less_than_was_seen_before_the_question() {
        let head = Head::new(5);
        head.answered(5, 7);
        head.moved(9);
        head.answered(7, 8);
        head.moved(6);
        assert_eq!((head.seen(), head.gone_back()), (9, None), "late news and answers are none");
        head.answered(9, 8);
        assert!(head.gone_back().is_some_and(|why| why.contains("at 9 and is at 8")));
    }
}
