//! An endpoint that events are posted to.

use std::sync::Arc;

use cosmos_bridge_http::{HttpSink, Invalid, Settings};
use cosmos_bridge_sink::{Sink, SinkError};

use super::super::secrets::{Secrets, file_text};
use super::encoder;
use crate::config::{self, Address, HeaderText};

pub(super) fn open(
    name: &str,
    sink: &config::HttpSink,
    secrets: &Secrets,
) -> Result<Arc<dyn Sink>, SinkError> {
    let url = match &sink.url {
        Address::Url(url) => url.clone(),
        Address::Secret(reference) => secrets.of(reference)?.expose().to_owned(),
    };
    let encoder = encoder(name, sink.events);
    let mut settings = Settings::new(&url, encoder).map_err(invalid)?;
    for (name, text) in &sink.headers {
        let header = match text {
            HeaderText::Text(text) => settings.header(name, text),
            HeaderText::Secret(reference) => settings.header(name, secrets.of(reference)?.expose()),
        };
        header.map_err(invalid)?;
    }
    if let Some(reference) = &sink.bearer {
        let token = secrets.of(reference)?;
        settings.header("authorization", &format!("Bearer {}", token.expose())).map_err(invalid)?;
    }
    if let Some(path) = &sink.ca_file {
        settings.trust(&file_text("ca_file", path)?).map_err(invalid)?;
    }
    settings.batch = sink.batch;
    settings.most_bytes = sink.max_body;
    settings.concurrency = sink.concurrency;
    settings.timeout = sink.request_timeout;
    settings.refusals.clone_from(&sink.refusals);
    Ok(Arc::new(HttpSink::new(name, settings)?))
}

fn invalid(problem: Invalid) -> SinkError {
    SinkError {
        message: problem.to_string(),
        hint: Some("Look at what the configuration names, and into its secrets.".to_owned()),
        transient: false,
        source: None,
    }
}
