//! `check --live` routes a sample of the documents.

use crate::support::{Bridge, Pair};
use crate::{RIGHT, WRONG, documents};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_refuses_a_route_that_no_document_fits_and_warns_of_one_that_some_do_not() {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..500));
    let config = pair.configure("", "", "", WRONG);
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(78), "{}", ended.log);
    insta::assert_snapshot!(ended.last_words(), @"
    pipeline `orders`, sink `archive`: 100 of 100 documents of a sample would become dead letters: field /nummer is missing (100)
    hint: The bridge would be parked. Correct the names of the fields in the pipeline's routes.
    ");

    let config = pair.configure("", "", "", RIGHT);
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.last_words(), "everything works; nothing was written");
    assert_eq!(pair.writes(), 0);
    // One request for the sample, and one for the check of the feed, each.
    assert!(pair.requests("source", "orders", &["feed"]) <= 4);

    let pair = Pair::alike().await;
    pair.seed("{\"id\":\"lost\",\"region\":\"r0\"}\n");
    pair.seed(&documents(0..9));
    let config = pair.configure("", "", "mode = \"latest-version\"\nstart = \"now\"", RIGHT);
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    insta::assert_snapshot!(ended.last_words(), @"
    warning: pipeline `orders`, sink `archive`: 1 of 10 documents of a sample would become dead letters: field /number is missing (1)
    everything works; nothing was written
    ");
    assert_eq!(pair.writes(), 0);
}
