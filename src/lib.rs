//! cosmos-bridge replicates Azure Cosmos DB containers.
//!
//! A document's path is the order of these modules: [`config`] says what is wanted, [`source`]
//! reads pages of changes through [`cosmos`], [`route`] chooses sink and key, [`deliver`] offers
//! each change until it is safe, a sink that [`open`] made writes it, and [`state`] remembers how far
//! everything is safe. [`run`] puts them together, and [`admin`] tells how they do.

pub mod admin;
pub mod backoff;
pub mod budgets;
pub mod config;
pub mod cosmos;
pub mod deliver;
pub mod exit;
pub mod governor;
pub mod identity;
pub mod observe;
pub mod open;
pub mod reload;
pub mod route;
pub mod run;
pub mod source;
pub mod state;
pub mod stop;
