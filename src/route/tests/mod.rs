//! The router, as tables.

mod builders;
mod deletes;
mod events;
mod fields;
mod filters;
mod jq;
mod keys;
mod mirror;
mod properties;
mod soft_deletes;
mod unparsed;
mod values;
