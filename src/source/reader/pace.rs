//! Waits between the requests of a reader, and the size of their pages.

use std::num::NonZeroU32;
use std::time::Duration;

use cosmos_bridge_cosmos::Class;
use cosmos_bridge_sink::{Cause, Wait};
use tracing::debug;

use crate::backoff::{Attempts, Repeat};
use crate::cosmos::CosmosError;
use crate::model::Mode;
use crate::source::pipeline::Pipeline;

use super::polling::{PageSize, Polls};

/// Waits between requests, and their size.
pub(in crate::source) struct Pace {
    /// The pause before the last request, if that found nothing.
    pause: Option<Duration>,
    attempts: Attempts,
    page_size: NonZeroU32,
}

impl Pace {
    pub(in crate::source) fn new(page_size: NonZeroU32) -> Self {
        Self { pause: None, attempts: Attempts::default(), page_size }
    }

    /// How many changes to ask for, so that a page fits the budget, and memory as well.
    pub(super) fn page_size(&mut self, pipeline: &Pipeline, fitting: usize) -> NonZeroU32 {
        let usual = pipeline.ports.feeds.page_size();
        let affordable = pipeline.ports.governor.fitting_page(usual.get() as usize);
        self.page_size = resized(self.page_size, usual, affordable.min(fitting));
        self.page_size
    }

    /// The pause after a poll that found nothing and cost this many request units.
    pub(super) fn after_nothing(&mut self, pipeline: &Pipeline, charge: f64) -> Duration {
        let polls = Polls {
            silence: pipeline.silence(),
            last_pause: self.pause,
            readers: pipeline.readers(),
            charge,
            budget: pipeline.ports.governor.rate(),
        };
        let pause = pipeline.settings.polling.pause(&polls);
        self.pause = Some(pause);
        pause
    }

    /// The pause after a page of changes.
    pub(super) fn after_changes(&mut self, pipeline: &Pipeline, page: PageSize) -> Duration {
        self.pause = None;
        pipeline.settings.polling.after_page(page, self.page_size)
    }

    /// How to go on after an error, or the error if that needs operator action.
    pub(in crate::source) fn after(
        &mut self,
        pipeline: &Pipeline,
        fault: CosmosError,
    ) -> Result<Repeat, CosmosError> {
        let throttled = fault.answer.status == 429;
        pipeline.meter.count_request(fault.answer.charge);
        pipeline.meter.source_throttled.inc_by(u64::from(throttled));
        let cause = match fault.class() {
            Class::ContainerReplaced | Class::Defect => return Err(fault),
            Class::Refused if fault.is_about_position() => return Err(fault),
            // In this mode a refusal means that the position has left the retention window.
            Class::Refused
                if pipeline.ports.feeds.identity().mode == Mode::AllVersionsAndDeletes =>
            {
                return Err(fault);
            }
            // There is nothing else to read: even what should never pass is tried again.
            class => class.cause().unwrap_or(Cause::Fault),
        };
        pipeline.throttling.count(1, u32::from(throttled));
        let repeat = self.attempts.after(Wait { cause, retry_after: fault.retry_after() });
        let answer = &fault.answer;
        debug!(
            pipeline = pipeline.settings.name,
            status = answer.status,
            sub_status = answer.sub_status,
            ?cause,
            pause = ?repeat.pause,
            error = %fault,
            "reading has to wait"
        );
        if !throttled && cause != Cause::Moved {
            pipeline.meter.read_failures.failed(&fault.message());
        }
        Ok(repeat)
    }

    pub(in crate::source) fn recovered(&mut self, pipeline: &Pipeline) {
        pipeline.throttling.count(1, 0);
        if self.attempts.have_failed() {
            self.attempts = Attempts::default();
            pipeline.meter.read_failures.recovered();
        }
    }
}

/// The next page size: `usual`, or a half, a quarter and so on of it. Another size costs a request,
/// so it changes only when it is well off what fits.
fn resized(now: NonZeroU32, usual: NonZeroU32, fitting: usize) -> NonZeroU32 {
    let current = now.get() as usize;
    if current * 4 <= fitting * 5 && fitting < current * 2 {
        return now;
    }
    let mut size = usual.get();
    while size as usize > fitting && size > 1 {
        size = size.div_ceil(2);
    }
    NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN)
}
