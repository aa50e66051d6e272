//! Tests at the level of frames: what the official Java client sends, which the Python client does not.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::amqp::performative::{self, ATTACH, BEGIN, FLOW, OPEN, TRANSFER};
use crate::amqp::{Frame, Kind, Value, frame};
use crate::message::Sent;
use crate::{Authority, LocalHubs, Options};

/// Longer than anything here takes, and shorter than what would be held back.
const PATIENCE: Duration = Duration::from_secs(20);

const SOURCE: u64 = 0x28;
const TARGET: u64 = 0x29;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const AMQP_VALUE: u64 = 0x77;

/// A client without the knowledge of any library: one connection with one session.
struct Wire {
    stream: TcpStream,
    next_delivery: u32,
}

impl Wire {
    async fn connect(hubs: &LocalHubs) -> Self {
        let stream = TcpStream::connect(hubs.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream, next_delivery: 0 };
        wire.stream.write_all(b"AMQP\x00\x01\x00\x00").await.unwrap();
        let mut header = [0; 8];
        tokio::io::AsyncReadExt::read_exact(&mut wire.stream, &mut header).await.unwrap();
        wire.send(&performative::open("wire", frame::FRAME_BYTES_MAX), &[]).await;
        wire.until(OPEN).await;
        wire.send(&performative::begin(0, 1000), &[]).await;
        wire.until(BEGIN).await;
        wire
    }

    async fn send(&mut self, performative: &Value, payload: &[u8]) {
        let bytes = frame::write(Kind::Amqp, 0, Some(performative), payload);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next frame with a performative of this kind.
    async fn until(&mut self, code: u64) -> Frame {
        let next = async {
            loop {
                let frame = frame::read(&mut self.stream).await.unwrap();
                if frame.performative.as_ref().is_some_and(|found| found.code == code) {
                    return frame;
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the frame does not come")
    }

    async fn attach(&mut self, handle: u32, receives: bool, address: &str) {
        let place = |code| Value::described(code, Value::List(vec![Value::string(address)]));
        let fields = vec![
            Value::string(format!("link {handle}")),
            Value::Uint(handle),
            Value::Bool(receives),
            Value::Ubyte(if receives { 1 } else { 2 }),
            Value::Ubyte(0),
            place(SOURCE),
            place(TARGET),
            Value::Null,
            Value::Bool(false),
            Value::Uint(0),
        ];
        self.send(&Value::described(ATTACH, Value::List(fields)), &[]).await;
        self.until(ATTACH).await;
    }

    /// Gives credit on a receiving link of which this number of deliveries was seen.
    async fn credit(&mut self, handle: u32, seen: u32, credit: u32) {
        let fields = [Some(0), Some(1000), Some(0), Some(1000), Some(handle), Some(seen)];
        let fields = fields.into_iter().chain([Some(credit)]);
        let fields = fields.map(|field| field.map_or(Value::Null, Value::Uint)).collect();
        self.send(&Value::described(FLOW, Value::List(fields)), &[]).await;
    }

    /// The status of the answer to a request to a node.
    async fn ask(&mut self, (to, back): (u32, u32), request: &[u8]) -> (i32, Value) {
        self.credit(back, self.next_delivery, 1).await;
        let transfer = performative::transfer(to, self.next_delivery, true, false);
        self.next_delivery += 1;
        self.send(&transfer, request).await;
        let answer = self.until(TRANSFER).await;
        let mut rest: &[u8] = &answer.payload;
        let (mut status, mut body) = (0, Value::Null);
        while !rest.is_empty() {
            let section = Value::decode(&mut rest).unwrap();
            match section.as_described().unwrap() {
                (APPLICATION_PROPERTIES, fields) => {
                    let Some(Value::Int(code)) = fields.field("status-code") else { panic!() };
                    status = *code;
                }
                (AMQP_VALUE, value) => body = value.clone(),
                _ => {}
            }
        }
        (status, body)
    }
}

fn request(fields: &[(&str, &str)], body: Value) -> Vec<u8> {
    let properties = Value::List(vec![Value::Ulong(1)]);
    let fields =
        fields.iter().map(|(name, text)| (Value::string(*name), Value::string(*text))).collect();
    let mut out = Value::described(PROPERTIES, properties).encoded();
    Value::described(APPLICATION_PROPERTIES, Value::Map(fields)).encode(&mut out);
    Value::described(AMQP_VALUE, body).encode(&mut out);
    out
}

/// A shared access signature for a hub, as a client makes it.
fn signature(hub: &str, key: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let resource = encoded(&format!("amqp://localhost/{hub}"));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{resource}\n4000000000").as_bytes());
    let signature = encoded(&STANDARD.encode(mac.finalize().into_bytes()));
    let name = Options::default().key_name;
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=4000000000&skn={name}")
}

#[tokio::test]
async fn a_management_request_is_allowed_by_the_token_that_it_brings() {
    let hubs = LocalHubs::start(Options::with_hub("orders", 2)).await.unwrap();
    let key = Options::default().key;
    let authority = Authority::new("north.example");
    let mut trust = authority.trust(&["sender"]);
    trust.receivers.push("receiver".to_owned());
    hubs.trust(trust);
    let soon = SystemTime::now() + Duration::from_mins(1);
    let bearer = |app| authority.token(app, "https://eventhubs.azure.net", soon);

    let mut wire = Wire::connect(&hubs).await;
    wire.attach(0, false, "$management").await;
    wire.attach(1, true, "$management").await;
    for (token, expected) in [
        (String::new(), 401),
        (signature("orders", &key), 200),
        (signature("others", &key), 401),
        (signature("orders", "another key"), 401),
        (bearer("sender"), 200),
        (format!("Bearer {}", bearer("receiver")), 200),
        (bearer("no role"), 401),
    ] {
        let read = [
            ("operation", "READ"),
            ("type", "com.microsoft:eventhub"),
            ("name", "orders"),
            ("security_token", &token),
        ];
        let (status, hub) = wire.ask((0, 1), &request(&read, Value::Null)).await;
        assert_eq!(status, expected, "{token}");
        assert_eq!(hub.field("partition_count").is_some(), status == 200, "{hub:?}");
    }
}

#[tokio::test]
async fn events_for_a_credit_of_one_at_a_time_are_not_held_back() {
    const EVENTS: u32 = 500;
    let hubs = LocalHubs::start(Options::with_hub("orders", 1)).await.unwrap();
    let hub = hubs.namespace().hub("orders").unwrap();
    let event = Sent { annotations: vec![], rest: Bytes::from_static(b"\x00\x53\x75\xa0\x01x") };
    hub.partitions[0].append(vec![event; EVENTS as usize]).unwrap();

    let mut wire = Wire::connect(&hubs).await;
    wire.attach(0, false, "$cbs").await;
    wire.attach(1, true, "$cbs").await;
    let put = [("operation", "put-token"), ("type", "servicebus.windows.net:sastoken")];
    let token = Value::string(signature("orders", &Options::default().key));
    assert_eq!(wire.ask((0, 1), &request(&put, token)).await.0, 202);
    wire.attach(2, true, "orders/ConsumerGroups/$Default/Partitions/0").await;
    // Answers do not come any more in the time of this test.
    hubs.set_latency(2 * PATIENCE);
    for seen in 0..EVENTS {
        wire.credit(2, seen, 1).await;
        let event = wire.until(TRANSFER).await.performative.unwrap();
        assert_eq!(event.field(0).uint(), Some(2));
    }
}
