//! Which changes are traced.

/// A share of all traces, chosen by their ids as the samplers of OpenTelemetry do
/// (`TraceIdRatioBased`): whoever samples the same share anywhere takes the same traces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// `None` takes all.
    below: Option<u64>,
}

impl Sample {
    /// `share` is more than 0; 1 is all.
    pub(super) fn of(share: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as the samplers do it; a share below 1 of 2^63 fits"
        )]
        let below = (share < 1.0).then(|| (share.max(0.0) * (1_u64 << 63) as f64) as u64);
        Self { below }
    }

    pub(super) fn takes(self, trace: [u8; 16]) -> bool {
        let low = std::array::from_fn(|at| trace[8 + at]);
        self.below.is_none_or(|below| u64::from_be_bytes(low) >> 1 < below)
    }
}
