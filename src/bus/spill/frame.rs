//! How an event stands in a file of the spill.
//!
//! ```text
//! magic "SGE1" · length of the body, u32 · CRC-32 of the body, u32 · body
//! body: run, 16 bytes · number, u64 · id · NATS subject · traceparent · payload
//! ```
//!
//! Numbers are little-endian. Id, subject and traceparent each have their length, u16, before them; a
//! length of zero means no traceparent. The payload is the rest. CRC-32 is that of IEEE 802.3.

use bytes::Bytes;
use uuid::Uuid;

use crate::bus::recorder::Outgoing;
use crate::contract::Number;

const MAGIC: &[u8; 4] = b"SGE1";
/// Magic, length, checksum.
const HEAD: usize = 12;

/// What was read from a file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The events that are whole, in order.
    pub(super) events: Vec<Outgoing>,
    /// Bytes that are no event although something whole follows, or although nothing is missing: the
    /// file was altered. The last event of a process that was killed may be cut off; that is no damage.
    pub(super) damaged_bytes: usize,
}

/// Appends an event. False when a text is too long for a frame: nothing is appended then.
pub(super) fn append(event: &Outgoing, to: &mut Vec<u8>) -> bool {
    let traceparent = event.traceparent.as_deref().unwrap_or_default();
    let texts = [event.id.as_str(), event.subject.as_str(), traceparent];
    let mut body = Vec::with_capacity(event.payload.len() + 256);
    body.extend_from_slice(event.number.worker_run.as_bytes());
    body.extend_from_slice(&event.number.worker_sequence.to_le_bytes());
    for text in texts {
        let Ok(length) = u16::try_from(text.len()) else { return false };
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    body.extend_from_slice(&event.payload);
    let Ok(length) = u32::try_from(body.len()) else { return false };
    to.extend_from_slice(MAGIC);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    to.extend_from_slice(&body);
    true
}

/// Reads everything that is whole, whatever stands between.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        match first(rest) {
            First::Event(event, length) => {
                found.events.push(*event);
                rest = rest.get(length..).unwrap_or_default();
            }
            First::Cut if next_whole(rest).is_none() => break,
            First::Cut | First::Nothing => {
                let skipped = next_whole(rest).unwrap_or(rest.len());
                found.damaged_bytes += skipped;
                rest = rest.get(skipped..).unwrap_or_default();
            }
        }
    }
    found
}

/// What stands at the beginning.
enum First {
    /// An event, and the length of its frame.
    Event(Box<Outgoing>, usize),
    /// The beginning of a frame whose end is missing.
    Cut,
    /// No frame.
    Nothing,
}

fn first(bytes: &[u8]) -> First {
    let Some(magic) = bytes.get(..MAGIC.len()) else {
        return if MAGIC.starts_with(bytes) { First::Cut } else { First::Nothing };
    };
    if magic != MAGIC {
        return First::Nothing;
    }
    let (Some(length), Some(checksum)) = (number(bytes, 4), number(bytes, 8)) else {
        return First::Cut;
    };
    let Some(end) = usize::try_from(length).ok().and_then(|length| HEAD.checked_add(length)) else {
        return First::Nothing;
    };
    let Some(body) = bytes.get(HEAD..end) else { return First::Cut };
    if crc32fast::hash(body) != checksum {
        return First::Nothing;
    }
    match event(body) {
        Some(event) => First::Event(Box::new(event), end),
        None => First::Nothing,
    }
}

/// Where the next whole frame begins, behind the first byte.
fn next_whole(bytes: &[u8]) -> Option<usize> {
    let places = bytes.windows(MAGIC.len()).enumerate().skip(1);
    places
        .filter(|(_, window)| *window == MAGIC)
        .map(|(at, _)| at)
        .find(|at| bytes.get(*at..).is_some_and(|rest| matches!(first(rest), First::Event(..))))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn event(body: &[u8]) -> Option<Outgoing> {
    let worker_run = Uuid::from_slice(body.get(..16)?).ok()?;
    let worker_sequence = u64::from_le_bytes(body.get(16..24)?.try_into().ok()?);
    let mut rest = body.get(24..)?;
    let mut text = || {
        let (length, behind) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_le_bytes(length.try_into().ok()?));
        let (text, behind) = behind.split_at_checked(length)?;
        rest = behind;
        std::str::from_utf8(text).ok().map(str::to_owned)
    };
    let (id, subject, traceparent) = (text()?, text()?, text()?);
    Some(Outgoing {
        subject,
        id,
        payload: Bytes::copy_from_slice(rest),
        traceparent: Some(traceparent).filter(|text| !text.is_empty()),
        number: Number { worker_run, worker_sequence },
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = Outgoing> {
        // Payloads that look like frames themselves are the hard ones.
        let payload = prop_oneof![
            vec(any::<u8>(), 0..64),
            vec(any::<u8>(), 0..16).prop_map(|tail| [MAGIC.as_slice(), &tail].concat()),
        ];
        (".{0,20}", ".{0,20}", prop::option::of("[a-f0-9-]{1,55}"), payload, any::<(u128, u64)>())
            .prop_map(|(id, subject, traceparent, payload, (run, worker_sequence))| Outgoing {
                subject,
                id,
                payload: payload.into(),
                traceparent,
                number: Number { worker_run: Uuid::from_u128(run), worker_sequence },
            })
    }

    /// The file, and where each frame ends.
    fn file(events: &[Outgoing]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let ends = events.iter().map(|event| {
            assert!(append(event, &mut bytes));
            bytes.len()
        });
        let ends = ends.collect();
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(events in vec(any_event(), 0..8)) {
            let scan = scan(&file(&events).0);
            prop_assert_eq!(scan.events, events);
            prop_assert_eq!(scan.damaged_bytes, 0);
        }

        /// Killed while it wrote: all but the last is there, and nothing is called damaged.
        #[test]
        fn a_file_may_end_anywhere(events in vec(any_event(), 1..8), at in any::<prop::sample::Index>()) {
            let (bytes, ends) = file(&events);
            let length = at.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= length).count();
            let scan = scan(&bytes[..length]);
            prop_assert_eq!(&scan.events, &events[..whole]);
            prop_assert_eq!(scan.damaged_bytes, 0);
        }

        /// One altered byte costs at most the event that it is in; all others are there, none is new.
        #[test]
        fn an_altered_byte_costs_one_event(
            events in vec(any_event(), 1..8),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let (mut bytes, ends) = file(&events);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let hit = ends.iter().position(|end| at < *end).unwrap();
            let mut left = events.clone();
            left.remove(hit);
            let scan = scan(&bytes);
            prop_assert_eq!(&scan.events, &left);
            // The last event's length may now reach beyond the end: that looks like being cut off.
            prop_assert!(scan.damaged_bytes > 0 || hit + 1 == events.len());
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..512)) {
            let _ = scan(&bytes);
        }
    }

    #[test]
    fn a_text_too_long_for_a_frame_is_refused() {
        let event = Outgoing { subject: "s".repeat(70_000), ..Outgoing::default() };
        let mut bytes = vec![1];
        assert!(!append(&event, &mut bytes));
        assert_eq!(bytes, [1]);
    }
}
