//! Kafka is away for most of a run: the target and `RabbitMQ` do not notice, and in the end Kafka
//! holds every event in order, too.
#![cfg(all(feature = "kafka", feature = "amqp"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::time::Duration;

use cosmos_bridge_brokers::{Kafka, Rabbit};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::support::history::{Load, announce, by_document, out_of_order, remembering};
use crate::support::{Bridge, PATIENCE, Pair, eventually, machine};

const SEED: u64 = 43;
const DOCUMENTS: usize = 400;
/// Changes at each tick: 500 a second.
const CHANGES: usize = 25;
const TICK: Duration = Duration::from_millis(50);
const BEFORE: Duration = Duration::from_secs(2);
/// Kafka is away for so long; what is written meanwhile is several times what the spool holds.
const AWAY: Duration = Duration::from_secs(14);
const AFTER: Duration = Duration::from_secs(3);
/// Bytes.
const SPOOL: u64 = 2 << 20;
/// Kibibytes, as the system counts.
const MIB: u64 = 1024;

/// One source; a copy, a topic `orders`, and a queue `all` that is bound to the exchange `changes`.
struct Three {
    pair: Pair,
    kafka: Kafka,
    rabbit: Rabbit,
    load: Load,
    written: u64,
}

impl Three {
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

    /// Writes at a steady rate for so long. Every second the bridge is asked how it is.
    async fn write(&mut self, bridge: &mut Bridge, time: Duration) {
        let (start, mut asked) = (Instant::now(), Instant::now());
        let mut ticks = interval(TICK);
        // A busy machine makes up for ticks that it missed, so that the number of changes is the same.
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

    /// Waits until the queue holds so many messages.
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
        let told = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        told.and_then(|told| told.parse().ok())
    };
    lines.filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_that_is_away_for_long_holds_up_nobody_and_has_everything_in_the_end() {
    let _machine = machine::alone().await;
    let mut three = Three::start().await;
    let config = three.configure();
    let mut bridge = Bridge::start(&config, &["run"]);
    eventually("the bridge reads", || three.pair.is_reading()).await;
    three.write(&mut bridge, BEFORE).await;
    eventually("all is copied", || three.pair.written() == three.written).await;
    let (usual, at_first) = (bridge.peak_kib(), three.written);

    three.kafka.kill().await;
    three.write(&mut bridge, AWAY).await;
    // Kafka stays away until the others have everything.
    eventually("all is copied", || three.pair.written() == three.written).await;
    three.queued(three.written).await;
    bridge.signal("USR1");
    let told = "the sink falls behind";
    eventually("it is told", || bridge.log().contains(told)).await;
    assert_eq!(by_document(three.pair.received()), three.load.versions());
    let before = three.written;
    let queued = three.rabbit.order("all", "/sequence", Some("/id")).await.unwrap();
    assert_eq!((queued.messages, queued.distinct, queued.out_of_order), (before, before, 0));

    three.kafka.restart().await.unwrap();
    three.write(&mut bridge, AFTER).await;
    let told = "the sink has caught up with the others";
    eventually("it shares the reader again", || bridge.log().contains(told)).await;
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
        three.written,
        peak / MIB,
        usual / MIB
    ));
    // It was used, and it was kept to.
    assert!(spooled.len() > 5, "{}", ended.log);
    assert!(most > SPOOL / 2 && most <= SPOOL, "{spooled:?}");
    assert!(peak <= 150 * MIB, "{peak} KiB");
    let line = ended.log.lines().find(|line| line.contains(told)).unwrap();
    announce(line);
    for name in ["read_again", "requests", "ru"] {
        let values: Vec<f64> = fields(line, told, name);
        assert!(values.len() == 1 && values[0] > 0.0, "{name}: {line}");
    }

    let whole = three.written;
    assert_eq!(three.pair.letters(), []);
    assert_eq!(out_of_order(three.pair.received()), []);
    assert_eq!(by_document(three.pair.received()), three.load.versions());
    let queued = three.rabbit.order("all", "/sequence", Some("/id")).await.unwrap();
    assert_eq!((queued.messages, queued.distinct), (whole - before, whole - before));
    assert_eq!((queued.out_of_order, queued.ends_stale), (0, 0), "{queued:?}");
    let topic = three.kafka.order("orders", "/sequence").await.unwrap();
    announce(&format!("{} messages in Kafka, {} of them again", topic.messages, topic.duplicates));
    assert_eq!((topic.distinct, topic.keys), (whole, three.load.versions().len() as u64));
    assert_eq!((topic.out_of_order, topic.ends_stale, topic.unnumbered), (0, 0, 0), "{topic:?}");
}
