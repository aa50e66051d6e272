//! Every kind of sink and source in one bridge, with every kind of failure.

use std::time::Duration;

use cosmos_bridge_brokers::{Endpoint, Kafka, Port, Rabbit, Redis};
use cosmos_bridge_emulator::fault::DropWhen;
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_emulator::{Effect, FaultRule};
use cosmos_bridge_eventhubs_local::{Fault, Injection, LocalHubs, Options};
use cosmos_bridge_identity_local::{Failure, LocalEntra};

use crate::support::admin::AdminAddress;
use crate::support::planted::NOTE;
use crate::support::{Bridge, Pair, eventually};

const KAFKA_PASSWORD: &str = "planted-kafka-6Yw2Qh";
const REDIS_PASSWORD: &str = "planted-redis-4Jm8Vt";
const CLIENT_SECRET: &str = "planted-client-3Bd5Xs";
const HOOK_CODE: &str = "planted-code-8Tq1Mv";
const HOOK_KEY: &str = "planted-key-7Lf4Gn";
const HOOK_TOKEN: &str = "planted-token-1Zr9Cu";
const ADMIN_TOKEN: &str = "planted-admin-5Ne2Wk";
const TENANT: &str = "north.example";
const APP: &str = "b0000000-0000-0000-0000-00000000000b";

struct Scene {
    pair: Pair,
    entra: LocalEntra,
    kafka: Kafka,
    rabbit: Rabbit,
    redis: Redis,
    hubs: LocalHubs,
    endpoint: Endpoint,
    admin: Port,
}

