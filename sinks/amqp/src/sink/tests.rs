use cosmos_bridge_event::{Data, Encoder, Format, Oversize};
use cosmos_bridge_options::from_toml;

use super::*;
use crate::{Broker, Tls};

/// Exchanges, each with the routing key if that is known too.
type Known<'k> = &'k [(&'k str, Option<&'k str>)];

#[test]
fn a_check_asks_for_each_exchange_that_is_known_without_a_change() {
    let container = |name: &str| ContainerName {
        account: "source".to_owned(),
        database: "shop".to_owned(),
        container: name.to_owned(),
        rid: "rid".to_owned(),
    };
    let sources = ["orders", "returns"].map(container);
    // The templates of exchange and routing key, and what is known without and with the containers.
    let table: [(&str, &str, Known<'_>, Known<'_>); 4] = [
        ("changes", "all", &[("changes", Some("all"))], &[("changes", Some("all"))]),
        (
            "changes",
            "{container}",
            &[("changes", None)],
            &[("changes", Some("orders")), ("changes", Some("returns"))],
        ),
        ("{container}", "{/region}", &[], &[("orders", None), ("returns", None)]),
        ("{/region}", "all", &[], &[]),
    ];
    for (exchange, key, alone, with_sources) in table {
        let text =
            format!("uri = {{ env = \"URI\" }}\nexchange = {exchange:?}\nrouting_key = {key:?}");
        let format = Format { data: Data::Document, cloud_events: None };
        let settings = Settings {
            options: from_toml(&text).unwrap(),
            broker: Broker::new("amqp://localhost", &Tls::default()).unwrap(),
            encoder: Encoder::new(format, Oversize::DeadLetter),
        };
        for (sources, expected) in [(&[][..], alone), (&sources[..], with_sources)] {
            let owned = |(exchange, key): &(&str, Option<&str>)| {
                ((*exchange).to_owned(), key.map(str::to_owned))
            };
            let expected: Vec<_> = expected.iter().map(owned).collect();
            assert_eq!(known(&settings, sources), expected, "{exchange} {key}");
        }
    }
}
