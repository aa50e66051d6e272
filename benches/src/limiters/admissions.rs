//! The CPU time of one admission.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Row;
use crate::limiter::{Kind, Limiter, Request};

type Failure = Box<dyn Error + Send + Sync>;

/// The number of admissions in a measurement.
const COUNT: u32 = 1_000_000;

/// Nanoseconds per admission, from the request for it to the booked charge.
pub(crate) async fn all() -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    // Far more than one thread can use.
    for (what, rate) in [("unlimited", None), ("a budget without waiting", Some(4e6))] {
        let mut figures = Vec::new();
        for kind in Kind::ALL {
            figures.push(format!("{:.0}", unheld(kind, rate).await));
        }
        rows.push((format!("e: ns per admission, {what}"), figures));
    }
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        figures.push(format!("{:.0}", waiting(kind).await?));
    }
    rows.push(("e: CPU ns per admission, 50 partitions waiting".to_owned(), figures));
    Ok(rows)
}

async fn unheld(kind: Kind, rate: Option<f64>) -> f64 {
    let limiter = Limiter::new(kind, rate, 1);
    let request = Request { partition: 0, bytes: 1024, price: 0.01 };
    for _ in 0..COUNT / 10 {
        limiter.send(request, async { 0.01 }).await;
    }
    let start = Instant::now();
    for _ in 0..COUNT {
        limiter.send(request, async { 0.01 }).await;
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(COUNT)
}

/// Four senders for each of 50 partitions want all of 40,000 RU/s, at 2 RU a request: 20,000
/// admissions per second, and every sender always waits.
async fn waiting(kind: Kind) -> Result<f64, Failure> {
    let limiter = Arc::new(Limiter::new(kind, Some(40_000.0), 50));
    let (count, counted) = tokio::sync::watch::channel(0_u64);
    let mut tasks = JoinSet::new();
    for sender in 0..200 {
        let (limiter, count) = (Arc::clone(&limiter), count.clone());
        let request = Request { partition: sender % 50, bytes: 1024, price: 2.0 };
        tasks.spawn(async move {
            loop {
                limiter.send(request, async { 2.0 }).await;
                count.send_modify(|count| *count += 1);
            }
        });
    }
    sleep(Duration::from_secs(1)).await;
    let (cpu, before) = (thread_cpu()?, *counted.borrow());
    sleep(Duration::from_secs(2)).await;
    let (cpu, after) = (thread_cpu()? - cpu, *counted.borrow());
    let admissions = u32::try_from(after - before)?;
    Ok(cpu / f64::from(admissions.max(1)))
}

/// Nanoseconds of CPU time that this thread has used; only Linux has this figure.
fn thread_cpu() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}
