//! What the command line puts into the accounts before they are ready: containers and documents.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize as _;

use crate::harness::LocalAccounts;
use crate::images::PreviousImages;
use crate::orders::Orders;
use crate::world::{ContainerSettings, ControlError};

/// Documents are handed to the store in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// A container, as `account/database/container`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerName {
    pub account: String,
    pub database: String,
    pub container: String,
}

/// A container to create: `account/db/name=/pk1,/pk2;partitions=4;ru=4000;ttl=-1;retention=600`,
/// or `autoscale=4000` in place of `ru`, `database-ru=4000`, `variation=0.5`, `images=all`, `version=1`.
/// With `none` in place of the paths it has no partition key.
#[derive(Clone, Debug, PartialEq)]
pub struct NewContainer {
    pub name: ContainerName,
    pub settings: ContainerSettings,
}

/// Orders to generate: `account/db/name=50000,seed=1,bytes=1024,customers=1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedOrders {
    pub name: ContainerName,
    pub count: u64,
    pub seed: u64,
    /// About how large each document is; none: the default of [`Orders`].
    pub bytes: Option<usize>,
    /// How many customers they come from; none: as many as a shop of this size has.
    pub customers: Option<u64>,
}

/// Documents to read: `account/db/name=documents.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedFile {
    pub name: ContainerName,
    pub path: PathBuf,
}

/// Everything to set up, in this order.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub containers: Vec<NewContainer>,
    pub orders: Vec<SeedOrders>,
    pub files: Vec<SeedFile>,
}

/// Why an option cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    #[error("expected `account/database/container=...`")]
    Shape,
    #[error("`{0}` is not `account/database/container`")]
    Name(String),
    #[error("`{0}` is not a partition key path; one begins with a slash")]
    Path(String),
    #[error("a partition key has one to three paths")]
    Levels,
    #[error("`{0}` is not a setting here; the settings are {1}")]
    Setting(String, &'static str),
    #[error("`{0}` is not a number that `{1}` can have")]
    Number(String, &'static str),
    #[error("`{0}` are not images; there are none, replace, delete and all")]
    Images(String),
    #[error("the path of the file is missing")]
    NoFile,
}

/// Why the accounts cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("could not read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0}: a line is not one JSON document")]
    Line(PathBuf, #[source] ControlError),
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl FromStr for ContainerName {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let parts: Vec<_> = text.split('/').collect();
        match parts.as_slice() {
            [account, database, container] if parts.iter().all(|part| !part.is_empty()) => {
                Ok(Self {
                    account: (*account).to_owned(),
                    database: (*database).to_owned(),
                    container: (*container).to_owned(),
                })
            }
            _ => Err(OptionError::Name(text.to_owned())),
        }
    }
}

impl FromStr for NewContainer {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let (name, rest) = name_and_rest(text)?;
        let mut parts = rest.split(';');
        let mut paths: Vec<_> = parts.next().unwrap_or_default().split(',').collect();
        let system_key = paths == ["none"];
        if system_key {
            paths.clear();
        }
        if let Some(bad) = paths.iter().find(|path| !path.starts_with('/') || path.len() < 2) {
            return Err(OptionError::Path((*bad).to_owned()));
        }
        if paths.len() > 3 {
            return Err(OptionError::Levels);
        }
        let mut settings = ContainerSettings { system_key, ..ContainerSettings::new(&paths, 1) };
        for part in parts {
            match part.split_once('=') {
                Some(("partitions", value)) => settings.partitions = read(value, "partitions")?,
                Some(("ru", value)) => settings.throughput = Some(read(value, "ru")?),
                Some(("autoscale", value)) => settings.autoscale = Some(read(value, "autoscale")?),
                Some(("database-ru", value)) => {
                    settings.database_throughput = Some(read(value, "database-ru")?);
                }
                Some(("variation", value)) => {
                    settings.charge_variation = Some(read(value, "variation")?);
                }
                Some(("ttl", value)) => settings.default_ttl = Some(read(value, "ttl")?),
                Some(("retention", value)) => {
                    settings.retention_seconds = Some(read(value, "retention")?);
                }
                Some(("images", value)) => settings.previous_images = images(value)?,
                Some(("version", value)) => {
                    settings.partition_key_version = read(value, "version")?;
                }
                _ => {
                    let known = "partitions, ru, autoscale, database-ru, variation, ttl, \
                                 retention, images and version";
                    return Err(OptionError::Setting(part.to_owned(), known));
                }
            }
        }
        Ok(Self { name, settings })
    }
}

