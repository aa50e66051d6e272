//! From a decision to its requests, and from their answers to a result.

use cosmos_bridge_sink::{Answers, Change, Document};

use super::decision::{Action, Decision, Reason};
use super::incoming::Incoming;
use super::record::Stored;
use super::sink::MirrorSink;
use super::version::{ContentHash, Kind, Own, Stamp, Version};
use crate::document_hash::DocumentHash;
use crate::result::{PointResult, cause_of_batch, count, is_done, reason, result, wait};
use crate::{Class, Strategy, Write, classify};

/// A write to the target that was decided.
pub(super) enum Step {
    Leave(Reason),
    Create(Stamp),
    Replace(Stamp),
    Delete(Stamp),
}

impl MirrorSink {
    pub(super) fn step(
        &self,
        incoming: &Incoming,
        target: Option<&Stored>,
        decision: Decision,
    ) -> Step {
        let stamp = |kind, own, content| {
            let after = incoming.change.after.as_ref();
            Stamp {
                kind,
                other: after.map_or(String::new(), |after| after.name().to_owned()),
                order: incoming.change.order,
                over: target.map(|target| target.version.etag.clone()),
                own,
                content,
                written_at: self.time(),
            }
        };
        match (decision.action, &incoming.after, target) {
            (Action::Write(kind), Some(after), None) => {
                Step::Create(stamp(kind, None, after.version.content))
            }
            (Action::Write(kind), Some(after), Some(_)) => {
                Step::Replace(stamp(kind, None, after.version.content))
            }
            (Action::Mark(kind), _, Some(target)) => {
                let Version { content, .. } = target.version;
                let changed_at = target.version.changed_at();
                let own = Own { name: target.version.name().to_owned(), changed_at };
                Step::Replace(stamp(kind, Some(own), content))
            }
            (Action::Delete, _, Some(target)) => {
                let content = ContentHash::of(&marker(target).sorted_text());
                let stamp = stamp(Kind::Gone, None, content);
                Step::Delete(Stamp { other: String::new(), ..stamp })
            }
            (Action::Leave(reason), _, _) => Step::Leave(reason),
            // A delete brings no document, and what is not there is not written again.
            (Action::Write(_), None, _) | (Action::Mark(_) | Action::Delete, _, None) => {
                Step::Leave(Reason::Equal)
            }
        }
    }

    /// Returns the result, and what the service said of it.
    pub(super) async fn take(
        &self,
        change: &Change,
        incoming: &Incoming,
        target: Option<Stored>,
        step: Step,
        counted: &mut Answers<'_>,
    ) -> (PointResult, String) {
        let (place, if_match) = (self.place(change), target.as_ref().map(|one| &*one.version.etag));
        let (document, stamp, is_create) = match (&step, &incoming.after, &target) {
            (Step::Create(stamp), Some(after), _) => (&after.document, stamp, true),
            // Its own version, or that which comes in.
            (Step::Replace(stamp), _, Some(own)) if stamp.own.is_some() => {
                (&own.document, stamp, false)
            }
            (Step::Replace(stamp), Some(after), _) => (&after.document, stamp, false),
            (Step::Delete(stamp), _, Some(target)) => {
                return self.delete(change, target, stamp, counted).await;
            }
            (Step::Leave(Reason::Echo | Reason::Kept), _, _) => {
                return (PointResult::Kept, String::new());
            }
            (Step::Leave(Reason::Superseded), _, _) => {
                counted.superseded();
                return (PointResult::Kept, String::new());
            }
            _ => return (PointResult::Done, String::new()),
        };
        let document = place.stamped(document, stamp);
        let content = (&document).into();
        let write =
            if is_create { Write::Create(content) } else { Write::Replace { content, if_match } };
        let answer = self.container.write(&change.partition_key, &change.id, write).await;
        count(counted, &answer);
        if answer.is_unanswered {
            self.history.unanswered(&[(DocumentHash::of(change), write)]);
        }
        (result(write, &answer, Strategy::Upsert), reason(&answer))
    }

    /// Deletes a document in one transaction with a replacement that says so: the delete in its feed then has the
    /// replacement as its previous image.
    async fn delete(
        &self,
        change: &Change,
        target: &Stored,
        stamp: &Stamp,
        counted: &mut Answers<'_>,
    ) -> (PointResult, String) {
        let document = self.place(change).stamped(&marker(target), stamp);
        let if_match = Some(&*target.version.etag);
        let replace = Write::Replace { content: (&document).into(), if_match };
        let id = change.id.as_str();
        let writes = [(id, replace), (id, Write::Delete { if_match: None })];
        let answer = self.container.batch(&change.partition_key, &writes).await;
        count(counted, &answer.whole);
        if is_done(&answer) {
            return (PointResult::Done, String::new());
        }
        let (_, cause) = cause_of_batch(&answer);
        if cause.status == 429 && answer.whole.status != 429 {
            counted.throttled();
        }
        let said = reason(cause);
        let class = classify(cause.status, cause.sub_status);
        let result = match (class, class.cause()) {
            (Class::Changed | Class::Missing, _) => PointResult::Outdated,
            (_, Some(why)) => PointResult::Failed(said.clone(), wait(why, cause)),
            (_, None) => PointResult::Refused(said.clone()),
        };
        (result, said)
    }
}

/// The document of the target as its delete writes it once more. What cannot be parsed is left out: the service
/// may not read the rest of the transaction for it.
fn marker(target: &Stored) -> Document {
    target.document.fields().into()
}
