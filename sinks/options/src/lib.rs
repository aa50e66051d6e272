//! One definition per option of the configuration file.
//!
//! A sink defines its options in `options.rs` of its crate, and everything else follows from that: the
//! reader with its messages, what a reload reports as changed, which secrets are read, the JSON Schema
//! (`cosmos-bridge schema`) and docs/configuration.md.
//!
//! ```
//! use std::path::PathBuf;
//! use std::time::Duration;
//!
//! use cosmos_bridge_options::{Kind, SecretRef, duration, file, integer, options, secret};
//!
//! options! {
//!     /// A queue of Acme.
//!     pub struct AcmeOptions {
//!         /// Where the queue is, with its password.
//!         address: SecretRef = required("Write { env = \"VARIABLE\" }."), secret();
//!         /// Authorities to trust in addition to the system's, in PEM form.
//!         ca_file: Option<PathBuf> = optional, file(), example "authority.pem";
//!         /// Requests in flight.
//!         // Answers take some 10 ms: a thousand events per second.
//!         concurrency: usize = 16, integer(1..=1000);
//!         /// Longest wait for one answer.
//!         timeout: Duration = "30s", duration(Duration::from_millis(100)..=Duration::from_secs(600));
//!     }
//! }
//! ```
//!
//! To add an option: define it there, use the field, and add its line to `config.toml.example`. Tests
//! report what is missing.

mod form;
mod kind;
mod macros;
mod names;
mod open;
mod problem;
mod secret;
mod secret_check;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod value;
mod values;

pub use form::{Form, Need, OptionForm, TableForm, Variants, doc};
pub use kind::{
    Check, Custom, Kind, List, Map, Optional, Options, TableKind, below, kind, list, map,
    secret_table, some, table, table_like, typed,
};
pub use names::{NameProblem, NameRule};
pub use open::{Destination, Open, Opening, TargetParts, read_file, unusable};
pub use problem::{Problem, Problems, closest, meant};
pub use secret::{
    LocalSecret, SecretError, SecretRef, TextOrSecret, VaultSecret, as_secret, http_headers,
    local_reference, local_secret, read_now, readable_secret, secret, secret_form, secret_problem,
    text_or_secret,
};
pub use secret_check::{checked_secret, if_readable, report_secret};
pub use table::{Table, from_toml};
pub use units::{duration_text, number_first, size_text};
pub use value::{ConfigText, Resources, Value, join};
pub use values::{
    any_json, boolean, certificates, choice, duration, field_template, file, filled, integer, path,
    path_from, quantity, read_json, read_path, reference, size, template, template_or_empty, text,
    text_of, within,
};
