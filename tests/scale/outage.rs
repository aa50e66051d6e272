//! Kafka is unavailable for most of a run: the target and `RabbitMQ` are not delayed, and in the end Kafka holds
//! every event in order, too.
#![cfg(all(feature = "kafka", feature = "amqp"))]

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_brokers::{Kafka, Rabbit};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::history::{Load, announce, by_document, out_of_order, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually, machine};

const SEED: u64 = 43;
const DOCUMENTS: usize = 400;
/// Changes per tick: 500 per second.
const CHANGES: usize = 25;
const TICK: Duration = Duration::from_millis(50);
const BEFORE: Duration = Duration::from_secs(2);
/// How long Kafka is unavailable. The changes of that time are several times larger than the spool.
const AWAY: Duration = Duration::from_secs(14);
const AFTER: Duration = Duration::from_secs(3);
/// Bytes.
const SPOOL: u64 = 2 << 20;
/// In kibibytes, the unit of the system's memory figures.
const MIB: u64 = 1024;

/// One source and three sinks: a container, a topic `orders`, and a queue `all` that is bound to the exchange
/// `changes`.
struct ThreeSinkFixture {
    pair: Pair,
    kafka: Kafka,
    rabbit: Rabbit,
    load: Load,
    written: u64,
}

impl ThreeSinkFixture {
    async fn start() -> Self {
        let settings = remembering(&["/orderId"], 2);
        let pair = Pair::start(&settings, &settings).await;
        let (kafka, rabbit) = tokio::join!(Kafka::start(), Rabbit::start());
        let (kafka, rabbit) = (kafka.unwrap(), rabbit.unwrap());
        kafka.create_topic("orders", 3, &[]).await.unwrap();
        rabbit.create_exchange("changes", "topic").await.unwrap();
        rabbit.create_queue("all", Some(("changes", "#"))).await.unwrap();
        Self { pair, kafka, rabbit, load: Load::new(DOCUMENTS, SEED), written: 0 }
    }

    fn configure(&self) -> PathBuf {
        std::fs::write(self.pair.folder.path().join("uri"), self.rabbit.url()).unwrap();
        let sinks = format!(
            "[sinks.cosmos.archive]\naccount = \"target\"\ndatabase = \"shop\"\n\
             container = \"copies\"\n\
             [sinks.amqp.queue]\nuri = {{ file = \"uri\" }}\nexchange = \"changes\"\n\
             [sinks.kafka.topic]\nservers = [\"{}\"]\ntopic = \"orders\"\n",
            self.kafka.bootstrap()
        );
        let pipeline =
            format!("window = 1000\nread_ahead = \"2 MiB\"\nspool = \"{} MiB\"", SPOOL >> 20);
        let source = "mode = \"all-versions-and-deletes\"\nstart = \"now\"\npage_size = 200\n\
                      poll_interval = \"100ms\"";
        let routes = ["archive", "queue", "topic"].map(|sink| format!("to = \"{sink}\"\n"));
        self.pair.configure_sinks(
            &sinks,
            &pipeline,
            source,
            &routes.join("[[pipelines.orders.routes]]\n"),
        )
    }

    /// Writes at a steady rate for `time`. The bridge logs its status every second (SIGUSR1).
    async fn write(&mut self, bridge: &mut Bridge, time: Duration) {
        let (start, mut asked) = (Instant::now(), Instant::now());
        let mut ticks = interval(TICK);
        // Missed ticks are made up for, so that the number of changes does not depend on the machine.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let due = time.as_millis() / TICK.as_millis();
        for _ in 0..due {
            ticks.tick().await;
            self.load.write_some(&self.pair, CHANGES);
            self.written += CHANGES as u64;
            if asked.elapsed() > Duration::from_secs(1) {
                assert!(bridge.is_running(), "{}", bridge.log());
                bridge.signal("USR1");
                asked = Instant::now();
            }
        }
        assert!(start.elapsed() < time * 3, "the machine is too busy: {:?}", start.elapsed());
    }

