//! What was read is filtered, delivered, superseded, a dead letter or in flight.
//!
//! [`MemoryState`] fails a test that stores a ledger which does not balance.

use super::*;
use crate::model::Ledger;
use crate::observe::lines::Lines;

const CHANGES: u64 = 300;

#[tokio::test(start_paused = true)]
async fn everything_that_one_run_reads_is_counted_once() {
    let bench = Bench::new(&["well", "refusing"]);
    bench.sinks[1].be(Mood::Refusing);
    bench.change(0..CHANGES);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    bench.source.divide_at("7F");
    bench.change(0..CHANGES);
    bench.until_caught_up(&running).await;
    bench.assert_balanced(&running);
    let all = 2 * CHANGES;
    let well = Ledger { read: all, delivered: all, ..Ledger::default() };
    assert_eq!(bench.state.ledger("well"), well);
    let dead_letters = all / 3;
    let refusing =
        Ledger { read: all, delivered: all - dead_letters, dead_letters, ..Ledger::default() };
    assert_eq!(bench.state.ledger("refusing"), refusing);
}

/// Stops, crashes, dead sinks and splits: what is stored is what was read up to the stored positions.
#[tokio::test(start_paused = true)]
async fn each_change_is_counted_once_however_often_the_bridge_crashes() {
    for seed in 1..40_u64 {
        let bench = Bench::new(&["one", "two"]);
        for life in 1..=6_u64 {
            bench.change(0..40 + 7 * seed);
            bench.sinks[1].be(if life % 3 == 0 { Mood::Dead } else { Mood::Well });
            if life == 4 {
                bench.source.divide_at("3F");
            }
            let running = bench.run();
            sleep(Duration::from_millis(seed * 31 % 700 * life)).await;
            if life % 2 == 0 { running.crash().await } else { drop(running.stop().await) }
        }
        bench.all(Mood::Well);
        let running = bench.run();
        bench.until_caught_up(&running).await;
        bench.assert_balanced(&running);
        let read = bench.source.head();
        for sink in &bench.sinks {
            let Ledger { delivered, superseded, .. } = bench.state.ledger(sink.name());
            // The sinks share a reader from where the one that is behind stands: the other has some already.
            assert!(delivered.cast_signed() >= read, "{seed}: {delivered} of {read}");
            assert!(delivered.cast_signed() == read || superseded > 0, "{seed}: {delivered}");
        }
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_gets_lost_is_missing_in_each_sink_and_nothing_waits_for_it() {
    let bench = Bench::new(&["one", "two"]);
    bench.change(0..CHANGES);
    bench.source.losses.store(3, Relaxed);
    bench.state.is_lossy.store(true, Relaxed);
    let log = Lines::of(async {
        let running = bench.run();
        eventually("all are caught up", || running.is_caught_up()).await;
        for meter in &running.follows {
            assert_eq!(meter.ledger.status().missing, 3);
        }
        running.stop().await;
    });
    let log = log.await;
    let lines = log.lines().filter(|line| line.starts_with("ERROR changes were read"));
    assert_eq!(lines.count(), 2, "{log}");
}
