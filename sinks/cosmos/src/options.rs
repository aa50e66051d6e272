//! The options of `[sinks.cosmos.NAME]` that concern how documents are written.

use std::time::Duration;

use cosmos_bridge_options::{Value, boolean, choice, duration, integer, options, size, text_of};
use cosmos_bridge_sink::SYSTEM_PROPERTIES;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

options! {
    /// How documents are written into a container.
    pub struct CosmosOptions {
        /// "upsert" keeps the target equal to the source; "insert-if-absent" never overwrites what the
        /// target has; "replace-if-present" never adds to it.
        write: Strategy = "upsert", choice(vec![
            ("upsert", Strategy::Upsert),
            ("insert-if-absent", Strategy::InsertIfAbsent),
            ("replace-if-present", Strategy::ReplaceIfPresent),
        ]);
        /// The most requests in flight. Fewer are sent if more would only make answers slower.
        // Fills a container of 10,000 RU/s with single requests for 1 KiB documents at a round trip of 80 ms. One
        // connection carries 100 HTTP/2 streams by default; more than ten connections gain nothing.
        concurrency: usize = 128, integer(1..=1000);
        /// Changes per request, 1 to 100; 1 sends each alone.
        // The service accepts at most 100 operations and 2 MiB in one request.
        batch_changes: usize = 100, integer(1..=100);
        /// Bytes per request; the service accepts 2 MiB.
        // Leaves room for the request's own text below that.
        batch_bytes: usize = "1.5 MiB", size(KIB..=2 * MIB);
        /// Documents of different partition keys share a request if they go to one physical partition, up to
        /// `batch_changes` and `batch_bytes`. Each is written by itself. false: only documents of one
        /// partition key share a request, as a transactional batch.
        // If the service refuses such a request as a whole, each change is written alone: the client library
        // has no such requests, so the bridge makes them of another one.
        bulk: bool = true, boolean();
        /// What becomes of a document whose place in the target a document of another source document
        /// has, because both are mapped to one key and id. "newest" keeps the one that was committed last
        /// and counts the other one, "dead-letter" keeps the first one, "error" waits for an operator.
        on_collision: OnCollision = "newest", choice(vec![
            ("newest", OnCollision::Newest),
            ("dead-letter", OnCollision::DeadLetter),
            ("error", OnCollision::Error),
        ]);
        /// A field that the sink adds to each document: which source document it is a copy of, and which
        /// version. With it, what one process knows of its writes the next one knows too: collisions and
        /// older versions are recognised, a delete removes only the copy of its own source document, and
        /// copies are found whose key in the target is not known. A document that exists is read before
        /// it is first written. One route from each container may write to such a sink.
        source_field: Option<String> = optional, text_of("the name of a field", field_name),
            example "_source";
        /// "remaining": a copy expires when its source document does. Its `ttl` is what is left of the
        /// lifetime, where that differs by more than 3 s, and documents that have expired are not written.
        /// "as-is": `ttl` is copied like any other field, and counts from the write. Without effect in a
        /// container whose time to live is switched off, and on documents whose `ttl` a route changes.
        ttl: Ttl = "remaining", choice(vec![("remaining", Ttl::Remaining), ("as-is", Ttl::AsIs)]);
        /// How long the service may take to execute a write that it did not answer. A document that such
        /// a write could still set back waits for this time, and is then written again; its position
        /// waits with it.
        // The client gives an attempt up after 6 s; what delays it on the way is rarely slower than 30 s.
        late_write_limit: Duration = "30s", duration(Duration::ZERO..=Duration::from_mins(10));
        /// Documents whose ETag is remembered after a write, about 100 bytes each, and 200 more with
        /// source_field. The next write of such a document is conditional, so that no late attempt can set
        /// it back.
        remembered_documents: usize = 100_000, integer(1..=10_000_000);
    }
}

fn field_name(value: &Value<'_>, name: String) -> Option<String> {
    let is_taken = name == "id" || name == "ttl" || SYSTEM_PROPERTIES.contains(&name.as_str());
    if is_taken {
        value
            .problem("the service gives this field a meaning", "Write source_field = \"_source\".");
    }
    (!is_taken).then_some(name)
}

/// How a write depends on the document in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Upsert,
    /// A document that exists in the target is not changed.
    InsertIfAbsent,
    /// A document that does not exist in the target is not created.
    ReplaceIfPresent,
}

/// When a copy expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// When its source document does.
    Remaining,
    /// Its `ttl` counts from the write.
    AsIs,
}

/// What becomes of a document whose place in the target another source document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCollision {
    /// The one that was committed last has the place.
    Newest,
    /// The one that was written first has the place.
    DeadLetter,
    /// The feed range waits.
    Error,
}

#[cfg(test)]
mod tests {
    use cosmos_bridge_options::from_toml;

    use super::CosmosOptions;

    #[test]
    fn the_field_of_the_source_is_none_that_the_service_gives_a_meaning() {
        let cases =
            [("_source", true), ("origin", true), ("id", false), ("ttl", false), ("_etag", false)];
        for (name, is_accepted) in cases {
            let text = format!("source_field = '{name}'");
            let options = from_toml::<CosmosOptions>(&text);
            assert_eq!(
                options.is_ok_and(|options| options.source_field.as_deref() == Some(name)),
                is_accepted,
                "{name}"
            );
        }
    }
}
