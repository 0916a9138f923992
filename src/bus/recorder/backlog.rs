//! Events in memory that wait to be sent again.

use std::collections::VecDeque;
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

    /// Notes the file that has these now, which are in the same order as here. Gives how many of them
    /// are gone meanwhile, because the stream has them.
    pub(in crate::bus) fn now_in(&self, segment: u64, written: &[Outgoing]) -> usize {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut only = events.iter_mut().filter(|kept| kept.segment.is_none()).peekable();
        let mut gone = 0;
        for event in written {
            match only.next_if(|kept| kept.event.id == event.id) {
                Some(kept) => kept.segment = Some(segment),
                None => gone += 1,
            }
        }
        gone
    }

    /// Adds events.
    pub(in crate::bus) fn push(&self, new: impl Iterator<Item = Kept>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let before = events.len();
        events.extend(new);
        let bytes: usize = events.iter().skip(before).map(weight).sum();
        self.counted(events.len(), self.bytes() + bytes);
        drop(events);
        self.wake();
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
    pub(super) fn oldest(&self, most: usize) -> Vec<Kept> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().take(most).cloned().collect()
    }

    /// Replaces the oldest `count` by those of them that are still unsent.
    pub(super) fn settle(&self, count: usize, unsent: Vec<Kept>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(events.len());
        let gone: usize = events.drain(..count).map(|event| weight(&event)).sum();
        let back: usize = unsent.iter().map(weight).sum();
        for event in unsent.into_iter().rev() {
            events.push_front(event);
        }
        self.counted(events.len(), (self.bytes() + back).saturating_sub(gone));
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
        backlog.settle(batch.len(), vec![event("2")]);
        let ids: Vec<_> = backlog.oldest(9).into_iter().map(|kept| kept.event.id).collect();
        assert_eq!(ids, ["2", "3", "4"]);
        assert_eq!(backlog.bytes(), bytes);
        backlog.settle(3, vec![]);
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
        backlog.settle(1, vec![]);
        assert_eq!(backlog.now_in(7, &written), 1, "the stream has the first");
        assert!(!backlog.is_in_files());
        assert_eq!(backlog.now_in(7, &backlog.only_here(9)), 0);
        assert!(backlog.is_in_files());
    }

    #[test]
    fn bytes_bound_it_too() {
        let backlog = Backlog::new(1_000, size_of::<Kept>() * 2);
        backlog.push([event("1"), event("2")].into_iter());
        assert!(!backlog.has_room());
    }
}
