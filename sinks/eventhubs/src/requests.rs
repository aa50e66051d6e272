//! Requests to `$cbs` and `$management`.

use std::time::UNIX_EPOCH;

use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::primitives::Timestamp;
use fe2o3_amqp_cbs::client::CbsClient;
use fe2o3_amqp_cbs::token::CbsToken;
use fe2o3_amqp_management::client::MgmtClient;
use fe2o3_amqp_management::error::Error as RequestError;
use fe2o3_amqp_management::{Request, Response};
use fe2o3_amqp_types::messaging::{AmqpValue, ApplicationProperties, Message};
use fe2o3_amqp_types::primitives::{OrderedMap, SimpleValue, Value};

use crate::access::HubToken;
use crate::failure::Failure;

/// The links to and from the two nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    cbs: CbsClient,
    session: SessionHandle<()>,
}

impl Nodes {
    pub(crate) async fn attach(mut session: SessionHandle<()>) -> Result<Self, Failure> {
        let cbs = CbsClient::attach(&mut session).await;
        Ok(Self { cbs: cbs.map_err(|error| Failure::of_node_attach(&error))?, session })
    }

    /// Puts a token for a resource, an address like `amqps://HOST/HUB`.
    pub(crate) async fn authorize(
        &mut self,
        resource: &str,
        token: &HubToken,
    ) -> Result<(), Failure> {
        let expires = token.expires_on.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
        let expires = Some(Timestamp::from_milliseconds(expires));
        let token = CbsToken::new(token.text.expose(), token.kind, expires);
        let put = until_ended(&mut self.session, self.cbs.put_token(resource, token)).await?;
        put.map_err(|error| Failure::of_request("the token was not accepted", &error))
    }

    /// The ids of the hub's partitions, in the order that the hash of a key refers to.
    pub(crate) async fn partitions(&mut self, hub: &str) -> Result<Vec<String>, Failure> {
        let client = MgmtClient::attach(&mut self.session, "cosmos-bridge").await;
        let mut client = client.map_err(|error| Failure::of_node_attach(&error))?;
        let read = until_ended(&mut self.session, client.call(ReadHub { hub })).await?;
        let read = read.map_err(|error| Failure::of_request("the hub cannot be read", &error))?;
        // The answer has arrived. If the links cannot be closed, the next request shows it.
        drop(client.close().await);
        if read.0.is_empty() {
            return Err(Failure::broken("the service reports no partitions for the hub"));
        }
        Ok(read.0)
    }
}

/// Waits for the answer to a request, but not longer than the session exists: the client would wait
/// forever for an answer that cannot come.
async fn until_ended<T>(
    session: &mut SessionHandle<()>,
    request: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        answer = request => Ok(answer),
        _ = session.on_end() => Err(Failure::broken("the connection was lost")),
    }
}

/// Source: "AMQP 1.0 request/response-based operations", learn.microsoft.com.
struct ReadHub<'h> {
    hub: &'h str,
}

impl Request for ReadHub<'_> {
    const OPERATION: &'static str = "READ";
    type Response = Partitions;
    type Body = ();

    fn manageable_entity_type(&mut self) -> Option<String> {
        Some("com.microsoft:eventhub".to_owned())
    }

    fn encode_application_properties(&mut self) -> Option<ApplicationProperties> {
        let name = SimpleValue::String(self.hub.to_owned());
        Some(ApplicationProperties::builder().insert("name", name).build())
    }

    fn encode_body(self) -> Self::Body {}
}

struct Partitions(Vec<String>);

impl Response for Partitions {
    const STATUS_CODE: u16 = 200;
    type Body = Option<AmqpValue<OrderedMap<String, Value>>>;
    type Error = RequestError;

    fn decode_message(message: Message<Self::Body>) -> Result<Self, Self::Error> {
        let fields = message.body.map(|AmqpValue(fields)| fields).unwrap_or_default();
        let ids = match fields.get("partition_ids") {
            Some(Value::Array(ids)) => ids.iter().filter_map(text).collect(),
            Some(Value::List(ids)) => ids.iter().filter_map(text).collect(),
            _ => Vec::new(),
        };
        Ok(Self(ids))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}
