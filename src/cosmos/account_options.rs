//! What every client of an account is built with.

use azure_data_cosmos::options::{
    BinaryEncodingOptions, ConnectionPoolOptions, ConnectionPoolOptionsBuilder,
    ContentResponseOnWrite, EndToEndOperationLatencyPolicy, OperationOptions,
    OperationOptionsBuilder, PriorityLevel, Region, ThrottlingRetryOptionsBuilder,
    ThroughputControlOptions, ThroughputControlOptionsBuilder, UserAgentSuffix,
};

use crate::config;

pub(super) fn regions(config: &config::Account) -> Vec<Region> {
    config.regions.iter().map(|region| Region::new(region.clone())).collect()
}

pub(super) fn connection_pool(
    config: &config::Account,
) -> azure_data_cosmos::Result<ConnectionPoolOptions> {
    connection_pool_builder(config).build()
}

pub(super) fn connection_pool_builder(config: &config::Account) -> ConnectionPoolOptionsBuilder {
    ConnectionPoolOptions::builder().with_is_http2_allowed(config.http2)
}

pub(super) fn user_agent() -> azure_data_cosmos::Result<UserAgentSuffix> {
    UserAgentSuffix::try_from("cosmos-bridge")
}

/// Options of every request to an account.
///
/// The SDK's own throttling retries are off: they wait up to 270 s inside one call and hide the
/// charge from the budget. Bodies are text, so that numbers and text stay as the service holds
/// them. No document is returned after a write. Session tokens are not captured: a reader that
/// follows its own position does not use them.
pub(super) fn operation_options(config: &config::Account) -> OperationOptions {
    OperationOptionsBuilder::new()
        .with_throttling_retry_options(
            ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build(),
        )
        .with_content_response_on_write(ContentResponseOnWrite::Disabled)
        // The binary format does not preserve numbers, and cannot hold what no parser takes.
        .with_binary_encoding(BinaryEncodingOptions::default().with_enabled(false))
        .with_end_to_end_latency_policy(EndToEndOperationLatencyPolicy::new(config.request_timeout))
        .with_session_capturing_disabled(true)
        .with_throughput_control(throughput_control(config))
        .build()
}

fn throughput_control(config: &config::Account) -> ThroughputControlOptions {
    let mut options = ThroughputControlOptionsBuilder::new();
    if let Some(priority) = config.priority {
        options = options.with_priority_level(match priority {
            config::Priority::Low => PriorityLevel::Low,
            config::Priority::High => PriorityLevel::High,
        });
    }
    if let Some(bucket) = config.throughput_bucket {
        options = options.with_throughput_bucket(bucket);
    }
    options.build()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use azure_data_cosmos::options::PriorityLevel;

    use super::operation_options;
    use crate::config::{Account, Priority};

    #[test]
    fn priority_and_throughput_bucket_are_sent_where_they_are_configured() {
        let account = Account {
            endpoint: None,
            key: None,
            connection_string: None,
            credential: None,
            regions: vec![],
            http2: true,
            request_timeout: Duration::from_secs(1),
            priority: None,
            throughput_bucket: None,
        };
        for (priority, bucket, level) in [
            (None, None, None),
            (Some(Priority::Low), None, Some(PriorityLevel::Low)),
            (Some(Priority::High), Some(1), Some(PriorityLevel::High)),
            (None, Some(5), None),
        ] {
            let account = Account { priority, throughput_bucket: bucket, ..account.clone() };
            let sent = operation_options(&account).throughput_control.unwrap();
            assert_eq!((sent.priority_level, sent.throughput_bucket), (level, bucket));
        }
    }
}
