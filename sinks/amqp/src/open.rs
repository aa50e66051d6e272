//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts, read_file, unusable};
use cosmos_bridge_sink::{Sink, SinkError};

use crate::broker::place_of;
use crate::options::ClientCertificate;
use crate::{AmqpOptions, AmqpSink, Broker, BrokerError, Identity, Settings, Tls};

impl Open for AmqpOptions {
    fn open(&self, name: &str, opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        let identity = |client: &ClientCertificate| {
            let key = opening.secret(&client.key)?.expose().as_bytes().to_vec();
            let certificates = read_file("client.certificate", &client.certificate)?;
            Ok::<_, SinkError>(Identity { certificates, key })
        };
        let authorities = self.ca_file.as_ref().map(|path| read_file("ca_file", path));
        let tls = Tls {
            authorities: authorities.transpose()?,
            identity: self.client.as_ref().map(identity).transpose()?,
        };
        let uri = opening.secret(&self.uri)?;
        let broker = Broker::new(uri.expose(), &tls).map_err(|problem| invalid(&problem))?;
        let encoder = self.events.encoder(name);
        let settings = Settings { options: self.clone(), broker, encoder };
        Ok(Arc::new(AmqpSink::new(name, settings).with_sources(opening.sources())))
    }

    fn destination(&self) -> Destination {
        Destination::from(&self.exchange)
    }

    /// Not the port: it is another one with TLS.
    fn target(&self, opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        let uri = opening.secret(&self.uri)?;
        let (host, vhost) = place_of(uri.expose()).map_err(|problem| invalid(&problem))?;
        Ok(vec![("host", host), ("vhost", vhost), ("exchange", self.exchange.to_string())])
    }
}

fn invalid(problem: &BrokerError) -> SinkError {
    let (option, hint) = problem.remedy();
    unusable(format!("`{option}` cannot be used: {problem}"), hint)
}
