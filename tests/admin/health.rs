//! Liveness and readiness under induced faults.

use std::time::Duration;

use cosmos_bridge_brokers::Endpoint;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::samples::{scrape, unix_now, value};
use crate::support::admin::AdminAddress;
use crate::support::{Bridge, Pair, eventually};
use crate::{documents, with_admin};

/// The interval between two liveness probes. Every probe of a bridge that is not stuck must succeed.
const SOON: Duration = Duration::from_millis(50);

/// Probes liveness until `work` is done, and fails if one probe fails.
async fn alive_during<T>(admin: AdminAddress, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(SOON) => {
                let answer = admin.get("/live", "").await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_makes_it_unready_until_it_is_back() {
    let pair = Pair::alike().await;
    let mut endpoint = Endpoint::start().await.unwrap();
    let sinks = format!("[sinks.http.hook]\nurl = \"{}orders\"\n", endpoint.url());
    let start = "start = \"beginning\"\npoll_interval = \"100ms\"";
    let config = pair.configure_sinks(&sinks, "", start, "to = \"hook\"");
    let (admin, _port) = with_admin(&config, "sink_down = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 200, "true").await;
    pair.seed(&documents(0..5));
    eventually("events arrive", || endpoint.taken().unwrap().len() == 5).await;
    endpoint.kill().await;
    pair.seed(&documents(5..10));
    let down = alive_during(admin, admin.until("/ready", 503, "sink_down")).await;
    assert!(down.body.contains("\"sink\":\"hook\""), "{}", down.body);
    let status = Bridge::command(&config, &["status"]).await;
    assert_eq!(status.code(), Some(3), "{}", status.log);
    assert!(status.log.contains("sink hook has failed for"), "{}", status.log);
    let samples = scrape(admin, "openmetrics").await;
    assert!(value(&samples, "cosmos_bridge_sink_down_seconds", &[("sink", "hook")]) >= 2.0);
    assert!(value(&samples, "cosmos_bridge_lag_seconds", &[("sink", "hook")]) > 0.0);
    let causes = ["throttled", "hot_key", "busy", "moved", "fault"].map(|cause| {
        value(&samples, "cosmos_bridge_sink_errors_total", &[("sink", "hook"), ("cause", cause)])
    });
    assert!(causes.iter().sum::<f64>() >= 1.0, "{causes:?}");
    let reasons = "cosmos_bridge_unready_reasons";
    assert!(value(&samples, reasons, &[("cause", "sink_down")]) > 0.5);
    assert!(value(&samples, "cosmos_bridge_ready", &[]) < 0.5);

    endpoint.restart().await.unwrap();
    alive_during(admin, admin.until("/ready", 200, "true")).await;
    eventually("all events arrive", || endpoint.taken().unwrap().len() == 10).await;
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_gets_on_no_more_makes_it_unready_until_it_does() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..5));
    let config = pair.configure("", "", "poll_interval = \"100ms\"", "");
    let (admin, _port) = with_admin(&config, "no_progress = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        operation: Some("feed".to_owned()),
        then: Effect { status: Some(503), ..Effect::default() },
        ..FaultRule::default()
    });
    pair.seed(&documents(5..10));
    let stuck = alive_during(admin, admin.until("/ready", 503, "no_progress")).await;
    assert!(stuck.body.contains("\"range\":\"[,FF)\""), "{}", stuck.body);
    let samples = scrape(admin, "openmetrics").await;
    assert!(value(&samples, "cosmos_bridge_lag_seconds", &[]) >= 2.0);
    assert!(value(&samples, "cosmos_bridge_caught_up", &[]) < 0.5);
    assert!(value(&samples, "cosmos_bridge_read_down_seconds", &[]) > 0.0);
    pair.accounts.clear_faults();
    alive_during(admin, admin.until("/ready", 200, "true")).await;
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    bridge.kill().await;
}

/// An endless jq expression blocks a runtime thread for ever. Only the admin address is served any more when
/// all threads are blocked, or when the blocked thread is the one that polls for I/O events: the other
/// threads sleep until it does.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_process_that_is_stuck_is_not_alive() {
    let threads = std::thread::available_parallelism().unwrap().get();
    let ranges = 2 * u32::try_from(threads).unwrap();
    let settings = ContainerSettings::new(&["/region"], ranges);
    let pair = Pair::start(&settings, &ContainerSettings::new(&["/region"], 1)).await;
    let jq = "jq = 'if .id == \"calm\" then . else until(false; .) end'";
    let config = pair.configure("", "", "poll_interval = \"100ms\"", jq);
    let (admin, _port) = with_admin(&config, "stuck = \"2s\"");
    let bridge = Bridge::start(&config, &["run"]);
    pair.seed("{\"id\":\"calm\",\"region\":\"r\"}\n");
    admin.until("/ready", 200, "true").await;
    eventually("the document `calm` is copied", || pair.count("target", "copies") == 1).await;
    pair.seed(&documents(0..1000));
    admin.until("/live", 503, "\"alive\":false").await;
    let status = admin.get("/status", "").await.unwrap();
    assert!(status.body.contains("\"alive\":false"), "{}", status.body);
    let samples = scrape(admin, "openmetrics").await;
    let beat = value(&samples, "cosmos_bridge_heartbeat_timestamp_seconds", &[]);
    assert!(unix_now() - beat >= 2.0);
    // Changes that are read and not routed yet are in flight, so their ranges are not reported as caught up.
    let below = |name: &str, limit: f64| {
        let named = samples.iter().filter(|sample| sample.name == name);
        named.filter(|sample| sample.value.parse::<f64>().unwrap() < limit).count()
    };
    let caught_up = ranges as usize - below("cosmos_bridge_caught_up", 0.5);
    assert!(caught_up < ranges as usize, "all have caught up");
    assert_eq!(below("cosmos_bridge_lag_seconds", f64::MIN_POSITIVE), caught_up);
    assert_eq!(pair.count("target", "copies"), 1);
    bridge.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_starts_is_alive_and_not_ready() {
    let pair = Pair::alike().await;
    pair.accounts.fault(FaultRule {
        account: Some("source".to_owned()),
        then: Effect { delay_ms: Some(2_000), ..Effect::default() },
        ..FaultRule::default()
    });
    let config = pair.configure("", "", "", "");
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/ready", 503, "starting").await;
    assert_eq!(admin.get("/live", "").await.unwrap().status, 200);
    scrape(admin, "openmetrics").await;
    pair.accounts.clear_faults();
    admin.until("/ready", 200, "true").await;
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
}
