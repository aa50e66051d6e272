//! Positions wait for dead letters: a change is safe once it is stored.
//!
//! [`MemoryState`] fails a test that stores a position before a change that a sink neither has nor left as
//! a dead letter.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const CHANGES: u64 = 300;

/// Changes that are more than a sink may hold.
const MANY: u64 = 2000;

/// A route that maps two documents of three.
const NO_THIRD: &str =
    r#"if (.id | ltrimstr("d-") | tonumber) % 3 == 0 then error("a third") else . end"#;

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

/// A sink may rejoin in the middle of the next page, which then holds letters that are stored already. The real
/// state would keep them once, but they would count twice towards the limit that parks the pipeline.
#[tokio::test(start_paused = true)]
async fn the_letters_of_a_sink_that_dies_and_rejoins_are_stored_once() {
    let bench = Bench { jq: Some(NO_THIRD), ..Bench::new(&["well", "ill"]) };
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    bench.until_complete(0).await;
    assert_eq!(running.behind(), ["ill"]);
    // A page of five among pages of ten: from here on, the pages of the reader of all end in the middle of
    // those that the sink's own reader will get.
    bench.change(0..5);
    bench.until_complete(0).await;
    sleep(10 * SECOND).await;

    // The reader of all waits for the sink that was well, once the window is used up.
    bench.sinks[0].be(Mood::Hung);
    bench.change(0..WINDOW as u64 + 10);
    sleep(10 * SECOND).await;
    assert_eq!(running.pipeline.meter.read.get(), MANY + 5 + WINDOW as u64);
    bench.sinks[1].be(Mood::Well);
    eventually("it rejoins", || running.behind().is_empty()).await;
    assert_eq!(running.reread(1) % 10, 0, "it rejoins at the end of a page of ten");

    bench.sinks[0].be(Mood::Well);
    bench.until_caught_up(&running).await;
    assert!(matches!(running.stop().await, PipelineEnd::Stopped));
    let letters = bench.state.letters().into_iter().map(|letter| (letter.lsn, letter.sink));
    let mut letters: Vec<_> = letters.collect();
    letters.sort();
    let again: Vec<_> = letters.chunk_by(|a, b| a == b).filter(|same| same.len() > 1).collect();
    assert!(again.is_empty(), "{again:?}");
    let is_third = |entry: &&shop::Entry| entry.document.is_multiple_of(3);
    assert_eq!(letters.len(), bench.source.entries().iter().filter(is_third).count());
    assert!(letters.iter().all(|(_, sink)| sink == "ill"));
}
