//! Converts amounts to request units per second. Pure.

use crate::config::Amount;
use crate::cosmos::Provisioned;

/// The lowest rate, which is also the lowest that the configuration accepts: with less, one request would
/// block all others for minutes.
const MIN_RATE: f64 = 1.0;

/// The amount is a share, and no throughput is known that it could be a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no throughput is provisioned (serverless?)")]
pub(super) struct Unprovisioned;

/// The rate of an amount in request units per second; `None` is unlimited.
pub(super) fn rate(amount: Amount, provisioned: Option<f64>) -> Result<Option<f64>, Unprovisioned> {
    match amount {
        Amount::Unlimited => Ok(None),
        Amount::Units(units) => Ok(Some(units)),
        Amount::Share(share) => {
            provisioned.map(|whole| Some((share * whole).max(MIN_RATE))).ok_or(Unprovisioned)
        }
    }
}

/// The throughput that a share refers to: that of the database, if the container has no throughput itself.
pub(super) fn whole(provisioned: Provisioned) -> Option<f64> {
    match provisioned {
        Provisioned::Container(units) | Provisioned::Database(units) => Some(units),
        Provisioned::Unknown => None,
    }
}

/// The throughput of one physical partition in request units per second. The service divides a container's
/// throughput evenly; how it divides a database's throughput among containers is not known.
pub(super) fn ceiling(provisioned: Provisioned, partitions: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "partitions are few")]
    match (provisioned, partitions) {
        (Provisioned::Container(units), 1..) => Some(units / partitions as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_becomes_a_rate() {
        use Amount::{Share, Units, Unlimited};
        let cases = [
            (Unlimited, None, Ok(None)),
            (Unlimited, Some(4000.0), Ok(None)),
            (Units(2.5), None, Ok(Some(2.5))),
            (Units(9000.0), Some(4000.0), Ok(Some(9000.0))),
            (Share(0.1), Some(4000.0), Ok(Some(400.0))),
            (Share(1.0), Some(400.0), Ok(Some(400.0))),
            (Share(0.001), Some(400.0), Ok(Some(1.0))),
            (Share(0.1), Some(0.0), Ok(Some(1.0))),
            (Share(0.1), None, Err(Unprovisioned)),
        ];
        for (amount, provisioned, expected) in cases {
            assert_eq!(rate(amount, provisioned), expected, "{amount} of {provisioned:?}");
        }
    }

    #[test]
    fn a_partition_has_an_equal_part_of_the_containers_throughput() {
        use Provisioned::{Container, Database, Unknown};
        let cases = [
            (Container(400.0), 1, Some(400.0), Some(400.0)),
            (Container(10_000.0), 4, Some(10_000.0), Some(2500.0)),
            (Container(400.0), 0, Some(400.0), None),
            (Database(400.0), 2, Some(400.0), None),
            (Unknown, 2, None, None),
        ];
        for (provisioned, partitions, of, expected) in cases {
            assert_eq!(whole(provisioned), of, "{provisioned:?}");
            assert_eq!(ceiling(provisioned, partitions), expected, "{provisioned:?}, {partitions}");
        }
    }
}
