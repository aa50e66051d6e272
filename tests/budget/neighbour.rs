//! The bridge and another client share a container: with `good_neighbour` the bridge gives way, measured by the
//! counters of the target.

#![allow(clippy::print_stdout, reason = "prints the figures for docs/budget.md")]
#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::options::{
    OperationOptionsBuilder, ThrottlingRetryOptionsBuilder, UserAgentSuffix,
};
use azure_data_cosmos::{AccountReference, CosmosClient, CosmosRuntime, RoutingStrategy};
use cosmos_bridge_emulator::container::Container;
use cosmos_bridge_emulator::world::ContainerSettings;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::support::{Bridge, Pair, eventually, machine};

/// The provisioned throughput of the container and the bridge's budget, in request units per second.
const PROVISIONED: u32 = 2000;

/// The share of the container that the other clients use. Their documents are new and smaller than 1 KB, which
/// costs 5.29 RU each.
const SHARE: f64 = 0.6;
const PRICE: f64 = 5.29;

/// How long the other clients send, and how long the bridge is measured after that.
const STAY: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_secs(12);

/// Shares of the container: the most that the bridge may use while the others send, and the least that it must
/// use again after that. Then the most that may be throttled of the others' requests; without the bridge
/// none is.
const LEFT: f64 = 0.40;
const BACK: f64 = 0.90;
const REFUSED: f64 = 0.005;

const BRIDGE: &str = "cosmos-bridge";
const OTHERS: &str = "foreground";
const SECOND: Duration = Duration::from_secs(1);

/// The time since the container was created, in whole slots of the counters.
fn now(container: &Container) -> Duration {
    Duration::from_millis(u64::try_from(container.made.elapsed().as_millis()).unwrap() / 100 * 100)
}

/// The bridge's share of the container in every sliding window between two times.
fn shares(container: &Container, window: Duration, from: Duration, to: Duration) -> Vec<f64> {
    let windows = container.stats.lock().unwrap().windows(BRIDGE, window, from, to);
    let most = f64::from(PROVISIONED) * window.as_secs_f64();
    windows.into_iter().map(|units| units / most).collect()
}

async fn client(pair: &Pair) -> ContainerClient {
    let endpoint = pair.accounts.endpoint("target").parse().unwrap();
    let account = AccountReference::with_authentication_key(endpoint, pair.accounts.key("target"));
    let no_retries = ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build();
    let options = OperationOptionsBuilder::new().with_throttling_retry_options(no_retries).build();
    let cosmos = CosmosClient::builder()
        .with_runtime(CosmosRuntime::builder().build().await.unwrap())
        .with_default_operation_options(options)
        .with_user_agent_suffix(UserAgentSuffix::try_from(OTHERS).unwrap())
        .build(account, RoutingStrategy::ProximityTo("East US".into()))
        .await
        .unwrap();
    cosmos.database_client("shop").container_client("copies", None).await.unwrap()
}

/// The other clients. For [`STAY`] they send at a fixed rate that does not depend on the answers.
async fn others(client: ContainerClient) {
    let client = Arc::new(client);
    let mut ticks =
        tokio::time::interval(Duration::from_secs_f64(PRICE / (SHARE * f64::from(PROVISIONED))));
    // Requests that a busy machine could not send in time are not sent in one burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests = JoinSet::new();
    let start = Instant::now();
    while start.elapsed() < STAY {
        let n = ticks.tick().await.duration_since(start).as_nanos();
        let client = Arc::clone(&client);
        requests.spawn(async move {
            let (id, region) = (format!("o{n}"), format!("r{}", n % 50));
            let item = serde_json::json!({"id": id, "region": region});
            // The account counts throttled requests.
            client.upsert_item(region, &id, item, None).await.is_ok()
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// The measurements of one run.
struct Seen {
    third: f64,
    shared: f64,
    refused: f64,
    requests: u64,
    bridge_refused: u64,
    back: f64,
    later: f64,
    text: String,
}

async fn run(good: bool) -> Seen {
    let pair = Pair::start(
        &ContainerSettings::new(&["/region"], 1),
        &ContainerSettings {
            throughput: Some(PROVISIONED),
            ..ContainerSettings::new(&["/region"], 1)
        },
    )
    .await;
    pair.accounts
        .seed(
            "source",
            "shop",
            "orders",
            &(0..25_000).fold(String::new(), |mut lines, n| {
                writeln!(lines, "{{\"id\":\"d{n}\",\"region\":\"r{}\"}}", n % 50).unwrap();
                lines
            }),
        )
        .unwrap();
    let sink = format!("budget = \"{PROVISIONED} RU/s\"\ngood_neighbour = {good}");
    let bridge = Bridge::start(&pair.configure(&sink, "", "", ""), &["run"]);
    let container =
        Arc::clone(pair.accounts.world.container("target", "shop", "copies").as_ref().unwrap());
    let client = client(&pair).await;
    eventually("the bridge uses its budget", || {
        let now = now(&container);
        shares(&container, 2 * SECOND, now.saturating_sub(2 * SECOND), now)
            .iter()
            .any(|share| *share >= 0.95)
    })
    .await;
    let come = now(&container);
    others(client).await;
    let go = now(&container);
    tokio::time::sleep(AFTER).await;
    let seen = look(&container, come, go);
    bridge.kill().await;
    seen
}

fn look(container: &Container, come: Duration, go: Duration) -> Seen {
    let mean =
        |from: Duration, to: Duration| shares(container, to.saturating_sub(from), from, to)[0];
    let others = container.stats.lock().unwrap().clients[OTHERS].clone();
    let bridge_refused = container.stats.lock().unwrap().clients[BRIDGE].throttled;
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let refused = others.throttled as f64 / others.requests as f64;
    let seconds = u32::try_from((go + AFTER).saturating_sub(come).as_secs()).unwrap();
    let each: Vec<_> = (0..seconds)
        .map(|second| come + second * SECOND)
        .map(|from| format!("{:.0}", 100.0 * mean(from, from + SECOND)))
        .collect();
    Seen {
        third: mean(come + 2 * SECOND, come + 3 * SECOND),
        shared: mean(come + 3 * SECOND, go),
        refused,
        requests: others.requests,
        bridge_refused,
        back: mean(go + 9 * SECOND, go + 10 * SECOND),
        later: mean(go + 10 * SECOND, go + 12 * SECOND),
        text: each.join(" "),
    }
}

impl Seen {
    fn show(&self, name: &str) {
        println!(
            "{name}: {:.1} % of the container in the third second, {:.1} % from then on; {:.2} % of \
             {} requests of others refused, {} of the bridge's; back to {:.1} % in the tenth second \
             after and {:.1} % from then on\n  % in each second: {}",
            100.0 * self.third,
            100.0 * self.shared,
            100.0 * self.refused,
            self.requests,
            self.bridge_refused,
            100.0 * self.back,
            100.0 * self.later,
            self.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_neighbour_gives_way_to_others_and_comes_back() {
    let _machine = machine::alone().await;
    // The run without the option is for comparison; both run concurrently to save time.
    let (good, usual) = tokio::join!(run(true), run(false));
    good.show("good neighbour");
    usual.show("without");
    assert!(good.requests > 2_000, "the others sent {} requests", good.requests);
    assert!(good.third <= LEFT && good.shared <= LEFT, "{} {}", good.third, good.shared);
    assert!(good.refused < REFUSED, "{}", good.refused);
    assert!(good.back >= BACK && good.later >= BACK, "{} {}", good.back, good.later);
}
