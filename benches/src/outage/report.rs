//! The figures, as text and as JSON.

use serde_json::{Value, json};

use crate::run::{Measured, Seen};

const MIB: f64 = 1_048_576.0;

/// A figure that is compared per pair.
type Figure = (&'static str, fn(&Measured) -> f64);

const COMPARED: [Figure; 6] = [
    ("RabbitMQ changes/s", |measured| measured.queue.throughput),
    ("RabbitMQ p50 ms", |measured| measured.queue.milliseconds(50)),
    ("RabbitMQ p99 ms", |measured| measured.queue.milliseconds(99)),
    ("target changes/s", |measured| measured.target.throughput),
    ("target p50 ms", |measured| measured.target.milliseconds(50)),
    ("target p99 ms", |measured| measured.target.milliseconds(99)),
];

impl Seen {
    /// A percentile of the latencies.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds")]
    fn milliseconds(&self, percent: usize) -> f64 {
        let at = self.latencies.len() * percent / 100;
        self.latencies.get(at).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
    }
}

/// A completed run.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn line(pair: usize, is_away: bool, measured: &Measured) {
    let figures: Vec<String> =
        COMPARED.iter().map(|(name, figure)| format!("{name} {:.1}", figure(measured))).collect();
    let which = if is_away { "with the outage" } else { "without" };
    println!(
        "pair {}, {which}: {}; memory {:.0} MiB; spool {:.2} of {:.0} MiB; read again {:.0} changes, \
         {:.0} requests, {:.1} RU; Kafka complete after {:.1} s, {} messages, {} of them again",
        pair + 1,
        figures.join(", "),
        measured.peak_memory as f64 / MIB,
        measured.spool_peak / MIB,
        measured.spool_limit / MIB,
        measured.read_again,
        measured.read_again_requests,
        measured.read_again_ru,
        measured.kafka_complete.as_secs_f64(),
        measured.kafka.messages,
        measured.kafka.duplicates,
    );
}

/// The ratios of the runs with the outage to those without, per pair.
pub(crate) fn print(pairs: &[(Measured, Measured)]) {
    println!("\n| with to without | median | each pair |\n| --- | ---: | --- |");
    for (name, figure) in COMPARED {
        let ratios = ratios(pairs, figure);
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!("| {name} | {:.2} | {} |", median(&ratios), each.join(", "));
    }
}

fn ratios(pairs: &[(Measured, Measured)], figure: fn(&Measured) -> f64) -> Vec<f64> {
    pairs.iter().map(|(without, with)| figure(with) / figure(without)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(sorted[middle - 1], *upper),
        None => f64::NAN,
    }
}

/// All measurements.
pub(crate) fn json(
    pairs: &[(Measured, Measured)],
    seconds: u64,
    rate: u64,
    spool_mib: u64,
) -> Value {
    let ratios: serde_json::Map<String, Value> = COMPARED
        .iter()
        .map(|(name, figure)| {
            let ratios = ratios(pairs, *figure);
            ((*name).to_owned(), json!({ "median": median(&ratios), "pairs": ratios }))
        })
        .collect();
    let pairs: Vec<Value> = pairs
        .iter()
        .map(|(without, with)| json!({ "without": run(without), "with": run(with) }))
        .collect();
    json!({
        "seconds": seconds, "changes_per_second": rate, "spool_mib": spool_mib,
        "ratios": ratios, "pairs": pairs,
    })
}

fn run(measured: &Measured) -> Value {
    let figures =
        COMPARED.iter().map(|(name, figure)| ((*name).to_owned(), figure(measured).into()));
    let mut run: serde_json::Map<String, Value> = figures.collect();
    let more = json!({
        "peak_memory_bytes": measured.peak_memory,
        "spool_peak_bytes": measured.spool_peak,
        "spool_limit_bytes": measured.spool_limit,
        "read_again_changes": measured.read_again,
        "read_again_requests": measured.read_again_requests,
        "read_again_ru": measured.read_again_ru,
        "kafka_complete_seconds": measured.kafka_complete.as_secs_f64(),
        "kafka_messages": measured.kafka.messages,
        "kafka_duplicates": measured.kafka.duplicates,
    });
    if let Value::Object(more) = more {
        run.extend(more);
    }
    Value::Object(run)
}
