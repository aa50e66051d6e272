use std::io::Write as _;

use super::*;

fn name() -> ContainerName {
    "source/shop/orders".parse().unwrap()
}

#[test]
fn options_say_what_to_set_up() {
    let container: NewContainer =
        "source/shop/orders=/a,/b/c;partitions=4;ru=4000;ttl=-1;retention=60".parse().unwrap();
    assert_eq!(container.name, name());
    let settings = container.settings;
    assert_eq!(settings.partition_key, ["/a", "/b/c"]);
    assert_eq!((settings.partitions, settings.throughput), (4, Some(4000)));
    assert_eq!((settings.default_ttl, settings.retention_seconds), (Some(-1), Some(60)));

    let container: NewContainer =
        "source/shop/orders=/a;autoscale=4000;database-ru=500;variation=0.5;images=delete"
            .parse()
            .unwrap();
    let expected = ContainerSettings {
        autoscale: Some(4000),
        database_throughput: Some(500),
        charge_variation: Some(0.5),
        previous_images: PreviousImages::Delete,
        ..ContainerSettings::new(&["/a"], 1)
    };
    assert_eq!(container.settings, expected);

    let container: NewContainer = "source/shop/orders=/a;version=1".parse().unwrap();
    let expected =
        ContainerSettings { partition_key_version: 1, ..ContainerSettings::new(&["/a"], 1) };
    assert_eq!(container.settings, expected);
    let container: NewContainer = "source/shop/orders=none".parse().unwrap();
    assert_eq!(container.settings, ContainerSettings::without_key());

    let orders: SeedOrders =
        "source/shop/orders=50000,seed=7,bytes=2048,customers=9".parse().unwrap();
    let (bytes, customers) = (Some(2048), Some(9));
    assert_eq!(orders, SeedOrders { name: name(), count: 50_000, seed: 7, bytes, customers });
    let orders: SeedOrders = "source/shop/orders=5".parse().unwrap();
    assert_eq!(
        orders,
        SeedOrders { name: name(), count: 5, seed: 1, bytes: None, customers: None }
    );

    let file: SeedFile = "source/shop/orders=/tmp/a=b.jsonl".parse().unwrap();
    assert_eq!(file, SeedFile { name: name(), path: "/tmp/a=b.jsonl".into() });
}

#[test]
fn mistakes_are_named() {
    let container = |text: &str| text.parse::<NewContainer>().unwrap_err().to_string();
    let orders = |text: &str| text.parse::<SeedOrders>().unwrap_err().to_string();
    for (message, expected) in [
        (container("source/shop/orders"), "expected `account/database/container=...`"),
        (container("source/orders=/a"), "`source/orders` is not `account/database/container`"),
        (container("s/d/c=a"), "`a` is not a partition key path; one begins with a slash"),
        (container("s/d/c="), "`` is not a partition key path; one begins with a slash"),
        (container("s/d/c=/a,/b,/c,/d"), "a partition key has one to three paths"),
        (
            container("s/d/c=/a;parts=4"),
            "`parts=4` is not a setting here; the settings are partitions, ru, autoscale, \
             database-ru, variation, ttl, retention, images and version",
        ),
        (
            container("s/d/c=/a;images=some"),
            "`some` are not images; there are none, replace, delete and all",
        ),
        (container("s/d/c=/a;ru=many"), "`many` is not a number that `ru` can have"),
        (orders("s/d/c=lots"), "`lots` is not a number that `the number of orders` can have"),
        (
            orders("s/d/c=1,size=9"),
            "`size=9` is not a setting here; the settings are seed, bytes and customers",
        ),
    ] {
        assert_eq!(message, expected);
    }
    assert_eq!("s/d/c=".parse::<SeedFile>().unwrap_err(), OptionError::NoFile);
}

#[tokio::test]
async fn containers_and_documents_are_there_before_the_accounts_are_ready() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"id\":\"x\",\"k\":1}\n\n{\"id\":\"y\",\"k\":2}\n").unwrap();
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    let setup = Setup {
        containers: vec![
            "source/shop/orders=/orderId;partitions=4".parse().unwrap(),
            "source/shop/other=/k".parse().unwrap(),
        ],
        orders: vec!["source/shop/orders=3000,seed=3".parse().unwrap()],
        files: vec![SeedFile {
            name: "source/shop/other".parse().unwrap(),
            path: file.path().to_owned(),
        }],
    };
    setup.apply(&accounts).await.unwrap();

    let state = accounts.state("source", "shop", "orders").unwrap();
    assert_eq!((state.documents, state.ranges.len()), (3000, 4));
    let mut stored: Vec<serde_json::Value> = accounts
        .documents("source", "shop", "orders")
        .unwrap()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    stored.sort_by_key(|order| order["id"].to_string());
    let generated: Vec<_> = Orders::new(3).with_count(3000).iter().take(3000).collect();
    assert!(stored == generated, "the stored orders are the generated ones");
    assert_eq!(accounts.state("source", "shop", "other").unwrap().documents, 2);
}

#[tokio::test]
async fn a_line_that_is_no_document_stops_the_setup() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{\"id\":\"x\",\"k\":1}\nnot json\n").unwrap();
    let accounts = LocalAccounts::start(&["source"]).await.unwrap();
    let setup = Setup {
        containers: vec!["source/shop/other=/k".parse().unwrap()],
        files: vec![SeedFile {
            name: "source/shop/other".parse().unwrap(),
            path: file.path().to_owned(),
        }],
        ..Setup::default()
    };
    let error = setup.apply(&accounts).await.unwrap_err();
    assert!(matches!(error, SetupError::Line(..)), "{error:?}");
}
