//! Samples as the parser of the Prometheus project reads them.

use std::collections::BTreeMap;
use std::path::Path;

use cosmos_bridge_brokers::script;
use serde::Deserialize;

use crate::support::admin::AdminAddress;

/// A sample as the parser of the Prometheus project reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct Sample {
    pub(crate) family: String,
    pub(crate) r#type: String,
    pub(crate) help: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
}

pub(crate) async fn scrape(admin: AdminAddress, format: &str) -> Vec<Sample> {
    let accept = match format {
        "openmetrics" => "accept: application/openmetrics-text; version=1.0.0\r\n",
        _ => "",
    };
    let answer = admin.get("/metrics", accept).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = if format == "text" { "text/plain; version=0.0.4" } else { "openmetrics-text" };
    assert!(answer.head.contains(kind), "{}", answer.head);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/read_metrics.py");
    let lines = script(&path, &[format], &answer.body).await.unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The value of the only sample of a name whose labels include these.
pub(crate) fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        let is = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|v| v == value);
        sample.name == name && labels.iter().all(is)
    };
    let found: Vec<_> = samples.iter().filter(has).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    found[0].value.parse().unwrap()
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}
