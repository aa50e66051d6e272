//! A container in an account.

use std::sync::Arc;

use cosmos_bridge_cosmos::{CosmosSink, Settings, Strategy};
use cosmos_bridge_sink::{Grouping, Limits};

use super::super::RunError;
use super::super::key_paths::key_paths;
use super::BuiltSink;
use crate::config::{self, Config, WriteStrategy};
use crate::cosmos::{Connections, Target};
use crate::deliver::Partitions;
use crate::observe::Direction;
use crate::route::TargetKey;
use crate::throughput::BudgetTask;

pub(super) async fn open(
    name: &str,
    sink: &config::CosmosSink,
    config: &Config,
    connections: &mut Connections,
    budgets: &mut BudgetTask,
) -> Result<BuiltSink, RunError> {
    let account = connections.account(&sink.account).await?;
    let container = account.locate(&sink.database, &sink.container).await?;
    let key = TargetKey::Paths(key_paths(&container)?);
    let settings = Settings {
        strategy: match sink.write {
            WriteStrategy::Upsert => Strategy::Upsert,
            WriteStrategy::InsertIfAbsent => Strategy::InsertIfAbsent,
            WriteStrategy::ReplaceIfPresent => Strategy::ReplaceIfPresent,
        },
        limits: Limits {
            grouping: Grouping::Key,
            changes: sink.batch_changes,
            bytes: sink.batch_bytes,
            concurrency: sink.concurrency,
        },
    };
    let offer = Arc::new(container.clone());
    let allowance = config.allowance(sink, name);
    let governor = budgets.governor(Direction::Write, allowance, &container.name, offer).await?;
    let target = Arc::new(Target::new(container));
    let partitions = Arc::clone(&target) as Arc<dyn Partitions>;
    let sink = Arc::new(CosmosSink::new(name, settings, target));
    Ok(BuiltSink { sink, reloading: None, governor, partitions: Some(partitions), key })
}
