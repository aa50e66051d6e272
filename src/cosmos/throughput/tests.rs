use azure_data_cosmos::models::ThroughputProperties;
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;

use super::{Provisioned, units};
use crate::cosmos::CosmosErrorKind;
use crate::cosmos::local::Local;

#[test]
fn an_offer_is_its_manual_value_or_its_maximum() {
    let offer = |json: &str| serde_json::from_str::<ThroughputProperties>(json).unwrap();
    let full = |content: &str| {
        offer(&format!(
            r#"{{"resource":"","content":{content},"id":"o","offerResourceId":"r",
                "offerType":"Invalid","offerVersion":"V2"}}"#
        ))
    };
    let autoscaled = r#"{"offerThroughput":400,"offerAutopilotSettings":{"maxThroughput":4000}}"#;
    for (offer, expected) in [
        (ThroughputProperties::manual(400), Some(400.0)),
        (ThroughputProperties::autoscale(4000, None), Some(4000.0)),
        (ThroughputProperties::autoscale(4000, Some(10)), Some(4000.0)),
        (full(autoscaled), Some(4000.0)),
        (full("{}"), None),
    ] {
        assert_eq!(units(&offer), expected);
    }
}

#[tokio::test]
async fn a_change_of_throughput_is_seen() {
    let settings =
        ContainerSettings { throughput: Some(1000), ..ContainerSettings::new(&["/k"], 1) };
    let local = Local::start(&settings).await;
    let container = local.accounts.world.container("source", "shop", "orders").unwrap();
    for (set, expected) in [
        (Some(1000), Provisioned::Container(1000.0)),
        (Some(400), Provisioned::Container(400.0)),
        (None, Provisioned::Unknown),
        (Some(5000), Provisioned::Container(5000.0)),
    ] {
        container.throttle.set_throughput(set);
        assert_eq!(local.container.throughput().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_serverless_account_has_none_and_a_refusal_is_an_error() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let refused = |status, message: &str| {
        local.accounts.clear_faults();
        local.accounts.fault(FaultRule {
            operation: Some("metadata".to_owned()),
            then: Effect {
                status: Some(status),
                message: Some(message.to_owned()),
                ..Effect::default()
            },
            ..FaultRule::default()
        });
    };
    refused(400, "Reading or replacing offers is not supported for serverless accounts.");
    assert_eq!(local.container.throughput().await.unwrap(), Provisioned::Unknown);
    for (status, kind) in [
        (400, CosmosErrorKind::Other),
        (401, CosmosErrorKind::Denied),
        (403, CosmosErrorKind::Denied),
    ] {
        refused(status, "no");
        let error = local.container.throughput().await.unwrap_err();
        assert_eq!((error.answer.status, error.kind()), (status, kind));
        assert_eq!(error.attempt, "reading the throughput of `source/shop/orders`");
    }
}
