//! Every metric is documented and has the right value.

use std::collections::BTreeSet;

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::samples::{Sample, scrape, unix_now, value};
use crate::support::{Bridge, Pair};
use crate::{documents, with_admin};

const DOCS: &str = include_str!("../../docs/metrics.md");

/// A metric: its name in queries, its type, its labels.
type Described = (String, String, BTreeSet<String>);

/// The metrics in docs/metrics.md.
fn documented() -> BTreeSet<Described> {
    let rows = DOCS.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.trim_matches('`');
        if !name.starts_with("cosmos_bridge_") && !name.starts_with("process_") {
            return None;
        }
        let kind = cells.next()?.to_owned();
        let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned);
        Some((name.to_owned(), kind, labels.collect()))
    });
    rows.collect()
}

fn described(sample: &Sample) -> Described {
    let name = if sample.r#type == "histogram" { &sample.family } else { &sample.name };
    let labels = sample.labels.keys().filter(|label| *label != "le").cloned();
    (name.clone(), sample.r#type.clone(), labels.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let mut source = ContainerSettings::new(&["/region"], 1);
    source.retention_seconds = Some(3_600);
    let target = ContainerSettings::new(&["/region"], 1);
    let pair = Pair::start(&source, &target).await;
    pair.seed(&documents(0..50));
    // Its field is in an array, where the route does not reach it.
    pair.seed("{\"id\":\"lost\",\"region\":\"r0\",\"list\":[{\"secret\":1}]}\n");
    let budget = "budget = \"100000 RU/s\"";
    let route = "where = { path = \"/id\", not_equals = \"d0\" }\nexclude = [\"/list/secret\"]";
    let mode = "mode = \"all-versions-and-deletes\"\nhistory = \"1h\"\n";
    let config = pair.configure(budget, "", &format!("{mode}{budget}"), route);
    let (admin, _port) = with_admin(&config, "");
    let bridge = Bridge::start(&config, &["run"]);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;

    let samples = scrape(admin, "openmetrics").await;
    let found: BTreeSet<_> = samples.iter().map(described).collect();
    let documented = documented();
    assert!(documented.len() > 35, "{documented:?}");
    let missing: Vec<_> = documented.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}\nunknown {unknown:?}");
    assert!(samples.iter().all(|sample| !sample.help.is_empty()));

    let old = scrape(admin, "text").await;
    let names = |samples: &[Sample]| -> BTreeSet<_> {
        samples.iter().map(|sample| sample.name.clone()).collect()
    };
    assert_eq!(names(&old), names(&samples));

    let orders = ("pipeline", "orders");
    let archive = ("sink", "archive");
    let read = ("direction", "read");
    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    for (name, labels, expected) in [
        ("cosmos_bridge_changes_read_total", &[orders][..], 51.0),
        ("cosmos_bridge_changes_filtered_total", &[orders], 1.0),
        ("cosmos_bridge_changes_delivered_total", &[orders, archive], 49.0),
        ("cosmos_bridge_caught_up", &[orders, archive, ("range", "[,FF)")], 1.0),
        ("cosmos_bridge_lag_seconds", &[orders, archive], 0.0),
        ("cosmos_bridge_lag_documents", &[orders, archive], 0.0),
        ("cosmos_bridge_feed_ranges", &[orders], 1.0),
        ("cosmos_bridge_history_seconds", &[orders], 3_600.0),
        ("cosmos_bridge_parked_ranges", &[orders, archive], 0.0),
        ("cosmos_bridge_budget_request_units_per_second", &[read], 100_000.0),
        ("cosmos_bridge_sink_down_seconds", &[archive], 0.0),
        ("cosmos_bridge_ready", &[], 1.0),
    ] {
        assert!((of(name, labels) - expected).abs() < 1e-9, "{name}: {}", of(name, labels));
    }
    // The document that the route rejects.
    let letters = ["read", "route", "sink"]
        .map(|stage| of("cosmos_bridge_dead_letters_total", &[archive, ("stage", stage)]));
    assert!((letters.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{letters:?}");
    let writes = of("cosmos_bridge_sink_write_duration_seconds_count", &[archive]);
    assert!(writes > 0.0 && writes <= of("cosmos_bridge_sink_requests_total", &[archive]));
    assert!(of("cosmos_bridge_request_units_total", &[read]) > 0.0);
    assert!(of("process_resident_memory_bytes", &[]) > 1e6);
    let age = unix_now() - of("cosmos_bridge_last_checkpoint_timestamp_seconds", &[archive]);
    assert!((0.0..120.0).contains(&age), "{age}");
    let left = of("cosmos_bridge_history_left_seconds", &[archive, ("range", "[,FF)")]);
    assert!((3_480.0..=3_600.0).contains(&left), "{left}");
    bridge.kill().await;
}
