//! Opens the log of the conflicts between two mirrored containers.

use std::sync::Arc;

use cosmos_bridge_cosmos::mirror::Mirror;

use super::RunError;
use super::mirrors::MirrorError;
use crate::config::{self, Config};
use crate::cosmos::{ConflictContainer, Connections, ContainerHandle};
use crate::observe::Direction;
use crate::throughput::BudgetTask;

/// Opens the log of conflicts, and says how the sink mirrors.
pub(super) async fn open(
    name: &str,
    options: &config::Mirror,
    target: &ContainerHandle,
    config: &Config,
    connections: &mut Connections,
    budgets: &mut BudgetTask,
) -> Result<Mirror, RunError> {
    let location = &options.log.location;
    let account = connections.account(&location.account).await?;
    let container = account.locate(&location.database, &location.container).await?;
    let refused = |source| RunError::Mirror { sink: name.to_owned(), source };
    if container.id() == target.id() {
        return Err(refused(MirrorError::LogItself { container: container.name }));
    }
    if container.key_paths != ["/id"] {
        let paths = container.key_paths.join(", ");
        return Err(refused(MirrorError::LogKey { container: container.name, paths }));
    }
    let allowance = config.logging(options, name);
    let offer = Arc::new(container.clone());
    let governor = budgets.governor(Direction::Write, allowance, &container.name, offer).await?;
    let log = Arc::new(ConflictContainer::new(container, governor));
    Ok(Mirror { field: options.field.clone(), role: options.role(), log })
}
