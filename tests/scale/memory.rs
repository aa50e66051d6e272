//! The memory of the bridge does not depend on the length of the backlog, nor on how long a sink is away.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]
#![allow(clippy::print_stdout, reason = "prints the figures")]

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Pair, eventually, machine};

/// Kibibytes.
const MIB: u64 = 1024;

/// Puts documents of about this size into the source.
fn seed(pair: &Pair, numbers: std::ops::Range<usize>, bytes: usize) {
    let text = "x".repeat(bytes - 60);
    for n in numbers {
        pair.seed(&format!("{{\"id\":\"d{n}\",\"region\":\"r{}\",\"text\":\"{text}\"}}", n % 1000));
    }
}

/// Copies a backlog and returns the peak memory of the bridge, in kibibytes.
async fn peak_of(documents: usize, bytes: usize, partitions: u32) -> u64 {
    let settings = ContainerSettings::new(&["/region"], partitions);
    let pair = Pair::start(&settings, &settings).await;
    seed(&pair, 0..documents, bytes);
    let config = pair.configure("", "", "", "");
    let bridge = Bridge::start(&config, &["run"]);
    eventually("all is copied", || pair.count("target", "copies") == documents).await;
    let peak = bridge.peak_kib();
    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
    println!("{documents} documents of {bytes} bytes on {partitions} ranges: {} MiB", peak / MIB);
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_small_documents_takes_no_more_when_it_is_longer() {
    let _machine = machine::alone().await;
    // Peaks of equal runs differ by up to 30 MiB, so two runs of each length are compared. The shorter
    // one fills what the bridge may hold, about 140 MiB. Kept whole, 40,000 more documents would take 200 MiB.
    let short = peak_of(30_000, 1024, 4).await.max(peak_of(30_000, 1024, 4).await);
    let long = [peak_of(70_000, 1024, 4).await, peak_of(70_000, 1024, 4).await];
    assert!(long.iter().all(|peak| *peak <= 200 * MIB), "{long:?} KiB");
    let grown = long.iter().all(|peak| *peak > short + 30 * MIB);
    assert!(!grown, "{short} KiB for 30,000 documents, {long:?} KiB for 70,000");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_on_many_ranges_stay_within_bounds() {
    let _machine = machine::shared().await;
    let peak = peak_of(120, 1_500_000, 20).await;
    assert!(peak <= 400 * MIB, "{peak} KiB");
}

/// With the default spool, of which the client of Kafka may hold as much again.
#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_takes_no_more_when_kafka_is_away() {
    const DOCUMENTS: usize = 100_000;
    let _machine = machine::alone().await;
    let settings = ContainerSettings::new(&["/region"], 4);
    let pair = Pair::start(&settings, &settings).await;
    let mut kafka = cosmos_bridge_brokers::Kafka::start().await.unwrap();
    kafka.create_topic("orders", 3, &[]).await.unwrap();
    let sinks = format!(
        "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\ncontainer = \"copies\"\n\
         [sinks.kafka.topic]\nservers = [\"{}\"]\ntopic = \"orders\"\n",
        kafka.bootstrap()
    );
    let routes = "to = \"archive\"\n[[pipelines.orders.routes]]\nto = \"topic\"";
    let config = pair.configure_sinks(&sinks, "", "start = \"beginning\"", routes);
    seed(&pair, 0..1000, 1024);
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the first are copied", || pair.count("target", "copies") == 1000).await;
    kafka.kill().await;
    seed(&pair, 1000..DOCUMENTS, 1024);
    eventually("all is copied", || pair.count("target", "copies") == DOCUMENTS).await;
    let peak = bridge.peak_kib();
    println!("{DOCUMENTS} documents without Kafka: {} MiB", peak / MIB);
    assert!(peak <= 300 * MIB, "{peak} KiB");
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}
