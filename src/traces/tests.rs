use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use proptest::prelude::*;

use super::sample::Sample;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_share_is_the_one_that_the_sampler_of_opentelemetry_selects(
        id in any::<[u8; 16]>(),
        share in prop_oneof![Just(1.0), 0.0001..1.0],
    ) {
        let sampler = Sampler::TraceIdRatioBased(share);
        let id_of = TraceId::from_bytes(id);
        let theirs = sampler.should_sample(None, id_of, "", &SpanKind::Consumer, &[], &[]);
        let theirs = theirs.decision == SamplingDecision::RecordAndSample;
        prop_assert_eq!(Sample::of(share).contains(id), theirs);
    }
}
