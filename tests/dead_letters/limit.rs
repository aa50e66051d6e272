//! A pipeline whose changes become dead letters one after the other is parked.

use cosmos_bridge_brokers::Port;

use crate::support::admin::AdminAddress;
use crate::support::evidence::lines_at;
use crate::support::{Bridge, Pair};
use crate::{RIGHT, UNLIMITED, WRONG, corrected, documents, replay};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_name_parks_the_pipeline_and_loses_nothing() {
    const COUNT: u32 = 5000;
    let pair = Pair::alike().await;
    pair.seed(&documents(0..COUNT));
    // What is read within the window before the first letters are counted is stored, too.
    let config = pair.configure("", "window = 1000", "page_size = 200", WRONG);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(65), "{}", ended.log);
    let said = ended.last_words();
    assert!(said.contains("exceed the limit of 10%; the last: field /nummer"), "{said}");
    assert!(said.contains("hint: ") && said.contains("cosmos-bridge dlq replay"), "{said}");
    assert_eq!(lines_at(&ended.log, "ERROR").len(), 2, "{}", ended.log);
    let letters = pair.letters().len() as u64;
    assert!((100..2000).contains(&letters), "{letters}");
    // The position is behind what is stored, and no further.
    assert_eq!(pair.positions(), [letters], "{}", ended.log);

    let config = corrected(&config);
    replay(&config, &[], 0).await;
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.total("delivered"), u64::from(COUNT) - letters, "{}", ended.log);
    assert!(pair.is_equal(), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_a_corrected_route_goes_on_with_its_letters_still_stored() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..1000));
    let limit = "dead_letters = { limit = 50 }";
    let config = pair.configure("", limit, "page_size = 100", WRONG);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(65), "{}", ended.log);
    let letters = pair.letters().len();
    let config = corrected(&config);
    let ended = Bridge::command(&config, &["run", "--until-caught-up"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(pair.count("target", "copies"), 1000 - letters);
    assert_eq!(ended.total("dead_letters_stored"), letters as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bad_documents_pass_and_so_does_what_is_unlimited() {
    for (bad, pipeline) in [(50, ""), (1500, UNLIMITED)] {
        let pair = Pair::alike().await;
        let without = |n| format!("{{\"id\":\"bad{n}\",\"region\":\"r0\"}}\n");
        pair.seed(&documents(0..500));
        pair.seed(&(0..bad).map(without).collect::<Vec<_>>().concat());
        let config = pair.configure("", pipeline, "", RIGHT);
        let ended = Bridge::catch_up(&config).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.log);
        assert_eq!(ended.total("delivered"), 500);
        assert_eq!(pair.letters().len(), bad);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_pipeline_shows_in_status_and_leaves_others_alone() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..1000));
    let config = pair.configure("", "", "", WRONG);
    let port = Port::free().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let admin = format!("[admin]\naddress = \"127.0.0.1:{}\"\n", port.number());
    let other = "[sinks.file.lines]\npath = \"lines\"\n[pipelines.other]\nroutes = [{ to = \"lines\" \
                 }]\nsource = { account = \"source\", database = \"shop\", container = \"orders\", \
                 start = \"beginning\" }\n";
    std::fs::write(&config, admin + &text + other).unwrap();
    let admin = AdminAddress(port.number());
    let bridge = Bridge::start(&config, &["run"]);
    let answer = admin.until("/status", 200, "\"state\":\"parked\"").await;
    assert!(answer.body.contains("exceed the limit of 10%"), "{}", answer.body);
    admin.until("/status", 200, "\"state\":\"caught up\"").await;
    let answer = admin.until("/ready", 503, "\"cause\":\"parked\"").await;
    assert!(!answer.body.contains("no_progress"), "{}", answer.body);
    let letters = pair.letters().len();
    let metrics = admin.get("/metrics", "").await.unwrap().body;
    let stored = "cosmos_bridge_dead_letters_stored{pipeline=\"orders\",sink=\"archive\"}";
    assert!(metrics.contains(&format!("{stored} {letters}")), "{metrics}");
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(65));

    // Also after a restart, with a limit that lets it run.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(WRONG, RIGHT)).unwrap();
    let bridge = Bridge::start(&config, &["run"]);
    let stored = format!("\"dead_letters\":0,\"dead_letters_stored\":{letters}");
    admin.until("/status", 200, &stored).await;
    let status = Bridge::command(&config, &["status"]).await;
    let line = format!("{letters} DEAD LETTERS  0 since the start");
    assert!(status.log.replace(',', "").contains(&line), "{}", status.log);
    drop(bridge);
}
