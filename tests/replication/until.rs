//! A pipeline that ends at a time.

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_emulator::world::ContainerSettings;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::support::{Bridge, Pair, eventually};

fn documents(name: &str, numbers: std::ops::Range<u32>) -> String {
    let line = |n| format!("{{\"id\":\"{name}-{n}\",\"orderId\":\"{name}-{n}\",\"n\":{n}}}\n");
    numbers.map(line).collect()
}

async fn pair() -> Pair {
    let settings = ContainerSettings::new(&["/orderId"], 3);
    Pair::start(&settings, &settings).await
}

fn configure(pair: &Pair, until: Option<u32>) -> PathBuf {
    let time = |until: u32| Timestamp::from_second(until.into()).unwrap();
    let until = until.map_or(String::new(), |until| format!("until = {}", time(until)));
    pair.configure(
        "",
        &until,
        "start = \"beginning\"\npoll_interval = \"50ms\"\npage_size = 30",
        "",
    )
}

fn copied(pair: &Pair, name: &str) -> usize {
    pair.copied_ids().iter().filter(|id| id.starts_with(name)).count()
}

const ENDED: &str = "the pipeline has ended: everything before that time is delivered";

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_the_past_ends_the_process_and_every_later_run_at_once() {
    let pair = pair().await;
    let clock = &pair.accounts.world.clock;
    clock.set_back(500);
    pair.seed(&documents("before", 0..200));
    clock.advance(100);
    let until = clock.now();
    pair.seed(&documents("after", 0..200));
    clock.advance(400);
    let config = configure(&pair, Some(until));
    let began = Instant::now();
    for run in ["run", "again"] {
        let ended = Bridge::command(&config, &["run"]).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.log.matches(ENDED).count(), 1, "{}", ended.log);
        assert!(ended.log.contains("every pipeline has ended"), "{}", ended.log);
        assert_eq!((copied(&pair, "before"), copied(&pair, "after")), (200, 0), "{run}");
        let delivered = if run == "run" { 200 } else { 0 };
        assert_eq!(ended.total("delivered"), delivered, "{}", ended.log);
    }
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    let ended =
        Bridge::command(&configure(&pair, Some(until)), &["run", "--until-caught-up"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(copied(&pair, "after"), 0);
    // Without the end, it goes on where it was.
    let ended = Bridge::command(&configure(&pair, None), &["run", "--until-caught-up"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.total("delivered"), 200, "{}", ended.log);
    assert!(pair.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_in_use_is_killed_and_divided_and_ends_at_its_time_while_another_goes_on() {
    let pair = pair().await;
    let settings = ContainerSettings::new(&["/orderId"], 1);
    pair.accounts.create_container("source", "shop", "other", &settings).await.unwrap();
    pair.accounts.create_container("target", "shop", "others", &settings).await.unwrap();
    let until = pair.accounts.world.clock.now() + 8;
    let config = configure(&pair, Some(until));
    let more = "[sinks.cosmos.others]\naccount = \"target\"\ndatabase = \"shop\"\n\
                container = \"others\"\n[pipelines.other.source]\naccount = \"source\"\n\
                database = \"shop\"\ncontainer = \"other\"\nstart = \"beginning\"\n\
                [[pipelines.other.routes]]\nto = \"others\"\n";
    let text = std::fs::read_to_string(&config).unwrap() + more;
    std::fs::write(&config, text).unwrap();
    let mut bridge = Bridge::start(&config, &["run"]);
    let (mut number, mut before) = (0, 0);
    while pair.accounts.world.clock.now() < until + 3 {
        let is_before = pair.accounts.world.clock.now() < until - 1;
        let is_after = pair.accounts.world.clock.now() > until;
        // What is written in between may be either.
        if is_before || is_after {
            let name = if is_before { "before" } else { "after" };
            pair.seed(&documents(name, number..number + 10));
            number += 10;
            before += if is_before { 10 } else { 0 };
        }
        sleep(Duration::from_millis(20)).await;
        if number == 300 {
            bridge.kill().await;
            pair.accounts.split("source", "shop", "orders").await.unwrap();
            bridge = Bridge::start(&config, &["run"]);
            number += 10;
        }
    }
    eventually("the pipeline has ended", || bridge.log().contains(ENDED)).await;
    assert_eq!((copied(&pair, "before"), copied(&pair, "after")), (before, 0), "{}", bridge.log());
    // The other pipeline goes on.
    pair.accounts.seed("source", "shop", "other", &documents("other", 0..5)).unwrap();
    eventually("the other one copies", || pair.count("target", "others") == 5).await;
    assert!(bridge.is_running());
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(!ended.log.contains("every pipeline has ended"), "{}", ended.log);
}

/// No change comes that is late enough: the clock ends it, some time after the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_idle_ends_some_seconds_after_the_time() {
    let pair = pair().await;
    pair.seed(&documents("before", 0..50));
    let until = pair.accounts.world.clock.now() + 2;
    let ended = Bridge::command(&configure(&pair, Some(until)), &["run"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(copied(&pair, "before"), 50);
    assert!(pair.accounts.world.clock.now() >= until + 10);
}
