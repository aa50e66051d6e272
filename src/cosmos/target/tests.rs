use cosmos_bridge_cosmos::{Container, Write};
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};

use super::Target;
use crate::cosmos::local::{CHARGED, Local};

fn document() -> (PartitionKey, Document) {
    let json = serde_json::json!({"id": "1", "k": "key"});
    let document = json.as_object().unwrap().clone();
    (PartitionKey(vec![KeyValue::String("key".to_owned())]), document)
}

fn fault(local: &Local, operation: &str, times: Option<u64>, status: u16, substatus: u32) {
    local.accounts.fault(FaultRule {
        operation: Some(operation.to_owned()),
        times,
        then: Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() },
        ..FaultRule::default()
    });
}

#[tokio::test]
async fn an_answer_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    let write = Write::Upsert(&document);
    target.write(&key, "1", write).await;
    let plain = target.write(&key, "1", write).await;
    let plain_batch = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
    assert!(plain.charge > 0.0 && plain_batch.charge > plain.charge);
    for (status, substatus, cost) in CHARGED {
        fault(&local, "upsert", Some(1), status, substatus);
        let answer = target.write(&key, "1", write).await;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain.charge;
        assert!((more - cost).abs() < 0.005, "{status}/{substatus}: {more} more");

        fault(&local, "batch", Some(1), status, substatus);
        let answer = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain_batch.charge;
        assert!((more - cost).abs() < 0.005, "batch, {status}/{substatus}: {more} more");
    }
}

#[tokio::test]
async fn an_error_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    for (status, substatus, cost) in CHARGED {
        local.accounts.clear_faults();
        fault(&local, "upsert", None, status, substatus);
        let before = local.requests("upsert");
        let answer = target.write(&key, "1", Write::Upsert(&document)).await;
        let attempts = local.requests("upsert") - before;
        assert!(attempts > 1, "{attempts} attempts");
        assert!(answer.status >= 400, "{answer:?}");
        let charge = cost * f64::from(attempts);
        assert!((answer.charge - charge).abs() < 0.005, "{} RU", answer.charge);
    }
}
