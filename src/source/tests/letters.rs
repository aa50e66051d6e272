//! Positions wait for dead letters: a change is safe once it is stored.
//!
//! [`MemoryState`] fails a test that stores a position before a change that a sink neither has nor left as
//! a dead letter.

use super::*;

const CHANGES: u64 = 300;

#[tokio::test(start_paused = true)]
async fn positions_wait_for_dead_letters_that_cannot_be_stored() {
    let bench = Bench::new(&["refusing", "well"]);
    bench.sinks[0].be(Mood::Refusing);
    bench.state.fail_letters(20);
    bench.change(0..CHANGES);
    let running = bench.run();
    bench.until_complete(1).await;
    bench.until_caught_up(&running).await;
    let mut letters: Vec<_> =
        bench.state.letters().iter().map(|l| (l.lsn, l.sink.clone())).collect();
    letters.sort();
    letters.dedup();
    assert_eq!(letters.len() as u64, CHANGES / 3);
    assert!(letters.iter().all(|(lsn, sink)| lsn.unwrap() % 3 == 0 && sink == "refusing"));
    assert!(matches!(running.stop().await, PipelineEnd::Stopped));
    assert_eq!(bench.state.letters().len() as u64, CHANGES / 3, "each once");
}

/// The process ends with dead letters that are not stored. The next run makes them again.
#[tokio::test(start_paused = true)]
async fn a_crash_with_dead_letters_under_way_loses_none() {
    for milliseconds in [3, 7, 20, 60, 200, 900] {
        let bench = Bench::new(&["refusing", "well"]);
        bench.sinks[0].be(Mood::Refusing);
        bench.state.fail_letters(u64::MAX);
        bench.change(0..CHANGES);
        let running = bench.run();
        sleep(Duration::from_millis(milliseconds)).await;
        running.crash().await;
        assert_eq!(bench.state.letters().len(), 0);

        bench.state.fail_letters(3);
        let running = bench.run();
        bench.until_caught_up(&running).await;
        assert!(bench.is_complete(0) && bench.is_complete(1));
        assert_eq!(bench.state.letters().len() as u64, CHANGES / 3);
        running.stop().await;
    }
}

/// A stop while the disk is full stores no position beyond what is safe, and does not wait for the disk.
#[tokio::test(start_paused = true)]
async fn a_stop_with_dead_letters_that_cannot_be_stored_repeats_them() {
    let bench = Bench::new(&["refusing"]);
    bench.sinks[0].be(Mood::Refusing);
    bench.state.fail_letters(u64::MAX);
    bench.change(0..CHANGES);
    let running = bench.run();
    sleep(Duration::from_secs(2)).await;
    assert!(matches!(running.stop().await, PipelineEnd::Stopped));
    assert!(bench.state.positions().values().all(|lsn| *lsn < 3), "{:?}", bench.state.positions());

    bench.state.fail_letters(0);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    assert_eq!(bench.state.letters().len() as u64, CHANGES / 3);
    running.stop().await;
}
