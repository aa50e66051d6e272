//! What the status says holds the bridge back, with one cause at a time.

use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};

use crate::support::{Bridge, Pair};
use crate::{documents, with_admin};

/// A cause, and what the status says.
#[derive(Default)]
struct Bottleneck {
    name: &'static str,
    /// Request units per second of source and target; none: as many as are asked for.
    throughput: [Option<u32>; 2],
    /// Options of the sink and of the source.
    options: [&'static str; 2],
    /// Of requests of this kind to this account.
    fault: Option<(&'static str, &'static str, Effect)>,
    /// All documents have one key.
    one_key: bool,
    held_back_by: &'static str,
}

fn delay(milliseconds: u64) -> Effect {
    Effect { delay_ms: Some(milliseconds), ..Effect::default() }
}

fn status(status: u16, substatus: u32) -> Effect {
    Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() }
}

fn bottlenecks() -> Vec<Bottleneck> {
    vec![
        Bottleneck {
            name: "budget for reading",
            options: ["", "budget = \"20 RU/s\"\npage_size = 20"],
            held_back_by: "the RU budget for reading source/shop/orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "budget for writing",
            options: ["budget = \"100 RU/s\"", ""],
            held_back_by: "the RU budget for writing target/shop/copies",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "throttled target",
            throughput: [None, Some(400)],
            held_back_by: "throttling by the service of requests to target/shop/copies",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "throttled source",
            options: ["", "page_size = 20"],
            fault: Some(("source", "feed", status(429, 3200))),
            held_back_by: "throttling by the service of requests to source/shop/orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "one hot key",
            throughput: [None, Some(2000)],
            options: ["budget = \"100%\"", ""],
            one_key: true,
            held_back_by: "a hot physical partition of target/shop/copies: its throughput is used up",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "slow target",
            options: ["concurrency = 2", ""],
            fault: Some(("target", "writes", delay(150))),
            held_back_by: "slow responses of sink archive",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "slow source",
            options: ["", "page_size = 5"],
            fault: Some(("source", "feed", delay(150))),
            held_back_by: "slow responses when reading pipeline orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "failing source",
            fault: Some(("source", "feed", status(503, 0))),
            held_back_by: "errors when reading pipeline orders",
            ..Bottleneck::default()
        },
        Bottleneck {
            name: "target that is down",
            fault: Some(("target", "writes", status(503, 0))),
            held_back_by: "sink archive, which is down",
            ..Bottleneck::default()
        },
        Bottleneck { name: "none", held_back_by: "nothing", ..Bottleneck::default() },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_ten_causes_is_named() {
    for bottleneck in bottlenecks() {
        let Bottleneck { name, throughput, options, fault, one_key, held_back_by } = bottleneck;
        let settings = |throughput| ContainerSettings {
            throughput,
            ..ContainerSettings::new(&["/region"], 2)
        };
        let pair = Pair::start(&settings(throughput[0]), &settings(throughput[1])).await;
        let mut lines = documents(0..4_000);
        if one_key {
            lines = lines
                .lines()
                .map(|line| line.replace("\"region\":\"r", "\"region\":\"same\",\"n\":\"") + "\n")
                .collect();
        }
        pair.seed(&lines);
        if let Some((account, operation, then)) = fault {
            pair.accounts.fault(FaultRule {
                account: Some(account.to_owned()),
                operation: Some(operation.to_owned()),
                // A target that is slow or down is so for every request, a source for every second one.
                every: (account == "source" && then.status.is_some()).then_some(2),
                then,
                ..FaultRule::default()
            });
        }
        let config = pair.configure(options[0], "", options[1], "");
        let (admin, _port) = with_admin(&config, "");
        let bridge = Bridge::start(&config, &["run"]);
        let said = format!("\"held_back_by\":\"{held_back_by}\"");
        admin.until("/status", 200, &said).await;
        // It stays so while the cause does.
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
            let status = admin.get("/status", "").await.unwrap().body;
            assert!(status.contains(&said), "{name}: {status}");
        }
        bridge.kill().await;
    }
}
