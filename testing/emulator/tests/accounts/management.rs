//! The management interface and the code behind it.

use cosmos_bridge_emulator::{ContainerSettings, ControlError, LocalAccounts};

use crate::support::keyed;

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_container_again_changes_nothing_unless_it_differs() {
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    let create = async |settings: ContainerSettings| {
        accounts.create_container("source", "db", "c", &settings).await
    };
    create(keyed(3)).await.unwrap();
    accounts.seed("source", "db", "c", "{\"id\":\"1\",\"pk\":\"a\"}\n").unwrap();
    create(keyed(3)).await.unwrap();
    assert_eq!(accounts.state("source", "db", "c").unwrap().documents, 1);
    assert_eq!(accounts.state("source", "db", "c").unwrap().ranges.len(), 3);
    let other = ContainerSettings { default_ttl: Some(5), ..keyed(3) };
    assert!(matches!(create(other).await, Err(ControlError::Different)));
    // A second container must not wipe the database.
    accounts.create_container("source", "db", "d", &keyed(1)).await.unwrap();
    assert_eq!(accounts.state("source", "db", "c").unwrap().documents, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checksum_knows_contents_and_not_order_keys_or_spelling() {
    let accounts = LocalAccounts::start(&["source", "target"]).await.unwrap();
    accounts.create_container("source", "db", "c", &keyed(3)).await.unwrap();
    let other = ContainerSettings::new(&["/n", "/pk"], 2);
    accounts.create_container("target", "db", "c", &other).await.unwrap();
    let lines = "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}\n{\"id\":\"2\",\"pk\":\"b\",\"n\":2}\n";
    let reversed =
        "{\"n\":2.0,\"id\":\"2\",\"pk\":\"b\"}\n{ \"id\":\"1\", \"pk\":\"\\u0061\",\"n\":1}";
    accounts.seed("source", "db", "c", lines).unwrap();
    accounts.seed("target", "db", "c", reversed).unwrap();
    let of = |account| accounts.checksum(account, "db", "c").unwrap();
    assert_eq!(of("source"), of("target"));
    accounts.seed("target", "db", "c", "{\"id\":\"1\",\"pk\":\"a\",\"n\":1,\"x\":0}").unwrap();
    assert_ne!(of("source"), of("target"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_line_that_is_no_document_is_named() {
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    accounts.create_container("source", "db", "c", &keyed(1)).await.unwrap();
    let error = accounts.seed("source", "db", "c", "{\"id\":\"1\",\"pk\":1}\n{\"pk\":1}\n");
    assert!(error.unwrap_err().to_string().contains("document 2"));
}
