//! Routes a sample of real documents without writing them, for `check --live`.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use super::pipeline::Pipeline;
use crate::cosmos::{CosmosError, Page};
use crate::governor::{Kind, Operation, Settlement, Verdict};
use crate::model::{FeedRange, PartitionId, Position, SourceChange};

/// Most documents of a sample, and feed ranges that they are taken from: 100 documents of 1 KB cost about
/// 10 to 20 request units. A wrong field name shows in the first; rare mistakes are not looked for.
const DOCUMENTS: usize = 100;
const RANGES: usize = 5;

/// Most reasons that are shown: a reason may hold the size of its document.
const REASONS: usize = 5;

/// Documents of a sample for one sink, and those that would become dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkSample {
    pub pipeline: String,
    pub sink: String,
    /// That a route does not leave out.
    pub documents: usize,
    /// How many would become dead letters, by reason.
    pub letters: BTreeMap<String, usize>,
}

impl SinkSample {
    /// How many documents would become dead letters.
    pub fn rejected(&self) -> usize {
        self.letters.values().sum()
    }

    /// There are documents, and each would become a dead letter.
    pub fn is_all_rejected(&self) -> bool {
        self.documents > 0 && self.rejected() == self.documents
    }
}

impl fmt::Display for SinkSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, sink, documents, letters } = self;
        let rejected = self.rejected();
        write!(
            f,
            "pipeline `{pipeline}`, sink `{sink}`: {rejected} of {documents} documents of a sample \
             would become dead letters:"
        )?;
        let mut reasons: Vec<_> = letters.iter().collect();
        reasons.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        let more = reasons.len().saturating_sub(REASONS);
        for (at, (reason, documents)) in reasons.into_iter().take(REASONS).enumerate() {
            write!(f, "{} {reason} ({documents})", if at == 0 { "" } else { ";" })?;
        }
        if more > 0 { write!(f, "; and {more} more reasons") } else { Ok(()) }
    }
}

impl Pipeline {
    /// Routes up to 100 documents of the source, for each sink, and asks the sink whether it could send
    /// them.
    pub async fn sample(&self) -> Result<Vec<SinkSample>, CosmosError> {
        let mut samples: Vec<_> = self
            .sink_names()
            .into_iter()
            .map(|sink| SinkSample {
                pipeline: self.settings.name.clone(),
                sink: sink.to_owned(),
                ..SinkSample::default()
            })
            .collect();
        let ranges = self.ports.feeds.ranges().await?;
        let each = DOCUMENTS / ranges.len().clamp(1, RANGES);
        for range in ranges.into_iter().take(RANGES) {
            for change in self.documents(range, each).await? {
                self.try_route(change, &mut samples).await;
            }
        }
        Ok(samples)
    }

    /// The first documents of a range.
    async fn documents(
        &self,
        range: FeedRange,
        most: usize,
    ) -> Result<Vec<SourceChange>, CosmosError> {
        let mut feed = self.ports.feeds.existing(Position::of(range, None));
        let size = u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let mut documents = Vec::new();
        // One page, but for a page that holds a document which cannot be parsed: it is read one by one.
        for _ in 0..most {
            let operations = vec![Operation { kind: Kind::Page, bytes: 0 }];
            let admission = self.ports.governor.admit(PartitionId::UNKNOWN, operations).await;
            let Page { changes, charge, caught_up, .. } = feed.next_page(size).await?;
            let (read, verdict) = (changes.len(), Verdict::Done);
            admission.settle(Settlement { charge, documents: read, throttled: 0, verdict });
            documents.extend(changes);
            if caught_up || documents.len() * 2 > most {
                break;
            }
        }
        documents.truncate(most);
        Ok(documents)
    }

    async fn try_route(&self, change: SourceChange, samples: &mut [SinkSample]) {
        let routed = self.router.route(change, &self.settings.source_key_paths);
        for (sink, sample) in samples.iter_mut().enumerate() {
            let rejected = routed.rejected.iter().find(|rejection| rejection.sink == sink);
            let mut reason = rejected.map(|rejection| rejection.reason.clone());
            let mut is_sent = false;
            for addressed in routed.changes.iter().filter(|addressed| addressed.sink == sink) {
                is_sent = true;
                if reason.is_none() {
                    reason = self.sinks[sink].delivery.sink.refusal(&addressed.change).await;
                }
            }
            sample.documents += usize::from(is_sent || reason.is_some());
            if let Some(reason) = reason {
                *sample.letters.entry(reason).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::SinkSample;

    #[test]
    fn a_sample_names_its_reasons_and_tells_some_from_all() {
        let letters = |letters: &[(&str, usize)]| -> BTreeMap<String, usize> {
            letters.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
        };
        let sample = |documents, reasons: &[(&str, usize)]| SinkSample {
            pipeline: "orders".to_owned(),
            sink: "archive".to_owned(),
            documents,
            letters: letters(reasons),
        };
        assert!(!sample(0, &[]).is_all_rejected());
        assert!(!sample(2, &[("no key", 1)]).is_all_rejected());
        assert!(sample(2, &[("no key", 1), ("bad key", 1)]).is_all_rejected());
        assert_eq!(
            sample(100, &[("bad key", 2), ("no key", 40)]).to_string(),
            "pipeline `orders`, sink `archive`: 42 of 100 documents of a sample would become dead \
             letters: no key (40); bad key (2)"
        );
        let sizes = ["1", "2", "3", "4", "5", "6", "7"].map(|bytes| (bytes, 1));
        assert!(sample(7, &sizes).to_string().ends_with(" 4 (1); 5 (1); and 2 more reasons"));
    }
}
