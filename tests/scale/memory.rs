//! The memory of the bridge does not depend on the length of the backlog.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]
#![allow(clippy::print_stdout, reason = "prints the figures")]

use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Pair, eventually, machine};

/// Kibibytes.
const MIB: u64 = 1024;

/// Copies a backlog and returns the peak memory of the bridge, in kibibytes.
async fn peak_of(documents: usize, bytes: usize, partitions: u32) -> u64 {
    let settings = ContainerSettings::new(&["/region"], partitions);
    let pair = Pair::start(&settings, &settings).await;
    let text = "x".repeat(bytes - 60);
    for n in 0..documents {
        pair.seed(&format!("{{\"id\":\"d{n}\",\"region\":\"r{}\",\"text\":\"{text}\"}}", n % 1000));
    }
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
