//! A key vault from which secrets can be read.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cosmos_bridge_emulator::Trust;
use cosmos_bridge_emulator::answer::Answer;
use cosmos_bridge_emulator::request::Request;
use cosmos_bridge_emulator::serve::{Handler, Outcome, Server};
use hyper::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::listener;
use crate::proxy::Proxy;

/// The audience of tokens for vaults.
const RESOURCE: &str = "https://vault.azure.net";

/// One answer to a request with a token or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// `secrets/NAME`, with `/VERSION` where one was asked for.
    pub path: String,
    /// True if there was a token, valid or not.
    pub had_token: bool,
    pub status: u16,
}

/// The versions of a secret, the newest last.
#[derive(Default)]
struct Versions {
    values: Vec<String>,
    is_disabled: bool,
}

#[derive(Default)]
struct State {
    secrets: HashMap<String, Versions>,
    /// Client ids that have the role.
    readers: Vec<String>,
    reads: Vec<Read>,
    /// The service that it asks tokens for, instead of vaults.
    pretends: Option<String>,
    is_away: bool,
    is_silent: bool,
}

/// A refusal in the service's words: status, code, its inner code and a message.
struct Refusal(u16, &'static str, Option<&'static str>, String);

struct Vault {
    host: String,
    trust: Trust,
    state: Mutex<State>,
}

impl Vault {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request, query: &str) -> Outcome {
        let path = request.path.trim_matches('/').to_owned();
        let token = request.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        let found = self.client(token).and_then(|client| {
            self.may_read(&client)?;
            self.secret(&request.method, &path, query)
        });
        let answer = match found {
            Ok(secret) => Answer::new(200, 0.0).json(&secret),
            Err(refusal) => self.refused(&refusal),
        };
        let mut state = self.state();
        state.reads.push(Read { path, had_token: token.is_some(), status: answer.status });
        if state.is_away { Outcome::Closed } else { Outcome::Answered(answer) }
    }

    /// The client id in a token, if the token is of the vault's tenant and for vaults.
    fn client(&self, token: Option<&str>) -> Result<String, Refusal> {
        let unknown = |message: String| Refusal(401, "Unauthorized", None, message);
        let Some(token) = token else {
            let message = "AKV10000: Request is missing a Bearer or PoP token.";
            return Err(unknown(message.to_owned()));
        };
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[RESOURCE]);
        validation.set_issuer(&[format!("https://sts.windows.net/{}/", self.trust.tenant)]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss"]);
        let key = DecodingKey::from_ec_pem(self.trust.key.as_bytes()).unwrap();
        let read = jsonwebtoken::decode::<Value>(token, &key, &validation);
        let claims =
            read.map_err(|error| unknown(format!("AKV10032: Invalid token: {error}.")))?.claims;
        Ok(claims["appid"].as_str().unwrap_or_default().to_owned())
    }

    fn may_read(&self, client: &str) -> Result<(), Refusal> {
        if self.state().readers.iter().any(|reader| reader == client) {
            return Ok(());
        }
        let message = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
             assignments or role definitions were changed recently, please observe propagation \
             time.\r\nCaller: appid={client}"
        );
        Err(Refusal(403, "Forbidden", Some("ForbiddenByRbac"), message))
    }

    fn secret(&self, method: &Method, path: &str, query: &str) -> Result<Value, Refusal> {
        let bad = |message: &str| Refusal(400, "BadParameter", None, message.to_owned());
        if method != Method::GET {
            return Err(bad("The method is not known."));
        }
        if !query.split('&').any(|pair| pair.starts_with("api-version=")) {
            return Err(bad("api-version must be specified"));
        }
        let mut segments = path.split('/');
        let (Some("secrets"), Some(name)) = (segments.next(), segments.next()) else {
            return Err(bad("The path is not known."));
        };
        let missing = || {
            let message =
                format!("A secret with (name/id) {name} was not found in this key vault.");
            Refusal(404, "SecretNotFound", None, message)
        };
        let state = self.state();
        let versions = state.secrets.get(name).ok_or_else(missing)?;
        let newest = versions.values.len();
        let requested = segments.next();
        let is_requested = |at: &usize| requested.is_none_or(|requested| requested == version(*at));
        let at = (1..=newest).rev().find(is_requested).ok_or_else(missing)?;
        if versions.is_disabled {
            let message = "Operation get is not allowed on a disabled secret.".to_owned();
            return Err(Refusal(403, "Forbidden", Some("SecretDisabled"), message));
        }
        Ok(json!({
            "value": versions.values[at - 1],
            "id": format!("https://{}/secrets/{name}/{}", self.host, version(at)),
            "attributes": {
                "enabled": true, "created": 1_700_000_000, "updated": 1_700_000_000,
                "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
            },
        }))
    }

    fn refused(&self, Refusal(status, code, inner, message): &Refusal) -> Answer {
        let mut error = json!({ "code": code, "message": message });
        if let Some(inner) = inner {
            error["innererror"] = json!({ "code": inner });
        }
        let answer = Answer::new(*status, 0.0).json(&json!({ "error": error }));
        if *status != 401 {
            return answer;
        }
        let resource = self.state().pretends.clone().unwrap_or_else(|| RESOURCE.to_owned());
        let challenge = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{}\", resource=\"{resource}\"",
            self.trust.tenant
        );
        answer.header("www-authenticate", challenge)
    }
}

