//! Carries one change to the other side: reads what is there, decides, and writes on that condition.

use cosmos_bridge_sink::{Answers, Cause, Change as SinkChange, Operation};
use tokio::time::Instant;

use super::conflict::Conflict;
use super::decision::{Decision, Side, Winner, decide, is_echo};
use super::incoming::Incoming;
use super::record::Stored;
use super::sink::{MirrorSink, Role};
use super::steps::Step;
use super::version::{Change, Version};
use crate::document_hash::DocumentHash;
use crate::result::{PointResult, count, late_write, reason, wait};
use crate::{Answer, Class, classify};

/// With one document that is created meanwhile, and two more changes of it after it was read.
const ATTEMPTS_MAX: usize = 4;

/// The creates that are refused although the document is not there, after which it is a unique key.
const REFUSED_MAX: usize = 3;

const UNVERSIONED: &str = "the change does not tell the version of the document, without which nothing can be \
                           compared with the other side";

impl MirrorSink {
    /// Carries a change to the other side, and decides again if the document changes there meanwhile.
    pub(super) async fn cross(
        &self,
        change: &SinkChange,
        counted: &mut Answers<'_>,
    ) -> PointResult {
        let document = DocumentHash::of(change);
        if let Some(rest) = self.history.rest(document) {
            return late_write(rest);
        }
        let Some(incoming) = self.incoming(change) else {
            return PointResult::Refused(UNVERSIONED.to_owned());
        };
        if is_echo(&incoming.change) {
            return PointResult::Kept;
        }
        let (began, mut refused) = (Instant::now(), 0);
        // A create tells whether a new document is there.
        let Change { before, knows_before, after, expired, .. } = &incoming.change;
        let mut is_expected = *knows_before && before.is_none() && after.is_some() && !expired;
        for _ in 0..ATTEMPTS_MAX {
            let target = if std::mem::take(&mut is_expected) {
                None
            } else {
                match self.read(change, counted).await {
                    Ok(target) => target,
                    Err(failed) => return failed,
                }
            };
            let decision = self.decision(&incoming, target.as_ref());
            if let (Some(winner), Some(target)) = (decision.conflict, &target)
                && let Some(failed) = self.log(change, &incoming, target, winner, counted).await
            {
                return failed;
            }
            let step = self.step(&incoming, target.as_ref(), decision);
            let is_create = matches!(step, Step::Create(_));
            let (result, said) = self.take(change, &incoming, target, step, counted).await;
            if result != PointResult::Outdated {
                return self.safe_from_late_writes(change, document, began, result);
            }
            refused += usize::from(is_create);
            if refused == REFUSED_MAX {
                return PointResult::Conflicting(said);
            }
        }
        PointResult::Outdated
    }

    /// What the target has, as a quorum of its replicas has it: what is left as it is because of an older answer
    /// would be lost.
    async fn read(
        &self,
        change: &SinkChange,
        counted: &mut Answers<'_>,
    ) -> Result<Option<Stored>, PointResult> {
        let found = self.container.document(&change.partition_key, &change.id).await;
        count(counted, &found.answer);
        counted.sent(found.requests.saturating_sub(1));
        let class = classify(found.answer.status, found.answer.sub_status);
        if class != Class::Done {
            let cause = class.cause().unwrap_or(Cause::Fault);
            return Err(PointResult::Failed(reason(&found.answer), wait(cause, &found.answer)));
        }
        let Some(document) = found.document else { return Ok(None) };
        let stored = self.place(change).read(&document);
        if let Some(stored) = &stored {
            self.note_time(stored.version.committed_at);
        }
        stored.map(Some).ok_or_else(|| PointResult::Refused(UNVERSIONED.to_owned()))
    }

    fn decision(&self, incoming: &Incoming, target: Option<&Stored>) -> Decision {
        let side = match self.mirror.role {
            Role::Decides(_) => Side::Deciding,
            Role::Follows => Side::Following,
        };
        let incoming_wins = |_: &Version, _: &Version| match (&self.mirror.role, &incoming.after) {
            (Role::Decides(policy), Some(after)) => {
                target.is_some_and(|target| policy.prefers(after, target))
            }
            _ => false,
        };
        decide(&incoming.change, target.map(|target| &target.version), side, incoming_wins)
    }

    /// Logs a conflict, unless its entry is there. Returns why it cannot be logged.
    async fn log(
        &self,
        change: &SinkChange,
        incoming: &Incoming,
        target: &Stored,
        winner: Winner,
        counted: &mut Answers<'_>,
    ) -> Option<PointResult> {
        let is_delete = incoming.after.is_none();
        let conflict = Conflict {
            sink: &self.name,
            place: self.place(change),
            winner,
            source: incoming.after.as_ref().or(incoming.before.as_ref()),
            is_delete,
            lsn: incoming.change.order.lsn,
            target,
            decided_at: self.time(),
        };
        let id = conflict.id();
        let mut answer = Answer::default();
        for is_whole in [true, false] {
            let Some(entry) = conflict.entry(is_whole) else {
                let why = "the conflict cannot be logged: its documents are no JSON together";
                return Some(PointResult::Refused(why.to_owned()));
            };
            answer = self.mirror.log.create(&id, &entry).await;
            if classify(answer.status, answer.sub_status) != Class::TooLarge {
                break;
            }
        }
        let said = || format!("the conflict cannot be logged: {}", reason(&answer));
        match classify(answer.status, answer.sub_status) {
            Class::Done => {
                counted.conflict_logged();
                None
            }
            Class::Conflict => None,
            // No other attempt changes that.
            Class::TooLarge | Class::Refused => Some(PointResult::Refused(said())),
            // It says nothing about the target, so other changes do not wait for it.
            _ => Some(PointResult::Failed(said(), wait(Cause::Fault, &answer))),
        }
    }

    /// A create that was not answered may bring a document back after it was deleted.
    fn safe_from_late_writes(
        &self,
        change: &SinkChange,
        document: DocumentHash,
        began: Instant,
        result: PointResult,
    ) -> PointResult {
        let is_delete = matches!(change.operation, Operation::Delete { .. });
        if result != PointResult::Done || !is_delete {
            return result;
        }
        self.history.wait(document, is_delete, began).map_or(result, late_write)
    }
}
