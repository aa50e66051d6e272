//! The start position of a receiver.

use crate::amqp::{Performative, Value};
use crate::log::Log;

/// The name of the filter in a receiver's source.
const SELECTOR: &str = "apache.org:selector-filter:string";
/// The field of the source that holds its filters.
const FILTER: usize = 7;

/// A position in a log, as in the filter of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    by: By,
    inclusive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Oldest,
    Latest,
    Offset(u64),
    Sequence(i64),
    Enqueued(i64),
}

impl Start {
    /// The start that an attach asks for; without a filter the oldest event.
    pub(crate) fn of(attach: &Performative) -> Result<Self, String> {
        let Some((_, Value::List(source))) = attach.field(5).as_described() else {
            return Ok(Self { by: By::Oldest, inclusive: true });
        };
        let filter = source.get(FILTER).and_then(|filters| filters.field(SELECTOR));
        // Described by its name or a number, or bare: clients differ.
        let text = match filter {
            Some(Value::Described(_, value)) => value.text(),
            Some(value) => value.text(),
            None => None,
        };
        text.map_or(Ok(Self { by: By::Oldest, inclusive: true }), Self::parse)
    }

    /// Reads `amqp.annotation.{name} > '{value}'`, with `>=` for inclusive.
    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("The filter is not understood: {text}");
        let text = text.trim();
        let (name, rest) = text.split_once('>').ok_or_else(refused)?;
        let (inclusive, value) = match rest.strip_prefix('=') {
            Some(value) => (true, value),
            None => (false, rest),
        };
        let value = value.trim().trim_matches('\'');
        let by = match (name.trim().strip_prefix("amqp.annotation."), value) {
            (Some("x-opt-offset"), "@latest") => Some(By::Latest),
            (Some("x-opt-offset"), "-1") => Some(By::Oldest),
            (Some("x-opt-offset"), value) => value.parse().ok().map(By::Offset),
            (Some("x-opt-sequence-number"), value) => value.parse().ok().map(By::Sequence),
            (Some("x-opt-enqueued-time"), value) => value.parse().ok().map(By::Enqueued),
            _ => None,
        };
        Ok(Self { by: by.ok_or_else(refused)?, inclusive })
    }

    /// The sequence number to begin with.
    pub(crate) fn place(&self, log: &Log) -> i64 {
        let inclusive = self.inclusive;
        match self.by {
            By::Oldest => log.first_sequence(),
            By::Latest if inclusive => log.last().map_or(0, |event| event.sequence),
            By::Latest => log.next_sequence(),
            By::Offset(offset) => log.first_where(|event| {
                event.offset > offset || (inclusive && event.offset == offset)
            }),
            By::Sequence(sequence) => log.first_where(|event| {
                event.sequence > sequence || (inclusive && event.sequence == sequence)
            }),
            By::Enqueued(time) => log.first_where(|event| {
                event.enqueued_ms > time || (inclusive && event.enqueued_ms == time)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Start;
    use crate::log::Log;
    use crate::message::Sent;

    #[test]
    fn filters_name_a_place_in_the_log() {
        let mut log = Log::new(10);
        for time in [1_000, 2_000, 3_000] {
            log.push(Sent { annotations: vec![], rest: Bytes::new() }, time, 50);
        }
        for (filter, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", 0),
            ("amqp.annotation.x-opt-offset > '@latest'", 3),
            ("amqp.annotation.x-opt-offset >= '@latest'", 2),
            ("amqp.annotation.x-opt-offset > '50'", 2),
            ("amqp.annotation.x-opt-offset >= '50'", 1),
            ("amqp.annotation.x-opt-sequence-number > '0'", 1),
            ("amqp.annotation.x-opt-sequence-number >= '0'", 0),
            ("amqp.annotation.x-opt-enqueued-time > '2000'", 2),
            ("amqp.annotation.x-opt-enqueued-time >= '2000'", 1),
            ("amqp.annotation.x-opt-enqueued-time > '9000'", 3),
        ] {
            assert_eq!(Start::parse(filter).unwrap().place(&log), expected, "{filter}");
        }
        for filter in ["", "x > '1'", "amqp.annotation.x-opt-offset > 'x'"] {
            assert!(Start::parse(filter).is_err(), "{filter}");
        }
    }
}
