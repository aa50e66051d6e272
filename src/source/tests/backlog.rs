//! A backlog that two sinks take at different speeds: read once, or once more for a sink that is much
//! slower than the other. None waits for a sink that fails, nor for a slow one once the end is reached.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MANY: u64 = 2000;

/// The time that a write of at most ten changes takes: 500 changes per second, 200 and 10.
const FAST: Mood = Mood::Slow(Duration::from_millis(20));
const SLOWER: Mood = Mood::Slow(Duration::from_millis(50));
const MUCH_SLOWER: Mood = Mood::Slow(SECOND);

/// A backlog, and sinks that are fast, and of this mood.
fn backlog(other: Mood) -> Bench {
    let bench = Bench::new(&["fast", "other"]);
    bench.change(0..MANY);
    bench.sinks[0].be(FAST);
    bench.sinks[1].be(other);
    bench
}

/// How long a fast sink takes for the backlog without another one.
async fn alone() -> Duration {
    let bench = backlog(FAST);
    let running = bench.run_with(1);
    let start = Instant::now();
    bench.until_complete(0).await;
    running.stop().await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_once_for_sinks_that_are_not_much_slower_than_others() {
    for ranges in [1, 4] {
        let bench = backlog(SLOWER);
        for at in 1..ranges {
            bench.source.divide_at(&format!("{:02X}", at * 64));
        }
        let running = bench.run();
        bench.until_caught_up(&running).await;
        assert_eq!(running.reread(1), 0);
        assert_eq!(running.pipeline.meter.read.get(), MANY);
        running.assert_bounded();
        running.stop().await;
        bench.assert_right();
    }
}

/// A page of the largest size fills a quarter of a sink's room, and is not read for a range that is next.
#[tokio::test(start_paused = true)]
async fn no_range_takes_all_the_room_of_a_slow_sink() {
    for spool in [SPOOL / 8, SPOOL / 4, SPOOL / 2] {
        let bench = Bench { spool, ..backlog(SLOWER) };
        for at in 1..8 {
            bench.source.divide_at(&format!("{:02X}", at * 32));
        }
        let running = bench.run();
        bench.until_caught_up(&running).await;
        assert_eq!(running.reread(1), 0, "{spool} bytes");
        running.assert_bounded();
        running.stop().await;
        bench.assert_right();
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_much_slower_delays_the_others_for_a_bounded_time() {
    let alone = alone().await;
    let bench = backlog(MUCH_SLOWER);
    let running = bench.run();
    let start = Instant::now();
    bench.until_complete(0).await;
    let delay = start.elapsed().saturating_sub(alone);
    assert!(delay > 2 * SECOND && delay < 10 * SECOND, "{delay:?}");
    assert_eq!(running.behind(), ["other"]);
    bench.sinks[1].be(FAST);
    bench.until_caught_up(&running).await;
    running.assert_bounded();
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_once_while_a_page_waits_makes_no_sink_go_on_alone() {
    let bench = backlog(SLOWER);
    let running = bench.run();
    for _ in 0..5 {
        sleep(SECOND).await;
        bench.sinks[1].be(Mood::Dead);
        sleep(SECOND / 20).await;
        bench.sinks[1].be(SLOWER);
    }
    assert!(running.pipeline.sinks[1].delivery.meter.write_failures.failures() >= 5);
    bench.until_caught_up(&running).await;
    assert_eq!(running.reread(1), 0);
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_or_hangs_while_a_page_waits_for_it_goes_on_alone() {
    let alone = alone().await;
    for (mood, longest) in [(Mood::Dead, 3), (Mood::Hung, 7)] {
        let bench = backlog(SLOWER);
        let running = bench.run();
        sleep(3 * SECOND).await;
        assert!(running.behind().is_empty(), "a page waits");
        assert!(!bench.is_complete(0));
        bench.sinks[1].be(mood);
        let start = Instant::now();
        bench.until_complete(0).await;
        assert!(start.elapsed() < alone + longest * SECOND, "{mood:?}: {:?}", start.elapsed());
        assert_eq!(running.behind(), ["other"]);
        bench.sinks[1].be(Mood::Well);
        bench.until_caught_up(&running).await;
        running.assert_bounded();
        running.stop().await;
        bench.assert_right();
    }
}

/// Live changes, and a sink that takes ten a second while thirty come.
#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_feed_no_sink_waits_for_a_slow_one() {
    let bench = Bench::new(&["fast", "other"]);
    let running = bench.run();
    bench.change(0..10);
    bench.until_caught_up(&running).await;
    bench.sinks[1].be(MUCH_SLOWER);
    for second in 0..60 {
        bench.change(0..30);
        // The reader looks every second.
        sleep(SECOND + Duration::from_millis(100)).await;
        let lacks = bench.sinks[0].lacks(&bench.source, i64::MAX).len();
        assert!(lacks <= 30, "{lacks} are late after {second} s");
    }
    assert_eq!(running.behind(), ["other"]);
    bench.sinks[1].be(Mood::Well);
    bench.until_caught_up(&running).await;
    running.assert_bounded();
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_stop_or_crash_while_a_page_waits_loses_nothing() {
    for crashes in [false, true] {
        let bench = backlog(SLOWER);
        let mut running = bench.run_to_the_end();
        for _ in 0..3 {
            sleep(2 * SECOND).await;
            assert!(!running.is_caught_up());
            if crashes {
                running.crash().await;
            } else {
                let start = Instant::now();
                assert!(matches!(running.stop().await, PipelineEnd::Stopped));
                assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
            }
            running = bench.run_to_the_end();
        }
        let mut caught_up = running.pipeline.caught_up();
        caught_up.wait_for(|is_caught_up| *is_caught_up).await.unwrap();
        assert!(bench.is_complete(0) && bench.is_complete(1), "it ended too early");
        let repeated = bench.sinks[0].repeated() + bench.sinks[1].repeated();
        assert!(repeated <= if crashes { 6 * WINDOW } else { 0 }, "{repeated}");
        running.stop().await;
        bench.assert_right();
    }
}

/// One sink was away; it comes back while the others wait for a page.
#[tokio::test(start_paused = true)]
async fn a_sink_comes_back_while_a_page_waits_for_another() {
    let bench = Bench::new(&["fast", "other", "away"]);
    bench.change(0..2 * MANY);
    bench.sinks[0].be(FAST);
    bench.sinks[1].be(SLOWER);
    bench.sinks[2].be(Mood::Dead);
    let running = bench.run();
    eventually("it is away", || running.behind() == ["away"]).await;
    sleep(3 * SECOND).await;
    bench.sinks[2].be(FAST);
    eventually("it is back", || running.behind().is_empty()).await;
    assert!(!bench.is_complete(1), "a page waits");
    bench.until_caught_up(&running).await;
    assert_eq!(running.reread(1), 0);
    running.assert_bounded();
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_split_behind_a_page_that_waits_is_followed() {
    let bench = backlog(SLOWER);
    let running = bench.run();
    sleep(3 * SECOND).await;
    bench.source.divide_at("7F");
    bench.until_caught_up(&running).await;
    running.assert_bounded();
    running.stop().await;
    assert_eq!(bench.state.rows().len(), 4, "two sinks, two ranges");
    bench.assert_right();
}
