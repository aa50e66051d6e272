//! Starts that fail: with wrong secrets, and with secrets in the wrong place.

use std::path::Path;

use cosmos_bridge_brokers::{Endpoint, Kafka, Rabbit, Redis};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_eventhubs_local::{LocalHubs, Options};

use crate::support::planted::plant;
use crate::support::{Bridge, MOST_VERBOSE, Pair};

const WRONG: &str = "planted-and-wrong-9Kc3Pz";
const BEGINNING: &str = "start = \"beginning\"";

async fn pair() -> Pair {
    let settings = ContainerSettings::new(&["/region"], 1);
    Pair::start(&settings, &settings).await
}

/// `check --live`, in both formats of the log.
async fn refused(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    for format in ["text", "json"] {
        let log = format!("\n[log]\nlevel = \"{MOST_VERBOSE}\"\nformat = \"{format}\"\n");
        std::fs::write(config, text.clone() + &log).unwrap();
        let ended = Bridge::command(config, &["check", "--live"]).await;
        assert!(![Some(0), None].contains(&ended.code()), "{}", ended.log);
        // The file itself has no mistake; the sink is what fails.
        assert!(ended.log.contains("failed"), "{}", ended.log);
        assert!(!ended.log.contains("config.toml: 1 problem"), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_not_told() {
    let (kafka, rabbit, endpoint) = tokio::join!(
        Kafka::builder().user("writer", "planted-and-right-2Rb6").start(),
        Rabbit::start(),
        Endpoint::start()
    );
    let (kafka, rabbit, endpoint) = (kafka.unwrap(), rabbit.unwrap(), endpoint.unwrap());
    let redis =
        Redis::builder().option("requirepass", &["planted-and-right-7Hn4"]).start().await.unwrap();
    endpoint.options("401").unwrap();
    let hubs = LocalHubs::start(Options::with_hub("orders", 1)).await.unwrap();
    let pair = pair().await;
    let put = |file: &str, text: &str| {
        std::fs::write(pair.folder.path().join(file), text).unwrap();
    };
    put("wrong", WRONG);
    put("wrong.uri", &format!("amqp://guest:{WRONG}@127.0.0.1:{}/%2f", rabbit.port()));
    let connection = hubs.connection_string(None);
    let (before, after) = connection.split_once("SharedAccessKey=").unwrap();
    let after = after.split_once(';').unwrap().1;
    put("wrong.connection", &format!("{before}SharedAccessKey={WRONG};{after}"));
    put("wrong.url", &format!("{}orders?code={WRONG}", endpoint.url()));
    // Options that other Kafka clients take in this form.
    let login = format!(
        "servers = [\"{}\"]\ntopic = \"orders\"\noptions = {{ \"sasl.jaas.config\" = \
         \"PlainLoginModule required username='a' password='{WRONG}';\" }}\n",
        kafka.bootstrap()
    );
    let sasl = |mechanism: &str, user: &str| {
        format!(
            "servers = [\"{}\"]\ntopic = \"orders\"\noptions = {{ debug = \"all\" }}\n\
             sasl = {{ mechanism = \"{mechanism}\", {user} = {{ file = \"wrong\" }} }}\n",
            kafka.sasl_bootstrap().unwrap()
        )
    };
    let sinks = [
        ("kafka", login),
        ("kafka", sasl("PLAIN", "username = \"writer\", password")),
        ("kafka", sasl("SCRAM-SHA-512", "username = \"writer\", password")),
        ("kafka", sasl("OAUTHBEARER", "token")),
        ("amqp", "uri = { file = \"wrong.uri\" }\nexchange = \"changes\"\n".to_owned()),
        (
            "redis",
            format!(
                "mode = \"set\"\nservers = [\"127.0.0.1:{}\"]\npassword = {{ file = \"wrong\" }}\n",
                redis.port()
            ),
        ),
        (
            "eventhubs",
            "connection = { file = \"wrong.connection\" }\nhub = \"orders\"\n".to_owned(),
        ),
        (
            "http",
            "url = { file = \"wrong.url\" }\nbearer = { file = \"wrong\" }\n\
             headers = { x-functions-key = { file = \"wrong\" } }\n"
                .to_owned(),
        ),
    ];
    for (kind, options) in sinks {
        let sink = format!("[sinks.{kind}.events]\n{options}");
        refused(&pair.configure_sinks(&sink, "", BEGINNING, "to = \"events\"")).await;
    }
    let config = pair.configure("", "", "", "");
    put("target.key", &pair.accounts.key("source"));
    refused(&config).await;
}

/// Each is refused. For other values most of these messages would show the value.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_place_is_not_told() {
    plant("the secret in the configuration", WRONG);
    let pair = pair().await;
    let hook = "[sinks.http.events]\n";
    let url = "url = \"https://events.example/\"\n";
    let kafka = "[sinks.kafka.events]\nservers = [\"kafka.example:9092\"]\ntopic = \"orders\"\n";
    let redis = "[sinks.redis.events]\nmode = \"set\"\n";
    let amqp = "[sinks.amqp.events]\nexchange = \"changes\"\n";
    let sinks = [
        format!("{hook}url = \"https://bridge:{WRONG}@events.example/\"\n"),
        format!("{hook}url = \"https://events.example/?code={WRONG}\"\n"),
        format!("{hook}url = \"https//events.example/?code={WRONG}\"\n"),
        format!("{hook}url = \"events.example/?code={WRONG}\"\n"),
        format!("{hook}url = \"ftp://bridge:{WRONG}@events.example/\"\n"),
        format!("{hook}{url}bearer = \"{WRONG}\"\n"),
        format!("{hook}{url}bearer = {WRONG}\n"),
        format!("{hook}{url}bearer = \"{WRONG}\n"),
        format!("{hook}{url}bearer = {{ text = \"{WRONG}\" }}\n"),
        format!("{hook}{url}bearer = [\"{WRONG}\"]\n"),
        format!("{hook}{url}token = \"{WRONG}\"\n"),
        format!("{hook}{url}batch = 2\nheaders = {{ \"a key\" = \"{WRONG}\" }}\n"),
        format!("{amqp}uri = \"amqp://bridge:{WRONG}@rabbit.example\"\n"),
        format!("{amqp}uri = {{ file = \"uri\" }}\npassword = \"{WRONG}\"\n"),
        format!("{redis}servers = [\"redis://:{WRONG}@cache.example:6379\"]\n"),
        format!("{redis}servers = [\"cache.example:6379\"]\npassword = \"{WRONG}\"\n"),
        format!(
            "[sinks.eventhubs.events]\nhub = \"orders\"\nconnection = \"Endpoint=sb://hub.example/;\
             SharedAccessKeyName=a;SharedAccessKey={WRONG}\"\n"
        ),
        format!(
            "{kafka}sasl = {{ mechanism = \"PLAIN\", username = \"a\", password = \"{WRONG}\" }}\n"
        ),
        format!("{kafka}sasl = \"{WRONG}\"\n"),
        format!("{kafka}password = \"{WRONG}\"\n"),
        format!("{kafka}options = {{ \"sasl.password\" = \"{WRONG}\" }}\n"),
        format!(
            "{kafka}options = {{ \"sasl.oauthbearer.client.credentials.client.secret\" = \"{WRONG}\" }}\n"
        ),
        format!(
            "{kafka}options = {{ \"sasl.oauthbearer.assertion.private.key.passphrase\" = \"{WRONG}\" }}\n"
        ),
        format!(
            "{kafka}options = {{ \"sasl.oauthbearer.assertion.private.key.pem\" = \"{WRONG}\" }}\n"
        ),
        format!("{url}[admin]\ntoken = \"{WRONG}\"\n"),
        format!(
            "[credentials.a]\ntype = \"client-secret\"\ntenant = \"t\"\nclient_id = \"c\"\nsecret = \"{WRONG}\"\n"
        ),
        format!(
            "[credentials.a]\ntype = \"client-secret\"\ntenant = \"t\"\nclient_id = \"c\"\nclient_secret = \"{WRONG}\"\n"
        ),
        format!(
            "[accounts.third]\nendpoint = \"https://a:{WRONG}@third.example\"\nkey = \"{WRONG}\"\n"
        ),
        format!(
            "[accounts.third]\nconnection_string = \"AccountEndpoint=https://third.example;AccountKey={WRONG}\"\n"
        ),
        format!(
            "[accounts.third]\nendpoint = \"AccountEndpoint=https://third.example;AccountKey={WRONG}\"\n"
        ),
    ];
    let route = "mask = { \"/name\" = { sha256 = \"SALT\" } }\n".replace("SALT", WRONG);
    let sinks = sinks.into_iter().map(|sink| (sink, String::new()));
    for (sink, route) in sinks.chain([(String::new(), route)]) {
        let route = format!("to = \"events\"\n{route}");
        let config = pair.configure_sinks(&sink, "", BEGINNING, &route);
        for command in ["check", "run", "status"] {
            let ended = Bridge::command(&config, &[command]).await;
            assert_eq!(ended.code(), Some(78), "{sink}: {}", ended.log);
        }
    }
}
