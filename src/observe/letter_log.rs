//! Logs dead letters: the first of each cause at once, then reminders at growing intervals.

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::model::DeadLetter;

/// Causes with intervals of their own. A route has a few; those of a target may name the document, so
/// that each is another one.
const CAUSES: usize = 8;

/// The dead letters of one sink of one pipeline.
#[derive(Debug, Default)]
pub(super) struct LetterLog {
    /// By cause; the last is shared by all causes that have none.
    throttles: Mutex<Vec<(String, LogThrottle)>>,
}

impl LetterLog {
    /// A dead letter was stored.
    pub(super) fn kept(&self, letter: &DeadLetter) {
        let DeadLetter { pipeline, sink, cause, .. } = letter;
        let now = Instant::now();
        let mut throttles = self.throttles.lock();
        let known = throttles.iter().position(|(known, _)| known == cause);
        let at = known.unwrap_or_else(|| {
            if throttles.len() < CAUSES {
                throttles.push((cause.clone(), LogThrottle::default()));
            }
            throttles.len() - 1
        });
        let (_, throttle) = &mut throttles[at];
        throttle.end_if_quiet(now);
        let Some(episode) = throttle.on_occurrence(now) else { return };
        drop(throttles);
        if episode.is_logged {
            let (letters, for_seconds) = (episode.occurrences, (now - episode.since).as_secs());
            warn!(pipeline, sink, letters, for_seconds, cause, "still keeping dead letters");
        } else {
            let document = letter.document_hash();
            warn!(pipeline, sink, document, cause, "kept a dead letter");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::lines::Lines;
    use super::LetterLog;
    use crate::model::{DeadLetter, Stage};

    fn letter(id: u32, cause: &str) -> DeadLetter {
        DeadLetter {
            pipeline: "orders".to_owned(),
            sink: "archive".to_owned(),
            stage: Stage::Route,
            cause: cause.to_owned(),
            source: "source/shop/orders".to_owned(),
            source_id: id.to_string(),
            source_key: "[]".to_owned(),
            range_min: String::new(),
            lsn: None,
            nth: 0,
            target: String::new(),
            committed_at: None,
            operation: "upsert",
            document: None,
            previous: None,
            unparsed: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_of_dead_letters_is_a_few_lines() {
        let log = Lines::of(async {
            let letters = LetterLog::default();
            for id in 0..50_000 {
                letters.kept(&letter(id, "field /customer_id is missing"));
                if id == 7 {
                    letters.kept(&letter(id, "too large"));
                }
                advance(Duration::from_millis(2)).await;
            }
            advance(Duration::from_hours(1)).await;
            letters.kept(&letter(1, "too large"));
        });
        insta::assert_snapshot!(log.await, @r#"
        WARN kept a dead letter pipeline="orders" sink="archive" document="dedf934fef26" cause="field /customer_id is missing"
        WARN kept a dead letter pipeline="orders" sink="archive" document="a917b85fb09e" cause="too large"
        WARN still keeping dead letters pipeline="orders" sink="archive" letters=15001 for_seconds=30 cause="field /customer_id is missing"
        WARN still keeping dead letters pipeline="orders" sink="archive" letters=45001 for_seconds=90 cause="field /customer_id is missing"
        WARN kept a dead letter pipeline="orders" sink="archive" document="31efc60a798f" cause="too large"
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn causes_that_name_the_document_share_one_line() {
        let log = Lines::of(async {
            let letters = LetterLog::default();
            for id in 0..1000 {
                letters.kept(&letter(id, &format!("no room for {id}")));
            }
        });
        let log = log.await;
        assert_eq!(log.lines().count(), 8, "{log}");
    }
}
