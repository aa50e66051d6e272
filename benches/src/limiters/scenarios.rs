//! The scenarios, which run concurrently in real time. Each has few requests, so that they do not disturb each
//! other.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::Row;
use crate::limiter::{Kind, Limiter};
use crate::load::{Documents, Run, greedy, price, steady};
use crate::record::{Record, charged, extremes};

/// Request units per second.
const BUDGET: f64 = 1000.0;

/// The length of a run, and of its warm-up, in seconds.
const END: f64 = 24.0;
const FROM: f64 = 2.0;

const KIB: f64 = 1024.0;

/// All scenarios; a row has the figures in the order of [`Kind::ALL`].
pub(crate) async fn all() -> Result<Vec<Row>, JoinError> {
    let mut columns = JoinSet::new();
    for kind in Kind::ALL {
        columns.spawn(async move { (kind, column(kind).await) });
    }
    let mut finished = Vec::new();
    while let Some(column) = columns.join_next().await {
        finished.push(column?);
    }
    finished.sort_by_key(|(kind, _)| *kind);
    let mut rows: Vec<Row> = Vec::new();
    for (_, column) in finished {
        for (row, (what, figure)) in column.into_iter().enumerate() {
            if rows.len() == row {
                rows.push((what.to_owned(), Vec::new()));
            }
            rows[row].1.push(figure);
        }
    }
    Ok(rows)
}

type Figures = Vec<(&'static str, String)>;

async fn column(kind: Kind) -> Figures {
    let (varied, large, near, single, half, changes) = tokio::join!(
        varied(kind),
        large(kind),
        hot(kind, 0.97, 1000),
        hot(kind, 0.97, 1),
        hot(kind, 0.5, 1),
        futures::future::join_all((0..8_u32).map(|number| change(kind, number))),
    );
    let slowest = changes.iter().map(|(first, _)| *first).fold(0.0, f64::max);
    let burst = changes.iter().map(|(_, burst)| *burst).fold(0.0, f64::max);
    let mut figures = varied;
    figures.push(("b: share of what is due, of a partition of large requests", large));
    figures.push((
        "c: 400 to 4,000 RU/s: wait for the next request, of one request's time at 400 (longest of 8)",
        format!("{slowest:.2}"),
    ));
    figures.push(("c: spent in the second after, of 4,000 RU (most of 8)", format!("{burst:.2}")));
    figures.push((
        "d: what the worst of four others got next to a hot one, of 97 % of their share",
        near.0,
    ));
    figures.push(("d: the same, one request at a time each", single.0));
    figures.push(("d: the same, of 50 % of their share", half.0));
    figures.push(("d: use of the budget then, worst 10 s", half.1));
    figures
}

fn run(kind: Kind, rate: f64, partitions: u32) -> Arc<Run> {
    Arc::new(Run { limiter: Limiter::new(kind, Some(rate), partitions), record: Record::new() })
}

/// Documents of 1 to 100 KiB from 4 partitions that all want more than the budget.
async fn varied(kind: Kind) -> Figures {
    let run = run(kind, BUDGET, 4);
    let mut tasks = JoinSet::new();
    for partition in 0..4 {
        let documents = Documents { partition, bytes: (KIB, 100.0 * KIB) };
        greedy(&mut tasks, &run, 8, documents, 1);
    }
    run.record.until(END).await;
    let spent = run.record.spent();
    let of = |length: f64| {
        let (least, most) = extremes(&spent, length, FROM, END);
        format!("{:.2} to {:.2}", least / (length * BUDGET), most / (length * BUDGET))
    };
    vec![
        ("a: use of 1,000 RU/s, worst and best 1 s", of(1.0)),
        ("a: worst and best 10 s", of(10.0)),
        ("a: the first second after a start", format!("{:.2}", charged(&spent, 0.0, 1.0) / BUDGET)),
    ]
}

/// One partition sends documents of 120 KiB (103 RU) from 1 sender, nine send 1 KiB from 8 each.
async fn large(kind: Kind) -> String {
    let run = run(kind, BUDGET, 10);
    let mut tasks = JoinSet::new();
    let large = Documents { partition: 0, bytes: (120.0 * KIB, 120.0 * KIB) };
    greedy(&mut tasks, &run, 1, large, 2);
    for partition in 1..10 {
        greedy(&mut tasks, &run, 8, Documents { partition, bytes: (KIB, KIB) }, 2);
    }
    run.record.until(END).await;
    let spent = run.record.spent();
    let own: Vec<_> = spent.iter().copied().filter(|one| one.partition == 0).collect();
    let share = charged(&own, FROM, END) / charged(&spent, FROM, END);
    format!("{:.2}", share * 10.0)
}

/// One of five partitions wants everything; the others a part of their share, with this number of requests
/// at a time. What the worst of them got of it, and the use of the budget in the worst 10 s.
async fn hot(kind: Kind, part: f64, at_a_time: usize) -> (String, String) {
    let run = run(kind, BUDGET, 5);
    let bytes = (KIB, 10.0 * KIB);
    let mut tasks = JoinSet::new();
    greedy(&mut tasks, &run, 32, Documents { partition: 0, bytes }, 3);
    let wanted = BUDGET / 5.0 * part;
    for partition in 1..5 {
        steady(&mut tasks, &run, wanted, at_a_time, Documents { partition, bytes });
    }
    run.record.until(END).await;
    let spent = run.record.spent();
    let got = (1..5_u32).map(|partition| {
        let own = spent.iter().filter(|one| one.partition == partition && one.at >= FROM);
        own.map(|one| one.price).sum::<f64>()
    });
    let worst = got.fold(f64::INFINITY, f64::min) / (wanted * (END - FROM));
    let (least, _) = extremes(&spent, 10.0, FROM, END);
    (format!("{worst:.2}"), format!("{:.2}", least / (10.0 * BUDGET)))
}

/// From 400 to 4,000 RU/s while requests of 400 RU wait. How long after it the next one goes, of the
/// second that one takes at 400, and what is spent in the next second, of 4,000 RU.
async fn change(kind: Kind, number: u32) -> (f64, f64) {
    let run = run(kind, 400.0, 1);
    let bytes = 491.0 * KIB;
    debug_assert!((price(bytes) - 400.0).abs() < 1.0);
    let mut tasks = JoinSet::new();
    let documents = Documents { partition: 0, bytes: (bytes, bytes) };
    greedy(&mut tasks, &run, 4, documents, 4 + u64::from(number));
    run.record.until(8.0 + 0.13 * f64::from(number)).await;
    let at = run.record.now();
    run.limiter.set_rate(4000.0);
    run.record.until(END / 2.0).await;
    let spent = run.record.spent();
    // Requests that were admitted before are in flight for up to 10 ms.
    let after = spent.iter().map(|one| one.at).find(|then| *then > at + 0.012);
    let first = after.map_or(f64::INFINITY, |then| then - at);
    (first, charged(&spent, at, at + 1.0) / 4000.0)
}
