//! A container is not copied into itself, also if its account has several names.

use crate::support::{Bridge, Pair};

/// The configuration of two pipelines: `first` from the source, `second` into it. `again` is the source's
/// account by another name.
fn configuration(pair: &Pair, sinks: &str, pipelines: &str) -> std::path::PathBuf {
    let endpoint = pair.accounts.endpoint("source").replace("127.0.0.1", "localhost");
    assert!(endpoint.contains("localhost"), "{endpoint}");
    let text = format!(
        "{}[accounts.again]\nendpoint = \"{}\"\nkey = {{ file = \"source.key\" }}\n{sinks}\n{pipelines}\n",
        pair.account_tables(),
        endpoint.trim_end_matches('/'),
    );
    let path = pair.folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn sink(name: &str, account: &str, container: &str) -> String {
    format!(
        "[sinks.cosmos.{name}]\naccount = \"{account}\"\ndatabase = \"shop\"\ncontainer = \"{container}\"\n"
    )
}

fn pipeline(name: &str, account: &str, container: &str, sink: &str) -> String {
    format!(
        "[pipelines.{name}.source]\naccount = \"{account}\"\ndatabase = \"shop\"\n\
         container = \"{container}\"\nmode = \"latest-version\"\nstart = \"beginning\"\n\
         [[pipelines.{name}.routes]]\nto = \"{sink}\"\n"
    )
}

/// `run` and `check --live` refuse the configuration in the same words, and write nothing.
async fn refusal(pair: &Pair, config: &std::path::Path) -> String {
    let check = Bridge::command(config, &["check"]).await;
    assert_eq!(check.code(), Some(0), "names alone show nothing: {}", check.log);
    let mut said = Vec::new();
    for arguments in [&["run", "--until-caught-up"][..], &["check", "--live"]] {
        let ended = Bridge::command(config, arguments).await;
        assert_eq!(ended.code(), Some(78), "{arguments:?}: {}", ended.log);
        said.push(ended.last_words());
    }
    assert_eq!(said[0], said[1]);
    assert_eq!((pair.count("source", "orders"), pair.writes()), (1, 0));
    said.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_under_two_names_is_not_copied_into_itself() {
    let pair = Pair::alike().await;
    pair.seed("{\"id\":\"one\",\"region\":\"north\"}\n");
    let sinks = sink("copies", "again", "orders");
    let config = configuration(&pair, &sinks, &pipeline("orders", "source", "orders", "copies"));
    let said = refusal(&pair, &config).await;
    let message = "pipeline `orders` reads the container that its sink `copies` writes to";
    assert!(said.contains(message), "{said}");
    assert!(said.contains("Choose another container"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_that_only_the_accounts_show_is_refused() {
    let pair = Pair::alike().await;
    pair.seed("{\"id\":\"one\",\"region\":\"north\"}\n");
    let sinks = sink("there", "target", "copies") + &sink("back", "again", "orders");
    let pipelines = pipeline("out", "source", "orders", "there")
        + &pipeline("home", "target", "copies", "back");
    let config = configuration(&pair, &sinks, &pipelines);
    let said = refusal(&pair, &config).await;
    assert!(said.contains("pipelines copy in a cycle: `home`, `out`"), "{said}");
}
