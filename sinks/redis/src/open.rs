//! From options and secrets to the sink.

use std::path::PathBuf;
use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts, read_file};
use cosmos_bridge_sink::{Sink, SinkError, Template};

use crate::options::Tls;
use crate::{Certificates, Mode, RedisOptions, RedisSink, ServerOptions, Settings, Stream};

impl RedisOptions {
    pub(crate) fn server(&self) -> &ServerOptions {
        match self {
            Self::Set(options) | Self::Json(options) | Self::Hash(options) => &options.server,
            Self::Stream(options) => &options.server,
        }
    }

    pub(crate) fn key(&self) -> &Template {
        match self {
            Self::Set(options) | Self::Json(options) | Self::Hash(options) => &options.key,
            Self::Stream(options) => &options.key,
        }
    }

    /// How the sink of this name stores changes.
    fn mode(&self, name: &str) -> Mode {
        match self {
            Self::Set(options) => Mode::Set(options.expiry),
            Self::Json(options) => Mode::Json(options.expiry),
            Self::Hash(options) => Mode::Hash(options.expiry),
            Self::Stream(options) => Mode::Stream(Stream {
                encoder: options.events.encoder(name),
                max_message: options.max_message,
                max_length: options.max_length,
            }),
        }
    }

    /// The settings of a sink without password and certificates.
    pub fn settings(&self, name: &str) -> Settings {
        Settings {
            server: self.server().clone(),
            certificates: Certificates::default(),
            password: None,
            key: self.key().clone(),
            mode: self.mode(name),
        }
    }
}

impl Open for RedisOptions {
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        let mut settings = self.settings(name);
        if let Some(password) = &self.server().password {
            settings.password = Some(opening.secret(password)?.clone());
        }
        if let Some(tls) = &self.server().tls {
            settings.certificates = tls.read_files()?;
        }
        Ok(Arc::new(RedisSink::new(name, settings).with_sources(opening.sources())))
    }

    fn destination(&self) -> Destination {
        Destination::from(self.key())
    }

    /// Not the nodes of a cluster: they change.
    fn target(&self, _opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        let server = self.server();
        let place = match server.servers.as_slice() {
            [only] if !server.cluster => only.to_string(),
            _ => "cluster".to_owned(),
        };
        let (database, key) = (server.database.to_string(), self.key().to_string());
        Ok(vec![("server", place), ("database", database), ("key", key)])
    }
}

impl Tls {
    fn read_files(&self) -> Result<Certificates, SinkError> {
        let read = |option, path: &Option<PathBuf>| {
            path.as_ref().map(|path| read_file(option, path)).transpose()
        };
        let certificate = read("tls.certificate_file", &self.certificate_file)?;
        let key = read("tls.key_file", &self.key_file)?;
        let authorities = read("tls.ca_file", &self.ca_file)?;
        Ok(Certificates { authorities, identity: certificate.zip(key) })
    }
}
