//! A cluster of three nodes: slots, redirections, slots that move, and a node that is gone.

use std::time::Duration;

use cosmos_bridge_brokers::Redis;
use cosmos_bridge_redis::{Mode, Server, Settings};
use cosmos_bridge_sink::{Cause, Change, Outcome, Sink, Wait};

use crate::check::check;
use crate::support::{
    EXPIRY, MODES, delete, deliver, deliver_at_last, reason, settings, sink, stream, upsert,
};

fn cluster_settings(nodes: &[Redis], key: &str, mode: Mode) -> Settings {
    let mut settings = settings(nodes[0].port(), key, mode);
    settings.server.cluster = true;
    settings.server.servers = nodes
        .iter()
        .map(|node| Server { host: "127.0.0.1".to_owned(), port: node.port() })
        .collect();
    settings
}

async fn size(node: &Redis) -> usize {
    node.cli(&["DBSIZE"]).await.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_all_slots_are_written_and_follow_their_slots() {
    let nodes = Redis::cluster(3).await.unwrap();
    for mode in [MODES[0], MODES[1]] {
        check(cluster_settings(&nodes, "order:{id}", mode)).await.unwrap();
    }
    check(cluster_settings(&nodes, "changes", stream())).await.unwrap();
    // One node is enough to find the others.
    let mut one = cluster_settings(&nodes, "order:{id}", MODES[0]);
    one.server.servers.truncate(1);
    let sink = sink(one);
    let all =
        |version| -> Vec<Change> { (0..500).map(|n| upsert(&n.to_string(), version)).collect() };
    deliver(&sink, &all(1)).await;
    let sizes = [size(&nodes[0]).await, size(&nodes[1]).await, size(&nodes[2]).await];
    // A document and its version, which are in one slot.
    assert_eq!(sizes.iter().sum::<usize>(), 1000);
    assert!(sizes.iter().all(|size| *size > 200), "{sizes:?}");
    // Scripts are known on each node for itself.
    nodes[1].cli(&["SCRIPT", "FLUSH"]).await.unwrap();
    deliver(&sink, &all(2)).await;

    // Slots move from the first node to the second while the sink writes.
    let id = |node: &Redis| {
        let node = node.port();
        async move {
            let output = tokio::process::Command::new("redis-cli")
                .args(["-p", &node.to_string(), "CLUSTER", "MYID"])
                .output()
                .await
                .unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
    };
    let (from, to) = (id(&nodes[0]).await, id(&nodes[1]).await);
    let address = format!("127.0.0.1:{}", nodes[0].port());
    let reshard = [
        "--cluster",
        "reshard",
        &address,
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        "1500",
        "--cluster-yes",
        "--cluster-pipeline",
        "1",
    ];
    let (moved, versions) = tokio::join!(nodes[0].cli(&reshard), async {
        let mut version = 2;
        loop {
            version += 1;
            deliver_at_last(&sink, &all(version)).await;
            // Long enough that the reshard is over in the end.
            let info = nodes[1].cli(&["CLUSTER", "NODES"]).await.unwrap();
            let of_second = info.lines().find(|line| line.contains("myself")).unwrap();
            if of_second.contains(" 0-1499 ") || of_second.ends_with("0-1499") || version > 300 {
                return version;
            }
        }
    });
    moved.unwrap();
    deliver(&sink, &all(versions + 1)).await;
    deliver(&sink, &[delete("7", versions + 2)]).await;
    deliver(&sink, &[upsert("7", versions)]).await;
    let found: i64 = {
        let mut found = 0;
        for node in &nodes {
            let values = node.values("order:*").await.unwrap();
            let wanted = format!("\"version\":{}}}", versions + 1);
            assert!(values.iter().all(|v| v.value.as_str().unwrap().ends_with(&wanted)));
            found += i64::try_from(values.len()).unwrap();
        }
        found
    };
    assert_eq!(found, 499);
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_holds_up_its_slots_until_it_is_back() {
    let mut nodes = Redis::cluster(3).await.unwrap();
    let mut settings = cluster_settings(&nodes, "order:{id}", MODES[0]);
    settings.server.request_timeout = Duration::from_secs(2);
    let sink = sink(settings);
    let all =
        |version| -> Vec<Change> { (0..100).map(|n| upsert(&n.to_string(), version)).collect() };
    deliver(&sink, &all(1)).await;
    nodes[1].kill().await;
    let written = sink.write(&all(2)).await;
    assert_eq!(written.wait, Some(Wait { cause: Cause::Busy, retry_after: None }), "{written:?}");
    let deferred = |o: &&Outcome| matches!(o, Outcome::Deferred { .. });
    let waiting = written.outcomes.iter().filter(deferred).count();
    assert!(waiting > 10, "{waiting}");
    // After a while the other nodes notice it, and take no writes either.
    let down = "the cluster is down (CLUSTERDOWN The cluster is down)";
    let noticed = async {
        loop {
            let written = sink.write(&all(2)).await;
            if written.outcomes.iter().any(|outcome| reason(outcome).ends_with(down)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed).await.unwrap();
    nodes[1].restart().await.unwrap();
    deliver_at_last(&sink, &all(3)).await;
    let streams = crate::support::sink(cluster_settings(&nodes, "changes-{id}", stream()));
    deliver_at_last(&streams, &all(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_and_a_cluster_without_slots_are_named() {
    let nodes = Redis::cluster(3).await.unwrap();
    let plain = sink(settings(nodes[0].port(), "order:{id}", Mode::Set(EXPIRY)));
    let changes: Vec<Change> = (0..20).map(|n| upsert(&n.to_string(), 1)).collect();
    let written = plain.write(&changes).await;
    let address = format!("writing to redis://127.0.0.1:{}/0", nodes[0].port());
    let cross = written.outcomes.iter().all(|outcome| {
        reason(outcome)
            .starts_with(&format!("{address}: the server is a node of a cluster (CROSSSLOT "))
    });
    assert!(cross, "{written:?}");
    let written: Vec<String> = {
        let mut reasons = Vec::new();
        for change in &changes {
            let written = plain.write(std::slice::from_ref(change)).await;
            reasons.push(reason(&written.outcomes[0]).to_owned());
        }
        reasons
    };
    let moved = format!("{address}: the server is a node of a cluster (MOVED ");
    assert!(written.iter().any(|reason| reason.starts_with(&moved)), "{written:?}");
    let error = check(settings(nodes[1].port(), "order:{id}", Mode::Set(EXPIRY))).await;
    let other = check(settings(nodes[2].port(), "order:{id}", Mode::Set(EXPIRY))).await;
    let hints: Vec<_> =
        [error, other].into_iter().filter_map(Result::err).map(|error| error.hint).collect();
    assert!(hints.contains(&Some("Set `cluster = true`.".to_owned())), "{hints:?}");

    let empty = Redis::builder().node().start().await.unwrap();
    let written = sink(settings(empty.port(), "order:{id}", Mode::Set(EXPIRY)))
        .write(&[upsert("a", 1)])
        .await;
    let down = "the cluster is down (CLUSTERDOWN Hash slot not served)";
    assert!(reason(&written.outcomes[0]).ends_with(down), "{written:?}");
}
