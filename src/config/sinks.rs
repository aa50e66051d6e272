//! `[sinks.TYPE.NAME]`. The options of a type are defined in the sink's crate.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use cosmos_bridge_cosmos::CosmosOptions;
use cosmos_bridge_options::{
    Form, Kind, NameRule, Need, Open, OptionForm, Options, Resources, TableForm, Value, meant,
    options, table, table_like,
};

use super::containers::{Location, Spending};
use super::mirror::Mirror;
use super::names;

options! {
    /// A container that documents are copied into.
    pub struct CosmosSink {
        location: Location = flatten;
        writing: CosmosOptions = flatten;
        spending: Spending = flatten;
        /// This container and the one that its pipeline reads mirror each other.
        mirror: Option<Mirror> = optional, table_like(
            "a table",
            "Write [<table>.mirror] and in it with = \"SINK\"."
        );
    }
}

/// A type of sinks that publish events.
#[derive(Debug)]
struct Type {
    /// In the file; also the feature of the build.
    name: &'static str,
    /// The system's name in OpenTelemetry.
    system: &'static str,
    read: fn(&Value<'_>) -> Option<Arc<dyn Open>>,
    form: fn() -> TableForm,
    differences: fn(&dyn Open, &dyn Open) -> Vec<String>,
    /// Options that are names with rules of the target.
    names: &'static [NameRule],
}

/// The types that this build has. A new one is a line here, and one in `NAMES`.
const TYPES: &[Type] = &[
    #[cfg(feature = "amqp")]
    of::<cosmos_bridge_amqp::AmqpOptions>("amqp", "rabbitmq", &cosmos_bridge_amqp::NAMES),
    #[cfg(feature = "eventhubs")]
    of::<cosmos_bridge_eventhubs::EventHubsOptions>("eventhubs", "eventhubs", &[]),
    #[cfg(feature = "file")]
    of::<cosmos_bridge_file::FileOptions>("file", "file", &[]),
    #[cfg(feature = "http")]
    of::<cosmos_bridge_http::HttpOptions>("http", "http", &[]),
    #[cfg(feature = "kafka")]
    of::<cosmos_bridge_kafka::KafkaOptions>("kafka", "kafka", &[cosmos_bridge_kafka::TOPIC]),
    #[cfg(feature = "redis")]
    of::<cosmos_bridge_redis::RedisOptions>("redis", "redis", &[]),
];

/// The types of all builds.
const NAMES: [&str; 7] = [COSMOS, "amqp", "eventhubs", "file", "http", "kafka", "redis"];
const COSMOS: &str = "cosmos";

const fn of<T: Options + Open>(
    name: &'static str,
    system: &'static str,
    names: &'static [NameRule],
) -> Type {
    Type {
        name,
        system,
        read: |value| table::<T>().read(value).map(|options| Arc::new(options) as _),
        form: T::form,
        differences: |one, other| {
            let (one, other): (&dyn Any, &dyn Any) = (one, other);
            match one.downcast_ref::<T>().zip(other.downcast_ref::<T>()) {
                Some((one, other)) => one.differences(other),
                None => vec![String::new()],
            }
        },
        names,
    }
}

/// The types whose options have names with rules, with these rules and the form of the options.
pub(super) fn with_names() -> impl Iterator<Item = (&'static str, &'static [NameRule], TableForm)> {
    let types = TYPES.iter().filter(|kind| !kind.names.is_empty());
    types.map(|kind| (kind.name, kind.names, (kind.form)()))
}

/// `[sinks.TYPE.NAME]`. Names are unique across types.
#[allow(clippy::large_enum_variant, reason = "a file has few of them")]
#[derive(Clone, Debug, PartialEq)]
pub enum Sink {
    Cosmos(CosmosSink),
    Events(EventSink),
}

/// A sink that publishes events.
#[derive(Clone, Debug)]
pub struct EventSink {
    kind: &'static Type,
    pub options: Arc<dyn Open>,
    /// The secrets and certificates that the options name.
    pub resources: Resources,
}

impl EventSink {
    /// The type, as the file writes it.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// The system's name in OpenTelemetry.
    pub fn system(&self) -> &'static str {
        self.kind.system
    }
}

impl PartialEq for EventSink {
    fn eq(&self, other: &Self) -> bool {
        (self.kind.differences)(&*self.options, &*other.options).is_empty()
    }
}

impl Sink {
    /// The type, as the file writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cosmos(_) => COSMOS,
            Self::Events(sink) => sink.kind.name,
        }
    }

    /// The options, if the sink is a container.
    pub fn container(&self) -> Option<&CosmosSink> {
        match self {
            Self::Cosmos(sink) => Some(sink),
            Self::Events(_) => None,
        }
    }

    fn differences(&self, other: &Self) -> Vec<String> {
        match (self, other) {
            (Self::Cosmos(one), Self::Cosmos(other)) => one.differences(other),
            (Self::Events(one), Self::Events(other)) => {
                (one.kind.differences)(&*one.options, &*other.options)
            }
            // Tables of two types have two paths.
            _ => Vec::new(),
        }
    }
}

/// Sinks of all types, by name.
pub(super) struct Sinks;

impl Kind for Sinks {
    type Output = BTreeMap<String, Sink>;

    fn read(&self, value: &Value<'_>) -> Option<Self::Output> {
        let mut sinks = Vec::new();
        for (kind, value) in value.named("a table of sink types")? {
            if kind == COSMOS {
                let read = |value: &Value<'_>| table().read(value).map(Sink::Cosmos);
                sinks.extend(named(&value, read));
            } else if let Some(kind) = TYPES.iter().find(|known| known.name == kind) {
                sinks.extend(named(&value, |value| {
                    let options = (kind.read)(value)?;
                    let resources = value.file().resources_below(value.key());
                    Some(Sink::Events(EventSink { kind, options, resources }))
                }));
            } else if NAMES.contains(&kind) {
                let hint = format!("Build it with the Cargo feature `{kind}`.");
                value.problem_unshown("this build does not include the sink type", hint);
            } else {
                value.problem_unshown("unknown sink type", meant(kind, &NAMES, "sink type"));
            }
        }
        sinks.into_iter().map(|(name, sink)| Some((name, sink?))).collect()
    }

    fn form(&self) -> Form {
        let of_type = |(name, form)| OptionForm {
            name,
            doc: String::new(),
            need: Need::Optional,
            form: names::form(Form::Table(form)),
            example: None,
        };
        let events = TYPES.iter().map(|kind| (kind.name, (kind.form)()));
        let types = std::iter::once((COSMOS, CosmosSink::form())).chain(events);
        let options = types.map(of_type).collect();
        Form::Table(TableForm { options, ..TableForm::default() })
    }

    fn differences(&self, one: &Self::Output, other: &Self::Output) -> Vec<String> {
        names::differences(&by_path(one), &by_path(other), |one, other| one.differences(other))
    }
}

fn named(
    value: &Value<'_>,
    read: impl Fn(&Value<'_>) -> Option<Sink>,
) -> Vec<(String, Option<Sink>)> {
    let entries = names::entries(value).unwrap_or_default().into_iter();
    entries.map(|(name, value)| (name.to_owned(), read(&value))).collect()
}

/// Sinks by type and name, as the file has them.
fn by_path(sinks: &BTreeMap<String, Sink>) -> BTreeMap<String, &Sink> {
    sinks.iter().map(|(name, sink)| (format!("{}.{name}", sink.kind()), sink)).collect()
}
