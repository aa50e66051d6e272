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

use crate::access::Permit;
use crate::problem::Problem;

/// The two nodes, and links to and from them.
#[derive(Debug)]
pub(crate) struct Nodes {
    cbs: CbsClient,
    session: SessionHandle<()>,
}

impl Nodes {
    pub(crate) async fn attach(mut session: SessionHandle<()>) -> Result<Self, Problem> {
        let cbs = CbsClient::attach(&mut session).await;
        Ok(Self { cbs: cbs.map_err(|error| Problem::of_node_attach(&error))?, session })
    }

    /// Puts a token for a resource, an address like `amqps://HOST/HUB`.
    pub(crate) async fn authorize(
        &mut self,
        resource: &str,
        permit: &Permit,
    ) -> Result<(), Problem> {
        let expires = permit.expires_on.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
        let expires = Some(Timestamp::from_milliseconds(expires));
        let token = CbsToken::new(permit.text.expose(), permit.kind, expires);
        let put = unless_over(&mut self.session, self.cbs.put_token(resource, token)).await?;
        put.map_err(|error| Problem::of_request("the token was not accepted", &error))
    }

    /// The ids of the hub's partitions, in the order that the hash of keys counts them.
    pub(crate) async fn partitions(&mut self, hub: &str) -> Result<Vec<String>, Problem> {
        let client = MgmtClient::attach(&mut self.session, "cosmos-bridge").await;
        let mut client = client.map_err(|error| Problem::of_node_attach(&error))?;
        let read = unless_over(&mut self.session, client.call(ReadHub { hub })).await?;
        let read = read.map_err(|error| Problem::of_request("the hub cannot be read", &error))?;
        // The answer is here; that the links could not be closed is known soon enough.
        drop(client.close().await);
        if read.0.is_empty() {
            return Err(Problem::broken("the hub says that it has no partitions"));
        }
        Ok(read.0)
    }
}

/// What a request comes to, unless the session is over before: the client would go on waiting for an
/// answer that nobody is left to give.
async fn unless_over<T>(
    session: &mut SessionHandle<()>,
    request: impl Future<Output = T>,
) -> Result<T, Problem> {
    tokio::select! {
        biased;
        answer = request => Ok(answer),
        _ = session.on_end() => Err(Problem::broken("the connection was lost")),
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
