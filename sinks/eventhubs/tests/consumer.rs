//! The consumer in the README reads what the sink wrote.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use cosmos_bridge_eventhubs_local::{LocalHubs, Options, python};
use cosmos_bridge_sink::{Operation, Outcome, Sink};
use support::{HUB, change, sink};
use tokio::process::Command;
use tokio::time::timeout;

const README: &str = include_str!("../README.md");

#[tokio::test]
async fn the_consumer_in_the_readme_reads_each_change_once() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 4)).await.unwrap();
    let connection = hubs.connection_string(None);
    let sink = sink(&connection);
    let mut delete = change("7", 2);
    delete.operation = Operation::Delete { expired: false };
    let changes = [change("7", 1), delete, change("131", 1)];
    // Twice, as after a lost answer.
    for _ in 0..2 {
        let written = sink.write(&changes).await;
        assert_eq!(written.outcomes, vec![Outcome::Delivered; 3]);
    }

    let code = README.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("consumer.py");
    // On loopback the client needs a patch that is not needed on a network.
    let mend = "from read_hub import mend_the_transport\nmend_the_transport()\n";
    tokio::fs::write(&script, format!("{mend}{code}")).await.unwrap();
    let mut command = Command::new(python::interpreter().await.unwrap());
    command.arg(&script).arg("3").env("HUB_CONNECTION_STRING", &connection);
    command.env("PYTHONPATH", python::script("read_hub.py").parent().unwrap());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_mins(2), command.output()).await.unwrap().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 3, "{printed}{said}");
    // The changes of one document are in order, independent of the partitions.
    let of_7: Vec<&str> = lines.iter().copied().filter(|line| line.contains("d-7")).collect();
    assert!(of_7[0].contains("'version': 1") && of_7[1].ends_with("None"), "{of_7:?}");
    lines.retain(|line| line.contains("d-131"));
    assert_eq!(lines.len(), 1);
}
