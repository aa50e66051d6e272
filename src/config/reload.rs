//! What another version of the file changes in a running bridge. The options that differ, which need a
//! restart, are [`cosmos_bridge_options::Options::differences`].

use super::{Config, Pipeline, Sink};

impl Config {
    /// This configuration with the budgets (and `good_neighbour`) of another, for a reload without
    /// a restart.
    ///
    /// A budget belongs to one direction of a container, so tables are matched by the container, not by
    /// their names. All tables of this configuration that name one container therefore agree afterwards,
    /// as they did before. Containers that only this configuration names keep their budget; those that
    /// only the other one names are ignored.
    #[must_use]
    pub fn with_budgets_of(&self, other: &Self) -> Self {
        let mut config = self.clone();
        for Pipeline { source, .. } in config.pipelines.values_mut() {
            let address = self.address(&source.location);
            let mut sources = other.pipelines.values().map(|pipeline| &pipeline.source);
            if let Some(new) = sources.find(|new| other.address(&new.location) == address) {
                source.spending = new.spending.clone();
            }
        }
        for sink in config.sinks.values_mut() {
            let Sink::Cosmos(sink) = sink else { continue };
            let address = self.address(&sink.location);
            let mut sinks = other.sinks.values().filter_map(Sink::container);
            if let Some(new) = sinks.find(|new| other.address(&new.location) == address) {
                sink.spending = new.spending.clone();
            }
        }
        config
    }
}

#[cfg(test)]
mod tests;
