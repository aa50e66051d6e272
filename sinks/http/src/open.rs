//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{
    Destination, Open, Opening, TargetParts, TextOrSecret, read_file, unusable,
};
use cosmos_bridge_sink::{Sink, SinkError};
use reqwest::Url;

use crate::{HttpOptions, HttpSink, Invalid, Settings};

impl Open for HttpOptions {
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        let encoder = self.events.encoder(name);
        let mut settings =
            Settings::new(opening.text(&self.url)?, self.clone(), encoder).map_err(invalid)?;
        for (name, text) in &self.headers {
            settings.header(name, opening.text(text)?).map_err(invalid)?;
        }
        if let Some(reference) = &self.bearer {
            let token = opening.secret(reference)?;
            let value = format!("Bearer {}", token.expose());
            settings.header("authorization", &value).map_err(invalid)?;
        }
        if let Some(path) = &self.ca_file {
            settings.trust(&read_file("ca_file", path)?).map_err(invalid)?;
        }
        Ok(Arc::new(HttpSink::new(name, settings)?))
    }

    /// Paths and queries of endpoints may be secrets.
    fn destination(&self) -> Destination {
        let url = match &self.url {
            TextOrSecret::Text(url) => Url::parse(url).ok(),
            TextOrSecret::Secret(_) => None,
        };
        let host = url.as_ref().and_then(Url::host_str);
        host.map_or(Destination::Unknown, |host| Destination::Name(host.to_owned()))
    }

    /// Of an address that is a secret only scheme, host and port; of no address the query.
    fn target(&self, opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        let url = Url::parse(opening.text(&self.url)?).map_err(|_| invalid(Invalid::Url))?;
        let mut parts = vec![("origin", url.origin().ascii_serialization())];
        if let TextOrSecret::Text(_) = &self.url {
            parts.push(("path", url.path().to_owned()));
        }
        Ok(parts)
    }
}

fn invalid(problem: Invalid) -> SinkError {
    unusable(problem.to_string(), problem.hint())
}