impl FromStr for SeedOrders {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let (name, rest) = name_and_rest(text)?;
        let mut parts = rest.split(',');
        let count = read(parts.next().unwrap_or_default(), "the number of orders")?;
        let mut orders = Self { name, count, seed: 1, bytes: None, customers: None };
        for part in parts {
            match part.split_once('=') {
                Some(("seed", value)) => orders.seed = read(value, "seed")?,
                Some(("bytes", value)) => orders.bytes = Some(read(value, "bytes")?),
                Some(("customers", value)) => {
                    orders.customers = Some(read(value, "customers")?);
                }
                _ => {
                    let known = "seed, bytes and customers";
                    return Err(OptionError::Setting(part.to_owned(), known));
                }
            }
        }
        Ok(orders)
    }
}

impl FromStr for SeedFile {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let (name, path) = name_and_rest(text)?;
        if path.is_empty() {
            return Err(OptionError::NoFile);
        }
        Ok(Self { name, path: path.into() })
    }
}

fn name_and_rest(text: &str) -> Result<(ContainerName, &str), OptionError> {
    let (name, rest) = text.split_once('=').ok_or(OptionError::Shape)?;
    Ok((name.parse()?, rest))
}

fn images(text: &str) -> Result<PreviousImages, OptionError> {
    PreviousImages::deserialize(serde_json::Value::from(text))
        .map_err(|_| OptionError::Images(text.to_owned()))
}

fn read<T: FromStr>(text: &str, what: &'static str) -> Result<T, OptionError> {
    text.trim().parse().map_err(|_| OptionError::Number(text.to_owned(), what))
}

impl Setup {
    /// Creates the containers, then writes the documents.
    pub async fn apply(&self, accounts: &LocalAccounts) -> Result<(), SetupError> {
        for NewContainer { name, settings } in &self.containers {
            let ContainerName { account, database, container } = name;
            accounts.create_container(account, database, container, settings).await?;
        }
        for orders in &self.orders {
            seed_orders(accounts, orders)?;
        }
        for SeedFile { name, path } in &self.files {
            seed_file(accounts, name, path)?;
        }
        Ok(())
    }
}

/// Generates orders into a container, as a source that has them already.
fn seed_orders(accounts: &LocalAccounts, orders: &SeedOrders) -> Result<(), SetupError> {
    let mut generator = Orders::new(orders.seed).with_count(orders.count);
    if let Some(customers) = orders.customers {
        generator = generator.with_customers(customers);
    }
    if let Some(bytes) = orders.bytes {
        generator = generator.with_bytes(bytes);
    }
    let mut piece = Piece::new(accounts, &orders.name);
    for number in 1..=orders.count {
        piece.push(&generator.text(number))?;
    }
    Ok(piece.flush()?)
}

fn seed_file(
    accounts: &LocalAccounts,
    name: &ContainerName,
    path: &Path,
) -> Result<(), SetupError> {
    let unreadable = |error| SetupError::Read(path.to_owned(), error);
    let wrong = |error| SetupError::Line(path.to_owned(), error);
    let mut piece = Piece::new(accounts, name);
    for line in BufReader::new(File::open(path).map_err(unreadable)?).lines() {
        piece.push(&line.map_err(unreadable)?).map_err(wrong)?;
    }
    piece.flush().map_err(wrong)
}

/// Documents on their way into a container.
struct Piece<'a> {
    accounts: &'a LocalAccounts,
    name: &'a ContainerName,
    lines: String,
}

impl<'a> Piece<'a> {
    fn new(accounts: &'a LocalAccounts, name: &'a ContainerName) -> Self {
        Self { accounts, name, lines: String::new() }
    }

    fn push(&mut self, line: &str) -> Result<(), ControlError> {
        self.lines.push_str(line);
        self.lines.push('\n');
        if self.lines.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ControlError> {
        let ContainerName { account, database, container } = self.name;
        self.accounts.seed(account, database, container, &self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