    /// Waits until the queue holds this number of messages.
    async fn queued(&self, messages: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.rabbit.count("all").await.unwrap() < messages {
            assert!(Instant::now() < deadline, "{messages} messages never came");
        }
    }
}

/// The values of a field in all log lines with a message.
fn fields<T: std::str::FromStr>(log: &str, message: &str, name: &str) -> Vec<T> {
    let lines = log.lines().filter(|line| line.contains(message));
    let value = |line: &str| {
        let text = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        text.and_then(|text| text.parse().ok())
    };
    lines.filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_that_is_away_for_long_holds_up_nobody_and_has_everything_in_the_end() {
    let _machine = machine::alone().await;
    let mut fixture = ThreeSinkFixture::start().await;
    let config = fixture.configure();
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || fixture.pair.is_reading()).await;
    fixture.write(&mut bridge, BEFORE).await;
    eventually("all is copied", || fixture.pair.written() == fixture.written).await;
    let (usual, at_first) = (bridge.peak_kib(), fixture.written);

    fixture.kafka.kill().await;
    fixture.write(&mut bridge, AWAY).await;
    // Kafka stays unavailable until the others have everything.
    eventually("all is copied", || fixture.pair.written() == fixture.written).await;
    fixture.queued(fixture.written).await;
    bridge.signal("USR1");
    let falls_behind = "the sink falls behind";
    eventually("Kafka is reported as behind", || bridge.log().contains(falls_behind)).await;
    assert_eq!(by_document(fixture.pair.received()), fixture.load.versions());
    let before = fixture.written;
    let queued = fixture.rabbit.order("all", "/sequence", Some("/id")).await.unwrap();
    assert_eq!((queued.messages, queued.distinct, queued.out_of_order), (before, before, 0));

    fixture.kafka.restart().await.unwrap();
    fixture.write(&mut bridge, AFTER).await;
    let rejoined = "the sink has caught up with the others";
    eventually("Kafka shares the reader again", || bridge.log().contains(rejoined)).await;
    let peak = bridge.peak_kib();
    bridge.terminate();
    assert_eq!(bridge.ended().await.code(), Some(0));
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);

    let spooled: Vec<u64> = fields(&ended.log, " behind ", "spooled_bytes");
    let most = spooled.iter().copied().max().unwrap_or(0);
    announce(&format!(
        "{} changes of {} came while Kafka was away; {most} bytes spooled of {SPOOL}; {} MiB at most, \
         {} before",
        before - at_first,
        fixture.written,
        peak / MIB,
        usual / MIB
    ));
    // The spool was used, and its limit was respected.
    assert!(spooled.len() > 5, "{}", ended.log);
    assert!(most > SPOOL / 2 && most <= SPOOL, "{spooled:?}");
    assert!(peak <= 150 * MIB, "{peak} KiB");
    let line = ended.log.lines().find(|line| line.contains(rejoined)).unwrap();
    announce(line);
    for name in ["read_again", "requests", "ru"] {
        let values: Vec<f64> = fields(line, rejoined, name);
        assert!(values.len() == 1 && values[0] > 0.0, "{name}: {line}");
    }

    let whole = fixture.written;
    assert_eq!(fixture.pair.letters(), []);
    let log = || ended.log.lines().rev().take(40).collect::<Vec<_>>().join("\n");
    assert_eq!(out_of_order(fixture.pair.received()), [], "{}", log());
    assert_eq!(by_document(fixture.pair.received()), fixture.load.versions());
    let queued = fixture.rabbit.order("all", "/sequence", Some("/id")).await.unwrap();
    assert_eq!((queued.messages, queued.distinct), (whole - before, whole - before));
    assert_eq!((queued.out_of_order, queued.ends_stale), (0, 0), "{queued:?}");
    let topic = fixture.kafka.order("orders", "/sequence").await.unwrap();
    announce(&format!("{} messages in Kafka, {} of them again", topic.messages, topic.duplicates));
    assert_eq!((topic.distinct, topic.keys), (whole, fixture.load.versions().len() as u64));
    assert_eq!((topic.out_of_order, topic.ends_stale, topic.unnumbered), (0, 0, 0), "{topic:?}");
}
