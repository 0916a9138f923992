//! Events in memory that wait to be sent again.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Outgoing;
use crate::runtime::metrics;

/// An event that waits to be sent again.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::bus) struct Kept {
    pub(in crate::bus) event: Outgoing,
    /// The file of the spill that has it, too.
    pub(in crate::bus) segment: Option<u64>,
}

impl Kept {
    /// An event that no file has.
    pub(in crate::bus) const fn in_memory(event: Outgoing) -> Self {
        Self { event, segment: None }
    }
}

/// Events in memory that wait to be sent again, oldest first.
#[derive(Debug)]
pub(in crate::bus) struct Backlog {
    events: Mutex<VecDeque<Kept>>,
    most: usize,
    most_bytes: usize,
    len: AtomicUsize,
    bytes: AtomicUsize,
    /// Events that wait in files alone.
    unread: AtomicUsize,
    filled: Notify,
}

impl Backlog {
    /// For so many events, of so many bytes. Whoever asks [`Self::has_room`] keeps to it.
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            events: Mutex::default(),
            most,
            most_bytes,
            len: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            filled: Notify::new(),
        }
    }

    /// Events in memory.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Events that wait, in memory or in files alone.
    pub(super) fn waiting(&self) -> usize {
        self.len().saturating_add(self.unread.load(Ordering::Acquire))
    }

    /// Whether another event may be added.
    pub(in crate::bus) fn has_room(&self) -> bool {
        self.len() < self.most && self.bytes() < self.most_bytes
    }

    /// Whether a file has everything that is here, too.
    pub(in crate::bus) fn is_in_files(&self) -> bool {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().all(|kept| kept.segment.is_some())
    }

    /// Events that no file has, at most so many.
    pub(in crate::bus) fn only_here(&self, most: usize) -> Vec<Outgoing> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let only = events.iter().filter(|kept| kept.segment.is_none());
        only.take(most).map(|kept| kept.event.clone()).collect()
    }

    /// Notes the file that has these now. Gives how many of them are gone meanwhile, because the stream
    /// has them.
    pub(in crate::bus) fn now_in(&self, segment: u64, written: &[Outgoing]) -> usize {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written: HashSet<&str> = written.iter().map(|event| event.id.as_str()).collect();
        for kept in events.iter_mut().filter(|kept| kept.segment.is_none()) {
            if written.remove(kept.event.id.as_str()) {
                kept.segment = Some(segment);
            }
        }
        written.len()
    }

    /// Adds events.
    pub(in crate::bus) fn push(&self, new: impl Iterator<Item = Kept>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let before = events.len();
        events.extend(new);
        let bytes: usize = events.iter().skip(before).map(weight).sum();
        let added = events.len() > before;
        self.counted(events.len(), self.bytes() + bytes);
        drop(events);
        if added {
            self.wake();
        }
    }

    /// Notes how many events wait in files alone.
    pub(in crate::bus) fn count_unread(&self, unread: usize) {
        self.unread.store(unread, Ordering::Release);
        self.show();
    }

    /// Wakes whoever sends.
    pub(in crate::bus) fn wake(&self) {
        self.filled.notify_one();
    }

    /// Waits until there may be something to send.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The oldest. They stay, and count, until [`Self::settle`] says what became of them.
    pub(super) fn oldest(&self, most: usize) -> Vec<Outgoing> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().take(most).map(|kept| kept.event.clone()).collect()
    }

    /// Removes the oldest `count` but for those of them that are still unsent, in the same order. Gives
    /// what is removed, with the files that have it by now.
    ///
    /// What is unsent goes behind the others when any of them got through: it may be what the stream
    /// never takes.
    pub(super) fn settle(&self, count: usize, unsent: &[Outgoing]) -> Vec<Kept> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(events.len());
        let mut left = unsent.iter().peekable();
        let (back, sent): (Vec<_>, Vec<_>) = events
            .drain(..count)
            .partition(|kept| left.next_if(|event| event.id == kept.event.id).is_some());
        if sent.is_empty() {
            for kept in back.into_iter().rev() {
                events.push_front(kept);
            }
        } else {
            events.extend(back);
        }
        let gone: usize = sent.iter().map(weight).sum();
        self.counted(events.len(), self.bytes().saturating_sub(gone));
        sent
    }

    fn counted(&self, len: usize, bytes: usize) {
        self.len.store(len, Ordering::Release);
        self.bytes.store(bytes, Ordering::Release);
        self.show();
    }

    fn show(&self) {
        let waiting = u32::try_from(self.waiting()).unwrap_or(u32::MAX);
        metrics::audit_pending().set(f64::from(waiting));
    }
}

/// Bytes that an event holds in memory, roughly.
fn weight(kept: &Kept) -> usize {
    let event = &kept.event;
    event.payload.len() + event.subject.len() + event.id.len() + size_of::<Kept>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(id: &str) -> Kept {
        let payload = Bytes::from_static(b"{}");
        Kept::in_memory(Outgoing { id: id.into(), payload, ..Outgoing::default() })
    }

    #[test]
    fn the_backlog_keeps_order_and_counts() {
        let backlog = Backlog::new(4, 1 << 20);
        backlog.push([event("1"), event("2"), event("3")].into_iter());
        let bytes = backlog.bytes();
        let batch = backlog.oldest(2);
        assert_eq!(backlog.len(), 3, "what is being sent still counts");
        assert!(backlog.has_room());
        backlog.push([event("4")].into_iter());
        assert!(!backlog.has_room());
        assert!(backlog.settle(batch.len(), &batch).is_empty());
        let ids = || backlog.oldest(9).into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(), ["1", "2", "3", "4"], "nothing got through: the order stays");
        let sent = backlog.settle(batch.len(), &batch[..1]);
        assert_eq!(sent, [event("2")]);
        assert_eq!(ids(), ["3", "4", "1"], "what didn't get through lets others pass");
        assert_eq!(backlog.bytes(), bytes);
        backlog.settle(3, &[]);
        assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
        backlog.count_unread(7);
        assert_eq!(backlog.waiting(), 7);
    }

    #[test]
    fn what_is_written_later_is_in_files_from_then_on() {
        let backlog = Backlog::new(9, 1 << 20);
        backlog.push([event("1"), event("2"), event("3")].into_iter());
        let written = backlog.only_here(2);
        assert_eq!(written.len(), 2);
        backlog.settle(1, &[]);
        assert_eq!(backlog.now_in(7, &written), 1, "the stream has the first");
        assert!(!backlog.is_in_files());
        // Under way to the stream while it is written: whatever comes of it, the file is known.
        let under_way = backlog.oldest(2);
        assert_eq!(backlog.now_in(8, &backlog.only_here(9)), 0);
        assert!(backlog.is_in_files());
        let sent = backlog.settle(2, &under_way[1..]);
        assert_eq!(sent.iter().map(|kept| kept.segment).collect::<Vec<_>>(), [Some(7)]);
        assert!(backlog.is_in_files(), "what comes back is in its file");
    }

    #[test]
    fn bytes_bound_it_too() {
        let backlog = Backlog::new(1_000, size_of::<Kept>() * 2);
        backlog.push([event("1"), event("2")].into_iter());
        assert!(!backlog.has_room());
    }
}
