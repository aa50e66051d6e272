//! What the status says holds the bridge back, with one cause at a time.

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Pair};
use crate::{documents, with_admin};

/// A cause, and what the status says.
struct Bottleneck {
    name: &'static str,
    /// Options of the sink and of the source.
    options: [&'static str; 2],
    held_back_by: &'static str,
}

fn bottlenecks() -> Vec<Bottleneck> {
    vec![
        Bottleneck {
            name: "budget for reading",
            options: ["", "budget = \"20 RU/s\"\npage_size = 20"],
            held_back_by: "the RU budget for reading source/shop/orders",
        },
        Bottleneck {
            name: "budget for writing",
            options: ["budget = \"100 RU/s\"", ""],
            held_back_by: "the RU budget for writing target/shop/copies",
        },
        Bottleneck { name: "none", options: ["", ""], held_back_by: "nothing" },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_is_named() {
    for bottleneck in bottlenecks() {
        let Bottleneck { name, options, held_back_by } = bottleneck;
        let settings = ContainerSettings::new(&["/region"], 2);
        let pair = Pair::start(&settings, &settings).await;
        pair.seed(&documents(0..4_000));
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
