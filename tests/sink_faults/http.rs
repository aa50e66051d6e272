//! Faults of an HTTP endpoint.

use cosmos_bridge_brokers::Endpoint;

use crate::support::Pair;
use crate::trial::{Arrived, Scene};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpFault {
    Unauthorized,
    TooLarge,
}

pub(crate) struct Http {
    endpoint: Endpoint,
}

impl Http {
    pub(crate) async fn start(_fault: HttpFault) -> Self {
        Self { endpoint: Endpoint::start().await.unwrap() }
    }
}

impl Scene for Http {
    fn sink(&self, pair: &Pair) -> String {
        std::fs::write(pair.folder.path().join("token"), "a planted secret").unwrap();
        format!(
            "[sinks.http.events]\nurl = \"{}\"\nbearer = {{ file = \"token\" }}\n\
             max_body = \"100 KB\"\n",
            self.endpoint.url()
        )
    }

    fn address(&self) -> String {
        self.endpoint.url()
    }

    async fn strike(&mut self) {
        self.endpoint.answers(&vec!["401"; 10_000]).unwrap();
        self.endpoint.options("401").unwrap();
    }

    async fn mend(&mut self) {
        self.endpoint.answers(&[]).unwrap();
        self.endpoint.options("200").unwrap();
    }

    fn bad(&self) -> String {
        format!(",\"note\":\"{}\"", "n".repeat(200_000))
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let requests = self.endpoint.taken().unwrap();
        let arrived = |request: &cosmos_bridge_brokers::Request| {
            let reference = request.headers.get("ce-dataref").cloned().unwrap_or_default();
            Arrived::of(&request.body.clone().into(), &reference)
        };
        requests.iter().map(arrived).collect()
    }
}
