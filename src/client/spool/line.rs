//! One report as a line of a file: the CRC-32 of its bytes in eight hexadecimal digits, a space, its
//! JSON, which has no line breaks, and a line feed.

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

/// Characters before the JSON.
const BEFORE: usize = 9;

/// The line of a report.
pub(super) fn write(report: &[u8]) -> Vec<u8> {
    let mut line = format!("{:08x} ", crc32fast::hash(report)).into_bytes();
    line.extend_from_slice(report);
    line.push(b'\n');
    line
}

/// The report of a line, without its line feed; none if the line was cut or altered.
pub(super) fn read(line: &[u8]) -> Option<(Uuid, Bytes)> {
    #[derive(Deserialize)]
    struct Identified {
        id: Uuid,
    }
    let (before, report) = line.split_at_checked(BEFORE)?;
    let digits = std::str::from_utf8(before).ok()?.strip_suffix(' ')?;
    if u32::from_str_radix(digits, 16).ok()? != crc32fast::hash(report) {
        return None;
    }
    let Identified { id } = serde_json::from_slice(report).ok()?;
    Some((id, Bytes::copy_from_slice(report)))
}
