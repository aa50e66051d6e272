//! The events of one partition in a file, so that a killed process loses none that it accepted.
//!
//! A record is its length (4 bytes), when it was enqueued (8 bytes, milliseconds), its annotations as
//! an AMQP map, and the rest of the message. A write is one call, so what a killed process leaves
//! is whole records and at most one torn one, which is cut off at the next start. A power failure can lose
//! events: nothing is flushed to the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bytes::Bytes;

use crate::amqp::Value;
use crate::message::Sent;

/// An event as it is in the file.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) sent: Sent,
    pub(crate) enqueued_ms: i64,
    /// Its size in the file, in bytes.
    pub(crate) bytes: u64,
}

impl Record {
    pub(crate) fn new(sent: Sent, enqueued_ms: i64) -> Self {
        let annotations = Value::Map(sent.annotations.clone()).encoded().len();
        let bytes = (HEAD_BYTES + annotations + sent.rest.len()) as u64;
        Self { sent, enqueued_ms, bytes }
    }
}

const HEAD_BYTES: usize = 12;

#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opens a file, returns its records in order, and cuts off a torn end.
    pub(crate) fn open(path: &Path, mut each: impl FnMut(Record)) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut contents = Vec::new();
        file.read_to_end(&mut contents)?;
        let contents = Bytes::from(contents);
        let mut at = 0;
        while let Some(record) = read(&contents, at) {
            at += usize::try_from(record.bytes).map_err(io::Error::other)?;
            each(record);
        }
        file.set_len(at as u64)?;
        file.seek(SeekFrom::Start(at as u64))?;
        Ok(Self(file))
    }

    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut out = Vec::new();
        for record in records {
            let length = u32::try_from(record.bytes).map_err(io::Error::other)?;
            out.extend(length.to_be_bytes());
            out.extend(record.enqueued_ms.to_be_bytes());
            Value::Map(record.sent.annotations.clone()).encode(&mut out);
            out.extend_from_slice(&record.sent.rest);
        }
        self.0.write_all(&out)
    }
}

/// The record at `at`; `None` if the rest is torn or nothing.
fn read(contents: &Bytes, at: usize) -> Option<Record> {
    let head = contents.get(at..at + HEAD_BYTES)?;
    let length = u32::from_be_bytes(head[..4].try_into().ok()?);
    let enqueued_ms = i64::from_be_bytes(head[4..].try_into().ok()?);
    let body = at + HEAD_BYTES..at + length as usize;
    let mut input = contents.get(body.clone())?;
    let Value::Map(annotations) = Value::decode(&mut input).ok()? else { return None };
    let rest = contents.slice(body.end - input.len()..body.end);
    Some(Record { sent: Sent { annotations, rest }, enqueued_ms, bytes: length.into() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;

    use super::{Journal, Record};
    use crate::amqp::Value;
    use crate::message::{PARTITION_KEY, Sent};

    #[test]
    fn a_torn_end_is_cut_off_and_the_rest_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let sent = |key: &str| Sent {
            annotations: vec![(Value::symbol(PARTITION_KEY), Value::string(key))],
            rest: Bytes::from(format!("body of {key}")),
        };
        let mut journal = Journal::open(&path, |_| panic!("an empty file has records")).unwrap();
        journal.append(&[Record::new(sent("a"), 1), Record::new(sent("b"), 2)]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();

        let mut records = Vec::new();
        drop(Journal::open(&path, |record| records.push(record)).unwrap());
        let read: Vec<_> =
            records.iter().map(|record| (&record.sent, record.enqueued_ms)).collect();
        assert_eq!(read, [(&sent("a"), 1), (&sent("b"), 2)]);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
