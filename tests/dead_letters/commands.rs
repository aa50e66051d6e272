//! Listing, showing, exporting and discarding.

use serde_json::Value;

use crate::support::{Bridge, eventually};
use crate::{buried, output};

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_read_while_the_bridge_runs_and_changed_only_when_it_does_not() {
    let (pair, config) = buried(20).await;
    let bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge runs", || {
        bridge.log().contains("\"reading\"") || bridge.log().contains(" reading ")
    })
    .await;

    let table = output(&config, &["dlq", "list", "--limit", "3"], 0).await;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.starts_with("NUMBER"), "{table}");
    assert!(!table.contains("planted"), "{table}");
    let lines = output(&config, &["dlq", "list", "--json", "--id", "d7"], 0).await;
    let letter: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((&letter["source_id"], &letter["stage"]), (&"d7".into(), &"route".into()));
    assert_eq!(letter.get("document"), None);
    let number = letter["number"].to_string();
    let shown = output(&config, &["dlq", "show", &number], 0).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["document"]["note"], "planted: of 7");
    assert_eq!(shown["source_key"], serde_json::json!(["r0"]));
    // The log has the hash in place of the id.
    let hash = shown["document_hash"].as_str().unwrap();
    let by_hash = output(&config, &["dlq", "show", hash], 0).await;
    assert_eq!(serde_json::from_str::<Value>(&by_hash).unwrap(), shown);
    let listed = output(&config, &["dlq", "list", "--document", hash], 0).await;
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let exported = output(&config, &["dlq", "export", "--stage", "route"], 0).await;
    assert_eq!(exported.lines().count(), 20);
    let all = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(all.map(|letter| letter["document"]["n"].as_u64().unwrap()).eq(0..20));
    let file = pair.folder.path().join("letters.jsonl");
    let path = file.display().to_string();
    output(&config, &["dlq", "export", "--output", &path], 0).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported);
    let counts = output(&config, &["dlq", "list", "--summary", "--json"], 0).await;
    assert!(counts.contains("\"letters\":20"), "{counts}");
    for none in [["--sink", "nope"], ["--since", "2999-01-01T00:00:00Z"], ["--stage", "sink"]] {
        let arguments: Vec<_> = ["dlq", "export"].into_iter().chain(none).collect();
        assert_eq!(output(&config, &arguments, 0).await, "", "{none:?}");
    }

    for arguments in [&["dlq", "replay"][..], &["dlq", "discard", "--all", "--yes"]] {
        let ended = Bridge::command(&config, arguments).await;
        assert_eq!(ended.code(), Some(73), "{}", ended.log);
        assert!(ended.log.contains("Stop the bridge first"), "{}", ended.log);
    }
    assert_eq!(pair.letters().len(), 20);
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn discarding_needs_a_filter_and_an_answer() {
    let (pair, config) = buried(10).await;
    let cases: [(&[&str], i32, &str); 5] = [
        (&[], 2, "needs a filter, or --all"),
        (&["--all"], 2, "no terminal to ask"),
        (&["--id", "d3", "--yes"], 0, "discarded 1 dead letters"),
        (&["--cause", "nothing like it", "--yes"], 0, "discarded 0 dead letters"),
        (&["--all", "--yes"], 0, "discarded 9 dead letters"),
    ];
    for (filters, code, said) in cases {
        let arguments: Vec<_> = ["dlq", "discard"].iter().chain(filters).copied().collect();
        let ended = Bridge::command(&config, &arguments).await;
        assert_eq!(ended.code(), Some(code), "{filters:?}: {}", ended.log);
        assert!(ended.log.contains(said), "{filters:?}: {}", ended.log);
    }
    assert_eq!(pair.letters(), []);
    assert_eq!(pair.count("target", "copies"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() {
    let (pair, config) = buried(1).await;
    let ended = Bridge::command(&config, &["dlq", "show", "77"]).await;
    assert_eq!(ended.code(), Some(66), "{}", ended.log);
    assert!(ended.log.contains("no dead letter with the number 77"), "{}", ended.log);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[state]\nfile = \"another.db\"\n")).unwrap();
    for command in ["list", "replay", "export"] {
        let ended = Bridge::command(&config, &["dlq", command]).await;
        assert_eq!(ended.code(), Some(73), "{}", ended.log);
        assert!(ended.log.contains("there is no state file"), "{}", ended.log);
    }
    assert!(!pair.folder.path().join("another.db").exists());
}