impl Scene {
    async fn start() -> Self {
        let settings = ContainerSettings::new(&["/region"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let (kafka, rabbit, redis, endpoint) = tokio::join!(
            Kafka::builder().user("writer", KAFKA_PASSWORD).start(),
            Rabbit::start(),
            Redis::builder().option("requirepass", &[REDIS_PASSWORD]).start(),
            Endpoint::start()
        );
        let (kafka, rabbit) = (kafka.unwrap(), rabbit.unwrap());
        let (redis, endpoint) = (redis.unwrap(), endpoint.unwrap());
        kafka.create_topic("orders", 2, &[]).await.unwrap();
        for operation in ["write", "describe"] {
            kafka.allow("writer", "orders", operation).await.unwrap();
        }
        // No queue is bound to it yet.
        rabbit.create_exchange("changes", "topic").await.unwrap();
        let entra = LocalEntra::start().await;
        entra.lifetime(Duration::from_secs(4));
        entra.secret(TENANT, APP, CLIENT_SECRET);
        pair.accounts.trust("target", entra.trust(TENANT));
        let hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
        let admin = Port::free().unwrap();
        Self { pair, entra, kafka, rabbit, redis, hubs, endpoint, admin }
    }

    fn configure(&self) -> std::path::PathBuf {
        let hook = format!("{}orders?code={HOOK_CODE}", self.endpoint.url());
        for (file, text) in [
            ("ca.pem", self.entra.ca.as_str()),
            ("app.secret", CLIENT_SECRET),
            ("admin.token", ADMIN_TOKEN),
            ("uri", &self.rabbit.url()),
            ("redis.password", REDIS_PASSWORD),
            ("hub.connection", &self.hubs.connection_string(None)),
            ("hook.url", &hook),
            ("hook.key", HOOK_KEY),
        ] {
            std::fs::write(self.pair.folder.path().join(file), text).unwrap();
        }
        let sinks = format!(
            "[admin]\naddress = \"127.0.0.1:{admin}\"\ntoken = {{ file = \"admin.token\" }}\n\
             [credentials.app]\ntype = \"client-secret\"\ntenant = \"{TENANT}\"\n\
             client_id = \"{APP}\"\nsecret = {{ file = \"app.secret\" }}\n\
             authority = \"{authority}\"\nca_file = \"ca.pem\"\n\
             [sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
             container = \"copies\"\n\
             [sinks.kafka.topic]\nservers = [\"{kafka}\"]\ntopic = \"orders\"\n\
             request_timeout = \"2s\"\noptions = {{ debug = \"all\" }}\n\
             sasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"writer\", \
             password = {{ env = \"KAFKA_PASSWORD\" }} }}\n\
             [sinks.amqp.queue]\nuri = {{ file = \"uri\" }}\nexchange = \"changes\"\n\
             routing_key = \"{{/note}}\"\nheartbeat = \"2s\"\n\
             [sinks.kafka.by_note]\nservers = [\"{kafka}\"]\ntopic = \"{{/note}}\"\n\
             request_timeout = \"2s\"\n\
             sasl = {{ mechanism = \"SCRAM-SHA-512\", username = \"writer\", \
             password = {{ env = \"KAFKA_PASSWORD\" }} }}\n\
             [sinks.redis.cache]\nmode = \"set\"\nservers = [\"127.0.0.1:{redis}\"]\n\
             password = {{ file = \"redis.password\" }}\n\
             [sinks.eventhubs.hub]\nconnection = {{ file = \"hub.connection\" }}\nhub = \"orders\"\n\
             request_timeout = \"2s\"\n\
             [sinks.http.hook]\nurl = {{ file = \"hook.url\" }}\nbearer = {{ env = \"HOOK_TOKEN\" }}\n\
             headers = {{ x-functions-key = {{ file = \"hook.key\" }} }}\n\
             [sinks.file.audit]\npath = \"events.jsonl\"\n",
            admin = self.admin.number(),
            authority = self.entra.authority(),
            kafka = self.kafka.sasl_bootstrap().unwrap(),
            redis = self.redis.port(),
        );
        let routes = ["archive", "topic", "queue", "by_note", "cache", "hub", "hook", "audit"]
            .map(|sink| format!("to = \"{sink}\"\n"))
            .join("[[pipelines.orders.routes]]\n");
        let source = "start = \"beginning\"\npoll_interval = \"100ms\"";
        let config = self.pair.configure_sinks(&sinks, "", source, &routes);
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("key = { file = \"target.key\" }", "credential = \"app\"");
        std::fs::write(&config, text).unwrap();
        config
    }

    /// Sets the faults for the next requests to the accounts, the endpoint and the hub.
    fn trouble(&self) {
        let effects = [
            ("source", "feed", 401, "the feed"),
            ("source", "feed", 403, "the feed"),
            ("source", "feed", 503, "the feed"),
            ("target", "writes", 401, "the write"),
            ("target", "writes", 403, "the write"),
            ("target", "writes", 429, "the write"),
            ("target", "writes", 500, "the write"),
            ("target", "writes", 413, "the write"),
            ("target", "writes", 400, "the write"),
        ];
        for (account, operation, status, message) in effects {
            let message = Some(format!("{message} is refused"));
            let then = Effect { status: Some(status), message, ..Effect::default() };
            self.fault(account, operation, then);
        }
        let torn = Effect { truncate: true, ..Effect::default() };
        self.fault("source", "feed", torn);
        let dropped = Effect { drop: Some(DropWhen::After), ..Effect::default() };
        self.fault("target", "writes", dropped);
        self.endpoint.answers(&["401", "400", "413", "429 retry-after=0", "503"]).unwrap();
        let condition = "amqp:unauthorized-access".to_owned();
        for fault in [
            Fault::Reject { condition: "amqp:not-allowed".to_owned() },
            Fault::server_busy(),
            Fault::Detach { condition: condition.clone() },
            Fault::Close { condition },
            Fault::Cut,
        ] {
            self.hubs.inject(Injection::new(fault, 1));
        }
    }

    fn fault(&self, account: &str, operation: &str, then: Effect) {
        self.pair.accounts.fault(FaultRule {
            account: Some(account.to_owned()),
            operation: Some(operation.to_owned()),
            times: Some(1),
            then,
            ..FaultRule::default()
        });
    }

    fn seed(&self, ids: std::ops::Range<u32>) {
        let line = |n| format!("{{\"id\":\"planted-id-{n}\",\"region\":\"r{}\",{NOTE}}}\n", n % 5);
        self.pair.seed(&ids.map(line).collect::<String>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_full_of_failures_tells_no_secret_and_no_document() {
    let mut scene = Scene::start().await;
    let config = scene.configure();
    let admin = AdminAddress(scene.admin.number());
    scene.seed(0..30);
    // Too large for a topic and a hub, and without a key for the target.
    scene.pair.seed(&format!("{{\"id\":\"large\",{NOTE},\"x\":\"{}\"}}\n", "y".repeat(1_200_000)));
    scene.trouble();
    let environment = [("KAFKA_PASSWORD", KAFKA_PASSWORD), ("HOOK_TOKEN", HOOK_TOKEN)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bridge = Bridge::start_in(&config, &["run"], &environment);
    eventually("the copies are there", || scene.pair.count("target", "copies") >= 29).await;
    eventually("the events are there", || scene.endpoint.taken().unwrap().len() >= 28).await;
    scene.rabbit.create_queue("all", Some(("changes", "#"))).await.unwrap();

    // All servers become unavailable.
    scene.endpoint.kill().await;
    scene.rabbit.kill().await;
    scene.redis.kill().await;
    scene.kafka.kill().await;
    scene.hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
    scene.entra.fail(Some(Failure::Status(503)));
    scene.pair.accounts.stop_listener("target").await;
    scene.seed(30..40);
    let failing = |log: &str| {
        let sinks = ["archive", "topic", "queue", "cache", "hub", "hook"];
        sinks.iter().all(|sink| log.contains(&format!("failed writing to sink `{sink}`")))
            && log.contains("failed reading pipeline `orders`")
            && log.contains("failed fetching a token of credential `app`")
    };
    eventually("everything fails", || failing(&bridge.log())).await;
    let bearer = format!("authorization: Bearer {ADMIN_TOKEN}\r\n");
    let openmetrics = "accept: application/openmetrics-text; version=1.0.0\r\n";
    for (path, head, status) in [
        ("/metrics", bearer.clone(), 200),
        ("/metrics", bearer.clone() + openmetrics, 200),
        ("/status", bearer.clone(), 200),
        ("/ready", String::new(), 200),
        ("/live", String::new(), 200),
        ("/status", "authorization: Bearer wrong\r\n".to_owned(), 401),
    ] {
        assert_eq!(admin.get(path, &head).await.unwrap().status, status, "{path}");
    }
    let log = bridge.log();
    assert!(log.contains(" DEBUG ") && log.contains("facility="), "it is not verbose");
    for json in [&["status"][..], &["status", "--json"]] {
        let shown = Bridge::command(&config, json).await;
        assert!(shown.log.contains("orders"), "{}", shown.log);
    }
    bridge.terminate();
    bridge.ended().await;

    // The planted texts were there, so they could have been printed.
    let letters = scene.pair.letters();
    let kept = |letter: &&crate::support::evidence::Letter| {
        letter.document.as_ref().is_some_and(|document| document.contains(NOTE))
    };
    assert!(letters.iter().filter(kept).count() >= 5, "{}", letters.len());
    assert!(
        scene.endpoint.taken().unwrap().iter().all(|event| event.body.contains("planted: private"))
    );
}
