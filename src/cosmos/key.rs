//! Partition keys in the SDK's type.

use azure_data_cosmos::CosmosError as SdkError;
use azure_data_cosmos::models::{PartitionKey as SdkKey, PartitionKeyValue};
use cosmos_bridge_sink::{KeyValue, PartitionKey};

pub(super) fn sdk_key(key: &PartitionKey) -> Result<SdkKey, SdkError> {
    let values = key.0.iter().map(|value| {
        Ok(match value {
            KeyValue::String(text) => text.clone().into(),
            KeyValue::Number(number) => PartitionKeyValue::try_from(*number)?,
            KeyValue::Bool(truth) => (*truth).into(),
            KeyValue::Null => PartitionKeyValue::NULL,
            KeyValue::Undefined => PartitionKeyValue::UNDEFINED,
        })
    });
    SdkKey::try_from(values.collect::<Result<Vec<_>, SdkError>>()?)
}
