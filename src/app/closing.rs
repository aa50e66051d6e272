//! The end of sinks.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tracing::warn;

use crate::deliver::Delivery;

/// Closes sinks side by side, and waits at most until the deadline of the stop, which takes `within` in all.
/// What is delivered is durable already, so a sink that does not close loses nothing, and the stop is in order.
pub(super) async fn close_sinks(
    deliveries: &[Arc<Delivery>],
    within: Duration,
    deadline: impl Future<Output = ()> + Clone,
) {
    let close = async |delivery: &Arc<Delivery>| {
        let sink = &delivery.sink;
        tokio::select! {
            closed = sink.close() => if let Err(error) = closed {
                warn!(sink = sink.name(), %error, "could not close the sink");
            },
            () = deadline.clone() => {
                let error = format!("not closed within {within:?}");
                warn!(sink = sink.name(), error, "could not close the sink");
            }
        }
    };
    join_all(deliveries.iter().map(close)).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use cosmos_bridge_sink::{Change, Grouping, Limits, Sink, SinkError, SinkErrorKind, Written};
    use futures::FutureExt as _;
    use tokio::time::Instant;

    use super::close_sinks;
    use crate::deliver::Delivery;
    use crate::governor::{Governor, YieldPolicy};

    /// How a sink closes.
    #[derive(Clone, Copy)]
    enum Closes {
        After(Duration),
        Never,
        Fails,
    }

    struct Closing {
        closes: Closes,
        closed: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl Sink for Closing {
        fn name(&self) -> &'static str {
            "closing"
        }

        fn limits(&self) -> Limits {
            Limits { grouping: Grouping::Any, changes: 1, bytes: 1, concurrency: 1 }
        }

        async fn check(&self) -> Result<(), SinkError> {
            Ok(())
        }

        async fn write(&self, _: &[Change]) -> Written {
            Written::default()
        }

        async fn close(&self) -> Result<(), SinkError> {
            match self.closes {
                Closes::After(pause) => tokio::time::sleep(pause).await,
                Closes::Never => std::future::pending().await,
                Closes::Fails => {
                    let (message, kind) = ("gone".to_owned(), SinkErrorKind::Other);
                    return Err(SinkError { message, hint: None, kind, source: None });
                }
            }
            self.closed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_does_not_close_holds_up_no_other_and_the_end_only_for_a_time() {
        const WITHIN: Duration = Duration::from_secs(30);
        let after = |seconds| Closes::After(Duration::from_secs(seconds));
        let table = [
            (vec![], 0, 0),
            (vec![after(1), after(2)], 2, 2),
            (vec![Closes::Fails, after(2)], 1, 2),
            (vec![Closes::Never, after(2), after(3)], 2, 30),
            (vec![after(31), Closes::Never], 0, 30),
        ];
        for (sinks, expected, seconds) in table {
            let closed = Arc::<AtomicUsize>::default();
            let delivery = |closes| {
                let sink = Arc::new(Closing { closes, closed: Arc::clone(&closed) });
                let governor = Governor::new(None, YieldPolicy::Normal, 1);
                Arc::new(Delivery::new(sink, Arc::new(governor), None))
            };
            let deliveries: Vec<_> = sinks.into_iter().map(delivery).collect();
            let began = Instant::now();
            let deadline = tokio::time::sleep(WITHIN).shared();
            close_sinks(&deliveries, WITHIN, deadline).await;
            assert_eq!(closed.load(Ordering::SeqCst), expected);
            // A timer of tokio fires up to 1 ms late.
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
    }
}