/// A version id as the service makes them: 32 digits.
fn version(number: usize) -> String {
    format!("{number:032x}")
}

struct Doors(Arc<Vault>);

impl Handler for Doors {
    const BODY_BYTES_MAX: usize = 64 * 1024;

    async fn handle(&self, request: Request, query: Option<String>) -> Outcome {
        if self.0.state().is_silent {
            return std::future::pending().await;
        }
        self.0.answer(&request, &query.unwrap_or_default())
    }
}

/// The running vault; it stops when this is dropped.
pub struct LocalVault {
    vault: Arc<Vault>,
    _server: Server,
    proxy: Proxy,
    /// The certificate of its name, in PEM form.
    pub ca: String,
}

impl LocalVault {
    /// A vault of this name in the tenant whose tokens it trusts.
    pub async fn start(name: &str, trust: Trust) -> Self {
        let host = format!("{name}.vault.azure.net");
        let (tls, ca) = cosmos_bridge_emulator::tls::certified_for(&[&host]).unwrap();
        let vault = Arc::new(Vault { host: host.clone(), trust, state: Mutex::default() });
        let doors = Arc::new(Doors(Arc::clone(&vault)));
        let server = Server::start(listener().await, Some(tls), doors).unwrap();
        let proxy = Proxy::start(listener().await, &host, server.address);
        Self { vault, _server: server, proxy, ca }
    }

    /// Its own address, which only the proxy knows.
    pub fn address(&self) -> String {
        format!("https://{}", self.vault.host)
    }

    /// The proxy that maps its name to it.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Adds a version of a secret. Returns its id.
    pub fn put(&self, name: &str, value: &str) -> String {
        let mut state = self.vault.state();
        let values = &mut state.secrets.entry(name.to_owned()).or_default().values;
        values.push(value.to_owned());
        version(values.len())
    }

    /// The secret exists, and access is denied.
    pub fn disable(&self, name: &str) {
        self.vault.state().secrets.entry(name.to_owned()).or_default().is_disabled = true;
    }

    /// Sets the client ids that may read.
    pub fn assign(&self, readers: &[&str]) {
        self.vault.state().readers = readers.iter().map(|&reader| reader.to_owned()).collect();
    }

    /// Asks for tokens for another service from now on.
    pub fn pretend(&self, resource: &str) {
        self.vault.state().pretends = Some(resource.to_owned());
    }

    /// Whether requests are cut off from now on.
    pub fn be_away(&self, is_away: bool) {
        self.vault.state().is_away = is_away;
    }

    /// Requests get no answer from now on.
    pub fn be_silent(&self) {
        self.vault.state().is_silent = true;
    }

    /// Every answer so far.
    pub fn reads(&self) -> Vec<Read> {
        self.vault.state().reads.clone()
    }
}
