//! Selects the changes that are traced.

/// A share of all traces, selected by their ids like OpenTelemetry's sampler `TraceIdRatioBased`: every sampler
/// with the same share selects the same traces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// `None` selects all.
    below: Option<u64>,
}

impl Sample {
    /// `share` is above 0; 1 selects all.
    pub(super) fn of(share: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the samplers convert the same way; a share below 1 of 2^63 fits"
        )]
        let below = (share < 1.0).then(|| (share.max(0.0) * (1_u64 << 63) as f64) as u64);
        Self { below }
    }

    pub(super) fn contains(self, trace: [u8; 16]) -> bool {
        let low = std::array::from_fn(|at| trace[8 + at]);
        self.below.is_none_or(|below| u64::from_be_bytes(low) >> 1 < below)
    }
}
