//! One sink falls behind, goes on by itself, and comes back.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// Changes that are more than a sink may hold.
const MANY: u64 = 2000;

#[tokio::test(start_paused = true)]
async fn a_dead_sink_falls_behind_alone_and_costs_nothing_until_it_is_back() {
    let bench = Bench::new(&["well", "ill"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    let start = Instant::now();
    bench.until_complete(0).await;
    let took = start.elapsed();
    eventually("it is known", || running.behind() == ["ill"]).await;
    sleep(HOUR).await;
    assert_eq!(running.reread(1), 0, "nothing is read for a dead sink");
    assert!(!running.is_caught_up());
    running.assert_bounded();

    bench.sinks[1].be(Mood::Well);
    bench.until_complete(1).await;
    bench.until_caught_up(&running).await;
    let reread = running.reread(1);
    assert!(reread < MANY && reread > MANY / 2, "{reread} read again");
    running.assert_bounded();

    // From now on each change is read once.
    let requests = || bench.source.requests.load(Relaxed);
    // Polls are more frequent for ten seconds.
    sleep(15 * SECOND).await;
    let before = requests();
    sleep(60 * SECOND).await;
    assert!(requests() - before <= 61, "polls of one reader");
    bench.change(0..100);
    bench.until_caught_up(&running).await;
    assert_eq!(running.reread(1), reread);
    assert_eq!(bench.sinks[1].repeated(), 0);
    assert!(matches!(running.stop().await, PipelineEnd::Stopped));
    bench.assert_right();

    // As fast as without the other sink.
    let alone = Bench::new(&["well"]);
    let running = alone.run();
    alone.change(0..MANY);
    let start = Instant::now();
    alone.until_complete(0).await;
    assert!(took <= start.elapsed() + SECOND, "{took:?} instead of {:?}", start.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_slow_for_a_moment_reads_nothing_again() {
    let bench = Bench::new(&["well", "slow"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Slow(SECOND));
    bench.change(0..60);
    bench.until_complete(0).await;
    bench.sinks[1].be(Mood::Well);
    bench.until_caught_up(&running).await;
    assert_eq!(running.reread(1), 0);
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_told_and_waited_for() {
    let bench = Bench::new(&["well"]);
    let running = bench.run();
    let storing = &running.pipeline.meter.store_failures;
    let hang = bench.state.hang().await;
    bench.change(0..MANY);
    sleep(9 * SECOND).await;
    assert_eq!(storing.error(), None);
    sleep(3 * SECOND).await;
    let told = "a write to the state file has not ended for 10 s or longer";
    assert_eq!(storing.error().as_deref(), Some(told));
    sleep(HOUR).await;
    assert!(storing.failing_for() >= Some(HOUR), "{:?}", storing.failing_for());
    let taken = bench.sinks[0].received().len();
    assert!(taken <= WINDOW, "{taken} are ahead of what is stored");
    drop(hang);
    bench.until_caught_up(&running).await;
    eventually("it is over", || storing.error().is_none()).await;
    assert_eq!(running.reread(0), 0);
    assert!(matches!(running.stop().await, PipelineEnd::Stopped));
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn all_wait_for_the_slowest_where_that_is_wanted() {
    let bench = Bench { slow_sinks: SlowSinks::HoldAll, ..Bench::new(&["well", "ill"]) };
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    sleep(HOUR).await;
    let got = bench.sinks[0].received().len();
    assert!(got <= WINDOW, "{got} went ahead");
    bench.sinks[1].be(Mood::Well);
    bench.until_caught_up(&running).await;
    assert_eq!(running.reread(1), 0);
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn when_all_sinks_are_dead_nobody_falls_behind() {
    let bench = Bench::new(&["one", "other"]);
    let running = bench.run();
    bench.all(Mood::Dead);
    bench.change(0..MANY);
    sleep(HOUR).await;
    assert!(running.behind().is_empty());
    running.assert_bounded();
    bench.all(Mood::Well);
    bench.until_caught_up(&running).await;
    running.stop().await;
    bench.assert_right();
}

/// Whatever the sinks do, one page too many is all that a small spool holds: the first, of which
/// nobody knows how large it will be.
#[tokio::test(start_paused = true)]
async fn a_spool_of_a_few_pages_is_kept_to_over_many_ranges() {
    let bench = Bench { spool: 3 * PAGE, ..Bench::new(&["well", "ill"]) };
    for at in 1..8 {
        bench.source.divide_at(&format!("{:02X}", at * 32));
    }
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    bench.until_complete(0).await;
    sleep(HOUR).await;
    assert_eq!(running.reread(1), 0, "nothing is read for a dead sink");
    bench.sinks[1].be(Mood::Slow(SECOND));
    sleep(60 * SECOND).await;
    bench.sinks[1].be(Mood::Well);
    bench.until_caught_up(&running).await;
    running.assert_bounded();
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_dead_sink_does_not_hold_up_a_stop() {
    let bench = Bench::new(&["well", "ill"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.sinks[0].be(Mood::Slow(Duration::from_millis(100)));
    bench.change(0..200);
    eventually("it runs", || !bench.sinks[0].received().is_empty()).await;
    running.stop().await;
    // What was read for the one that is well is written and stored.
    let received = bench.sinks[0].received();
    let stored = &bench.state.positions();
    let position = |sink: &str| stored.iter().find(|((s, _), _)| s == sink).map(|(_, lsn)| *lsn);
    assert_eq!(position("well"), received.iter().map(|(_, lsn)| *lsn).max());
    assert_eq!(position("ill"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_sink_is_behind_keeps_both_positions() {
    let bench = Bench::new(&["well", "ill"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Slow(Duration::from_millis(200)));
    bench.change(0..MANY);
    bench.until_complete(0).await;
    eventually("its position is stored", || running.is_caught_up() || !running.behind().is_empty())
        .await;
    sleep(2 * SECOND).await;
    running.crash().await;
    bench.sinks[1].be(Mood::Well);
    let running = bench.run();
    bench.until_complete(1).await;
    bench.until_caught_up(&running).await;
    assert_eq!(bench.sinks[0].repeated(), 0, "it was not behind");
    let repeated = bench.sinks[1].repeated();
    assert!(repeated <= WINDOW, "{repeated} repeated");
    assert!(running.reread(1) > MANY / 4);
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_gets_everything_from_the_start_and_nobody_waits_for_it() {
    let bench = Bench::new(&["old", "new"]);
    bench.change(0..MANY);
    let running = bench.run_with(1);
    bench.until_caught_up(&running).await;
    running.stop().await;

    bench.change(0..100);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    assert_eq!(bench.sinks[0].repeated(), 0);
    assert_eq!(running.reread(1), MANY + 100);
    running.stop().await;
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_new_sink_from_now_on_begins_where_the_others_stand() {
    let bench = Bench { start: Start::Now, ..Bench::new(&["old", "new"]) };
    bench.change(0..100);
    bench.sinks[0].since.store(100, Relaxed);
    bench.sinks[1].since.store(200, Relaxed);
    let running = bench.run_with(1);
    eventually("it reads", || running.is_caught_up()).await;
    bench.change(100..200);
    bench.until_caught_up(&running).await;
    running.stop().await;
    // While the bridge is away: for the old sink, and then for the new one too.
    bench.change(200..300);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    let lsns = |sink: usize| {
        let received = bench.sinks[sink].received().into_iter();
        received.map(|(_, lsn)| lsn).collect::<BTreeSet<_>>()
    };
    assert_eq!(lsns(0), (101..=300).collect());
    assert_eq!(lsns(1), (201..=300).collect());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_split_does_not_wait_for_a_dead_sink_and_it_goes_on_in_the_parts() {
    for behind in [false, true] {
        let bench = Bench::new(&["well", "ill"]);
        let running = bench.run();
        bench.sinks[1].be(Mood::Dead);
        bench.change(0..if behind { MANY } else { 30 });
        bench.until_complete(0).await;
        assert_eq!(!running.behind().is_empty(), behind);
        bench.source.divide_at("7F");
        bench.change(0..500);
        let start = Instant::now();
        bench.until_complete(0).await;
        assert!(start.elapsed() < 60 * SECOND, "{:?}", start.elapsed());
        bench.sinks[1].be(Mood::Well);
        bench.until_caught_up(&running).await;
        assert!(running.behind().is_empty());
        running.assert_bounded();
        running.stop().await;
        assert_eq!(bench.state.rows().len(), 4, "two sinks, two ranges");
        bench.assert_right();
    }
}

#[tokio::test(start_paused = true)]
async fn divisions_that_differ_between_sinks_are_read_in_their_finest_parts() {
    let bench = Bench::new(&["one", "other"]);
    bench.change(0..300);
    // The first alone, while the range is divided.
    bench.source.divide_at("7F");
    let running = bench.run_with(1);
    bench.until_caught_up(&running).await;
    running.stop().await;
    let whole = crate::model::Position::of(crate::model::FeedRange::whole(), None);
    let row = crate::model::StoredPosition { sink: "other".to_owned(), position: whole };
    bench.state.plant(row);
    let running = bench.run();
    bench.until_caught_up(&running).await;
    running.stop().await;
    assert_eq!(bench.state.rows().len(), 4, "{:?}", bench.state.rows());
    bench.assert_right();
}

#[tokio::test(start_paused = true)]
async fn a_sink_whose_position_is_gone_is_parked_and_the_others_go_on() {
    let bench = Bench::new(&["well", "ill"]);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..MANY);
    bench.until_complete(0).await;
    let head = i64::try_from(MANY).unwrap();
    eventually("everything is stored", || {
        bench.state.positions().iter().any(|((sink, _), lsn)| sink == "well" && *lsn == head)
    })
    .await;
    bench.source.forget_before(head - 1);
    bench.sinks[1].be(Mood::Well);
    // A run until everything is caught up does not wait for what cannot.
    eventually("the other is caught up", || running.is_caught_up()).await;
    bench.change(0..100);
    bench.until_complete(0).await;
    assert_eq!(running.behind(), ["ill"]);
    assert!(matches!(running.stop().await, PipelineEnd::Parked(_)));
    let stored = bench.state.positions();
    let ill = stored.iter().find(|((sink, _), _)| sink == "ill").map(|(_, lsn)| *lsn).unwrap();
    assert!(ill < head, "a position that nobody reached");
}

/// The answer about a range that was divided after it was listed tells where its first part stands. The other part is
/// asked as well, before anything is stored: it would begin at a later "now" otherwise.
#[tokio::test(start_paused = true)]
async fn each_part_of_a_range_that_is_divided_at_the_start_tells_where_it_stands() {
    let bench = Bench { start: Start::Now, ..Bench::new(&["one"]) };
    let running = bench.run();
    sleep(Duration::from_millis(3)).await;
    bench.source.divide_at("7F");
    bench.until_caught_up(&running).await;
    let plans = bench.state.plans();
    let etags: Vec<_> = plans[0].iter().map(|row| row.position.etag.as_deref()).collect();
    assert_eq!(etags, [Some("\"0\""), Some("\"0\"")]);
    running.stop().await;
}
