//! What another version of the file changes in a bridge that runs.

use std::collections::BTreeMap;

use cosmos_bridge_event::Format;

use super::{
    Account, AccountCredential, Admin, AmqpSink, Config, CosmosSink, Credential, EventHubsSink,
    Events, FileSink, HttpSink, KafkaSasl, KafkaSink, Log, Pipeline, Sink, Source, State, Traces,
};

/// Names every field of a struct whose values differ. It names all fields, so that one that is added
/// cannot be forgotten.
macro_rules! differing {
    ($type:ident { $($field:ident),* $(,)? } of $one:expr, $other:expr) => {{
        let $type { $($field: _),* } = $one;
        let mut names: Vec<&'static str> = Vec::new();
        $(if $one.$field != $other.$field { names.push(stringify!($field)); })*
        names
    }};
}

impl Config {
    /// This configuration with the budgets (and `good_neighbour`) of another, for a reload without
    /// a restart.
    ///
    /// A budget belongs to one direction of a container, so tables are matched by the container,
    /// wherever the account is and whatever the tables are called. All tables of this configuration
    /// that name one container therefore agree afterwards, as they did before. What the other one
    /// does not name keeps its budget, and what only the other one names is left out.
    #[must_use]
    pub fn with_budgets_of(&self, other: &Self) -> Self {
        let mut config = self.clone();
        for Pipeline { source, .. } in config.pipelines.values_mut() {
            let address = self.source_address(source);
            let mut sources = other.pipelines.values().map(|pipeline| &pipeline.source);
            if let Some(wished) = sources.find(|wish| other.source_address(wish) == address) {
                source.budget = wished.budget.clone();
                source.good_neighbour = wished.good_neighbour;
            }
        }
        for sink in config.sinks.values_mut() {
            let Sink::Cosmos(sink) = sink else { continue };
            let address = self.sink_address(sink);
            let mut sinks = other.sinks.values().filter_map(Sink::container);
            if let Some(wished) = sinks.find(|wish| other.sink_address(wish) == address) {
                sink.budget = wished.budget.clone();
                sink.good_neighbour = wished.good_neighbour;
            }
        }
        config
    }

    /// The options that another configuration has otherwise, as the file names them; whole tables
    /// where only one of the two has them. Secrets are compared by where they stand.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names = Vec::new();
        let mut note = |table: &str, options: Vec<&str>| {
            names.extend(options.iter().map(|option| format!("{table}{option}")));
        };
        let top = differing!(Config {
            state, credentials, accounts, sinks, pipelines, log, admin, traces,
            stop_within
        } of self, other);
        note("", top.into_iter().filter(|name| *name == "stop_within").collect());
        note("state.", differing!(State { file } of &self.state, &other.state));
        note("log.", differing!(Log { level, format, slow } of &self.log, &other.log));
        names.extend(admin(self.admin.as_ref(), other.admin.as_ref()));
        names.extend(traces(self.traces.as_ref(), other.traces.as_ref()));
        names.extend(tables("credentials", &self.credentials, &other.credentials, credential));
        names.extend(tables("accounts", &self.accounts, &other.accounts, account));
        names.extend(tables("sinks", &by_type(&self.sinks), &by_type(&other.sinks), sink));
        names.extend(tables("pipelines", &self.pipelines, &other.pipelines, pipeline));
        names
    }
}

fn admin(one: Option<&Admin>, other: Option<&Admin>) -> Vec<String> {
    match (one, other) {
        (None, None) => Vec::new(),
        (Some(one), Some(other)) => {
            let names = differing!(Admin { address, token, hosts, sink_down, no_progress, stuck }
                of one, other);
            names.into_iter().map(|name| format!("admin.{name}")).collect()
        }
        _ => vec!["admin".to_owned()],
    }
}

#[expect(clippy::float_cmp, reason = "both are as the file has them")]
fn traces(one: Option<&Traces>, other: Option<&Traces>) -> Vec<String> {
    match (one, other) {
        (None, None) => Vec::new(),
        (Some(one), Some(other)) => {
            let names = differing!(Traces {
                endpoint, headers, ca_file, sample, service_name, timeout
            } of one, other);
            names.into_iter().map(|name| format!("traces.{name}")).collect()
        }
        _ => vec!["traces".to_owned()],
    }
}

/// The differences of tables with names.
fn tables<T: PartialEq>(
    header: &str,
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
    options: impl Fn(&T, &T) -> Vec<String>,
) -> Vec<String> {
    let mut names = Vec::new();
    for (name, one) in ours {
        match theirs.get(name) {
            None => names.push(format!("{header}.{name}")),
            Some(other) => names.extend(
                options(one, other).iter().map(|option| format!("{header}.{name}.{option}")),
            ),
        }
    }
    let added = theirs.keys().filter(|name| !ours.contains_key(*name));
    names.extend(added.map(|name| format!("{header}.{name}")));
    names
}

