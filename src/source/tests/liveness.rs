//! A sink that is dead holds up no other, wherever both of them stand.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MANY: u64 = 2000;

#[tokio::test(start_paused = true)]
async fn a_start_near_a_dead_sink_does_not_hold_up_the_others() {
    // As many as the window, and fewer than both together.
    for missing in [WINDOW as u64, WINDOW as u64 / 2] {
        let bench = Bench::new(&["well", "ill"]);
        let running = bench.run();
        bench.sinks[1].be(Mood::Dead);
        bench.change(0..missing);
        bench.until_complete(0).await;
        sleep(5 * SECOND).await;
        running.stop().await;
        let running = bench.run();
        bench.change(0..MANY);
        bench.until_complete(0).await;
        running.assert_bounded();
        bench.sinks[1].be(Mood::Well);
        bench.until_caught_up(&running).await;
        running.stop().await;
        bench.assert_right();
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_has_caught_up_does_not_wait_for_one_that_died_meanwhile() {
    let bench = Bench::new(&["one", "other"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    bench.until_complete(0).await;
    assert_eq!(running.behind(), ["other"]);
    bench.sinks[0].be(Mood::Dead);
    bench.change(0..MANY);
    sleep(60 * SECOND).await;
    bench.sinks[1].be(Mood::Well);
    bench.until_complete(1).await;
    running.assert_bounded();
    bench.sinks[0].be(Mood::Well);
    bench.until_caught_up(&running).await;
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_split_that_only_a_dead_sink_has_come_to_does_not_hold_up_one_that_catches_up() {
    // The reader of all waits for room, or goes on looking.
    for waits_for_room in [true, false] {
        let bench = Bench::new(&["one", "other"]);
        let running = bench.run();
        bench.sinks[1].be(Mood::Dead);
        bench.change(0..MANY);
        bench.until_complete(0).await;
        assert_eq!(running.behind(), ["other"]);
        bench.sinks[0].be(Mood::Dead);
        bench.change(0..if waits_for_room { MANY } else { 3 });
        sleep(60 * SECOND).await;
        bench.source.divide_at("7F");
        sleep(10 * SECOND).await;
        bench.sinks[1].be(Mood::Well);
        bench.change(0..100);
        bench.until_complete(1).await;
        bench.sinks[0].be(Mood::Well);
        bench.until_caught_up(&running).await;
        running.stop().await;
        bench.assert_right();
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_gone_parks_whose_it_is_also_at_a_start() {
    let bench = Bench::new(&["well", "ill"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    let few = WINDOW as u64 / 2;
    bench.change(0..few);
    bench.until_complete(0).await;
    sleep(5 * SECOND).await;
    running.stop().await;
    bench.source.forget_before(i64::try_from(few).unwrap());
    bench.sinks[1].be(Mood::Well);
    let running = bench.run();
    bench.change(0..MANY);
    bench.until_complete(0).await;
    assert_eq!(running.behind(), ["ill"]);
    assert!(running.is_caught_up(), "a run until all is there does not wait for what cannot come");
    assert!(matches!(running.stop().await, PipelineEnd::Parked(_)));
    assert!(bench.sinks[1].received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_return_holds_up_neither_other_sinks_nor_the_parts_of_its_range() {
    // It is behind, or follows the shared reader, when the range is divided; and the parts are divided.
    for behind in [false, true] {
        let bench = Bench::new(&["well", "hung"]);
        let running = bench.run();
        bench.sinks[1].be(Mood::Hung);
        bench.change(0..if behind { MANY } else { 30 });
        bench.until_complete(0).await;
        assert_eq!(!running.behind().is_empty(), behind);
        for bound in ["7F", "3F", "BF"] {
            let start = Instant::now();
            bench.source.divide_at(bound);
            bench.change(0..100);
            bench.until_complete(0).await;
            assert!(start.elapsed() < 60 * SECOND, "{bound}: {:?}", start.elapsed());
        }
        eventually("the parts are stored", || bench.state.rows().len() == 8).await;
        assert!(bench.sinks[1].received().is_empty());
        running.assert_bounded();
        bench.sinks[1].be(Mood::Well);
        bench.until_caught_up(&running).await;
        running.stop().await;
        bench.assert_right();
    }
}

/// No two writes hold one document, also if its range was divided between them.
#[tokio::test(start_paused = true)]
async fn a_later_version_waits_for_a_write_of_the_range_before_the_split() {
    let bench = Bench::new(&["well", "hung"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::HungOn(1));
    bench.source.change(1);
    sleep(5 * SECOND).await;
    bench.source.divide_at("7F");
    bench.change(0..3);
    sleep(60 * SECOND).await;
    assert_eq!(bench.state.rows().len(), 4, "the parts are read");
    let received = bench.sinks[1].received();
    assert!(received.iter().all(|(document, _)| *document != 1), "{received:?}");
    bench.sinks[1].be(Mood::Well);
    bench.until_caught_up(&running).await;
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_return_keeps_nothing_else_from_being_stored_at_a_stop() {
    let bench = Bench::new(&["well", "hung"]);
    bench.source.divide_at("7F");
    let running = bench.run();
    bench.sinks[1].be(Mood::Hung);
    bench.change(0..30);
    bench.until_complete(0).await;
    running.stop.cancel();
    sleep(SECOND).await;
    let stored = bench.state.positions();
    let well = stored.iter().filter(|((sink, _), _)| sink == "well").map(|(_, lsn)| *lsn);
    assert_eq!(well.max(), Some(30));
    running.crash().await;
    bench.sinks[1].be(Mood::Well);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    assert_eq!(bench.sinks[0].repeated(), 0);
    running.stop().await;
    bench.assert_right();
}

/// 512 pairs of a feed range and a sink on a disk that takes two seconds for each commit.
#[tokio::test(start_paused = true)]
async fn many_ranges_and_sinks_share_the_commits_of_a_slow_disk() {
    let bench = Bench::new(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    for at in 1..64 {
        bench.source.divide_at(&format!("{:02X}", at * 4));
    }
    bench.state.take(2 * SECOND);
    let running = bench.run();
    let start = Instant::now();
    for _ in 0..3 {
        bench.change(0..512);
        bench.until_caught_up(&running).await;
    }
    assert_eq!(bench.state.rows().len(), 512);
    assert!(start.elapsed() < 60 * SECOND, "{:?}", start.elapsed());
    assert!(bench.state.commits() < 30, "{} commits", bench.state.commits());
    running.stop().await;
    bench.assert_right();
}

/// A replica that lags answers that nothing is newer; another one has it all.
#[tokio::test(start_paused = true)]
async fn a_run_until_caught_up_does_not_believe_a_replica_that_lags() {
    let bench = Bench::new(&["only"]);
    bench.change(0..100);
    bench.source.lags.store(20, Relaxed);
    let running = bench.run_to_the_end();
    let mut caught_up = running.pipeline.caught_up();
    caught_up.wait_for(|is_caught_up| *is_caught_up).await.unwrap();
    assert_eq!(bench.source.lags.load(Relaxed), 0);
    assert!(bench.is_complete(0), "it counted as caught up before it had everything");
    running.stop().await;
}

/// A run that does not end needs no proof.
#[tokio::test(start_paused = true)]
async fn a_run_without_an_end_asks_for_no_proof() {
    let bench = Bench::new(&["only"]);
    bench.change(0..100);
    bench.source.lags.store(20, Relaxed);
    let running = bench.run();
    running.pipeline.caught_up().wait_for(|is_caught_up| *is_caught_up).await.unwrap();
    assert!(!bench.is_complete(0));
    bench.until_caught_up(&running).await;
    running.stop().await;
    assert_eq!(bench.source.proofs.load(Relaxed), 0);
}
