//! From options to a sink.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cosmos_bridge_sink::{
    ContainerName, Piece, Secret, Sink, SinkError, SinkErrorKind, Template, TokenSource,
};

use crate::secret::{SecretRef, TextOrSecret};

/// The options of a sink that publishes events.
pub trait Open: fmt::Debug + Any + Send + Sync {
    /// Makes the sink. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// What the options name cannot be used.
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError>;

    /// Where events go, for traces.
    fn destination(&self) -> Destination;

    /// What decides where events go, by name: if a part has another value, they go to another target,
    /// and stored positions do not hold there. It is stored, so no part is a secret; and parts that
    /// may differ for one target, such as a list of brokers, are left out.
    ///
    /// # Errors
    ///
    /// What the options name cannot be used.
    fn target(&self, opening: &dyn Opening) -> Result<TargetParts, SinkError>;
}

/// The parts of an address that decide where events go.
pub type TargetParts = Vec<(&'static str, String)>;

/// Where the events of a sink go. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Name(String),
    /// Each change has its own.
    Template(String),
    /// It is in a secret.
    Unknown,
}

impl From<&Template> for Destination {
    fn from(template: &Template) -> Self {
        let is_text = |piece: &Piece| matches!(piece, Piece::Text(_));
        let text = template.to_string();
        if template.0.iter().all(is_text) { Self::Name(text) } else { Self::Template(text) }
    }
}

/// What the bridge provides to a sink that is opened.
pub trait Opening {
    /// The secret that a reference leads to, as it was read.
    ///
    /// # Errors
    ///
    /// None of the sink's options has this reference.
    fn secret(&self, reference: &SecretRef) -> Result<&Secret, SinkError>;

    /// The tokens of one of the `[credentials]` for a scope.
    ///
    /// # Errors
    ///
    /// There is no such credential.
    fn tokens(&self, credential: &str, scope: &str) -> Result<Arc<dyn TokenSource>, SinkError>;

    /// The containers whose changes the sink gets, by their names alone.
    fn sources(&self) -> &[ContainerName];
}

impl dyn Opening + '_ {
    /// The text, or the secret that the reference leads to.
    ///
    /// # Errors
    ///
    /// None of the sink's options has this reference.
    pub fn text<'t>(&'t self, text: &'t TextOrSecret) -> Result<&'t str, SinkError> {
        match text {
            TextOrSecret::Text(text) => Ok(text),
            TextOrSecret::Secret(reference) => Ok(self.secret(reference)?.expose()),
        }
    }
}

/// Reads a file that an option of a sink names.
///
/// # Errors
///
/// It cannot be read.
pub fn read_file(option: &str, path: &Path) -> Result<Vec<u8>, SinkError> {
    std::fs::read(path).map_err(|error| {
        let message = format!("the file of `{option}` cannot be read: {error}");
        unusable(message, "The path is relative to the configuration file.")
    })
}

/// Options that cannot be used, and what to do.
pub fn unusable(message: impl Into<String>, hint: impl Into<String>) -> SinkError {
    SinkError {
        message: message.into(),
        hint: Some(hint.into()),
        kind: SinkErrorKind::Invalid,
        source: None,
    }
}