fn account(one: &Account, other: &Account) -> Vec<String> {
    let names = differing!(Account {
        endpoint, address, credential, regions, http2, request_timeout, priority, throughput_bucket
    } of one, other);
    let is_moved = names.contains(&"endpoint");
    let written = names.into_iter().filter_map(|name| match name {
        "credential" => Some(match other.credential {
            AccountCredential::Key(_) => "key",
            AccountCredential::ConnectionString(_) => "connection_string",
            AccountCredential::Entra(_) => "credential",
        }),
        // It stands in no option of its own.
        "address" => (!is_moved).then_some("connection_string"),
        name => Some(name),
    });
    written.map(str::to_owned).collect()
}

fn credential(one: &Credential, other: &Credential) -> Vec<String> {
    let names = differing!(Credential { kind, authority, ca_file } of one, other);
    // Its options depend on the type; telling the table is enough to find them.
    let written =
        names.into_iter().map(|name| if name == "kind" { "type or its options" } else { name });
    written.map(str::to_owned).collect()
}

/// Sinks by type and name, as the file has them.
fn by_type(sinks: &BTreeMap<String, Sink>) -> BTreeMap<String, Sink> {
    let named = |(name, sink): (&String, &Sink)| (format!("{}.{name}", sink.kind()), sink.clone());
    sinks.iter().map(named).collect()
}

fn sink(one: &Sink, other: &Sink) -> Vec<String> {
    let names = match (one, other) {
        (Sink::Amqp(one), Sink::Amqp(other)) => {
            let names = differing!(AmqpSink {
                uri, ca_file, client, exchange, routing_key, headers,
                mandatory, unroutable, persistent, max_message, batch, concurrency, heartbeat,
                connect_timeout, confirm_timeout, events
            } of one, other);
            with_events(names, one.events, other.events)
        }
        (Sink::Cosmos(one), Sink::Cosmos(other)) => differing!(CosmosSink {
            account, database, container, write, concurrency, batch_changes, batch_bytes, budget,
            good_neighbour
        } of one, other),
        (Sink::EventHubs(one), Sink::EventHubs(other)) => {
            let mut names = differing!(EventHubsSink {
                access, partitioning, headers, batch_changes, concurrency,
                request_timeout, events
            } of one, other);
            let differs = one.partitioning != other.partitioning;
            names.retain(|name| *name != "partitioning");
            names.extend(differs.then_some("key or partition"));
            let differs = one.access != other.access;
            names.retain(|name| *name != "access");
            names.extend(differs.then_some("connection, credential, namespace or hub"));
            with_events(names, one.events, other.events)
        }
        (Sink::File(one), Sink::File(other)) => {
            let names = differing!(FileSink { path, rotate_bytes, rotate_after, format }
                of one, other);
            with_format(names, one.format, other.format)
        }
        (Sink::Http(one), Sink::Http(other)) => {
            let names = differing!(HttpSink {
                url, bearer, headers, ca_file, batch, max_body, concurrency, request_timeout,
                refusals, events
            } of one, other);
            with_events(names, one.events, other.events)
        }
        (Sink::Kafka(one), Sink::Kafka(other)) => {
            let (one, other) = (&**one, &**other);
            let names = differing!(KafkaSink {
                servers, topic, key, headers, tombstones, compression, linger, max_message,
                request_timeout, tls, sasl, options, events
            } of one, other);
            let is_entra = |sink: &KafkaSink| matches!(sink.sasl, Some(KafkaSasl::Entra { .. }));
            let has_credential = is_entra(one) || is_entra(other);
            let written = |name| match name {
                "sasl" if has_credential => "credential or scope",
                name => name,
            };
            let names = names.into_iter().map(written).collect();
            with_events(names, one.events, other.events)
        }
        // Tables of two types have two names.
        _ => Vec::new(),
    };
    names.into_iter().map(str::to_owned).collect()
}

/// The options that a format is made of, in its place.
fn with_format(mut names: Vec<&'static str>, one: Format, other: Format) -> Vec<&'static str> {
    names.retain(|name| *name != "format");
    names.extend((one.data != other.data).then_some("format"));
    names.extend((one.cloud_events != other.cloud_events).then_some("cloudevents"));
    names
}

/// The options that stand for `events`, in its place.
fn with_events(mut names: Vec<&'static str>, one: Events, other: Events) -> Vec<&'static str> {
    names.retain(|name| *name != "events");
    names.extend((one.oversize != other.oversize).then_some("oversize"));
    with_format(names, one.format, other.format)
}

fn pipeline(one: &Pipeline, other: &Pipeline) -> Vec<String> {
    let names = differing!(Pipeline {
        source, routes, window, checkpoint_interval, read_ahead, spool, slow_sinks, deletes
    } of one, other);
    let (one, other) = (&one.source, &other.source);
    let source = differing!(Source {
        account, database, container, mode, start, page_size, poll_interval, budget, good_neighbour
    } of one, other);
    let source = source.into_iter().map(|name| format!("source.{name}"));
    source.chain(names.into_iter().filter(|name| *name != "source").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
