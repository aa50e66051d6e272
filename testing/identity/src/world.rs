//! The known identities, and the answers to token requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cosmos_bridge_emulator::answer::Answer;
use cosmos_bridge_emulator::request::Request;
use cosmos_bridge_emulator::serve::{Handler, Outcome};
use hyper::Method;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::IDENTITY_HEADER;
use crate::assertion::{Verdict, by_certificate, by_cluster};
use crate::keys::{PublicCertificate, PublicCluster, Signer};

/// The failure that requests get instead of a token.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The connection is closed.
    Silence,
    /// An answer with this status and a meaningless body.
    Status(u16),
}

/// One request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `secret`, `certificate`, `federated`, `imds` or `app-service`.
    pub kind: &'static str,
    pub tenant: String,
    pub client_id: String,
    /// Without `/.default`.
    pub resource: String,
    /// The reason why there was no token.
    pub refused: Option<String>,
}

#[derive(Default)]
pub(crate) struct App {
    pub(crate) secret: Option<String>,
    pub(crate) certificate: Option<PublicCertificate>,
    pub(crate) federated: Option<(PublicCluster, String)>,
}

pub(crate) struct State {
    at: String,
    pub(crate) lifetime: Duration,
    apps: HashMap<(String, String), App>,
    /// Of the machine: client id, none for system-assigned, to tenant.
    pub(crate) assigned: HashMap<Option<String>, String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) asked: Vec<Asked>,
}

impl State {
    pub(crate) fn app(&mut self, tenant: &str, client_id: &str) -> &mut App {
        self.apps.entry((tenant.to_owned(), client_id.to_owned())).or_default()
    }
}

pub(crate) struct World {
    state: Mutex<State>,
    signer: Signer,
}

impl Default for World {
    fn default() -> Self {
        let state = State {
            at: String::new(),
            lifetime: Duration::from_hours(1),
            apps: HashMap::new(),
            assigned: HashMap::new(),
            failure: None,
            asked: Vec::new(),
        };
        Self { state: Mutex::new(state), signer: Signer::new() }
    }
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn be_at(&self, address: &str) {
        address.clone_into(&mut self.state().at);
    }

    pub(crate) fn public_key(&self) -> String {
        self.signer.public_key()
    }

    pub(crate) fn jwks(&self) -> String {
        self.signer.jwks()
    }

    /// A token, and its expiry in seconds since 1970.
    pub(crate) fn token(&self, tenant: &str, client_id: &str, scope: &str) -> (String, u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let expires = now + self.state().lifetime.as_secs();
        let token = self.signer.sign(&json!({
            "aud": scope.trim_end_matches("/.default"),
            "iss": format!("https://sts.windows.net/{tenant}/"),
            "tid": tenant,
            "appid": client_id,
            "oid": format!("object-of-{client_id}"),
            "sub": format!("object-of-{client_id}"),
            "iat": now,
            "nbf": now,
            "exp": expires,
        }));
        (token, expires)
    }

    fn failure(&self) -> Option<Outcome> {
        self.state().failure.as_ref().map(|failure| match failure {
            Failure::Silence => Outcome::Closed,
            Failure::Status(status) => {
                Outcome::Answered(Answer::new(*status, 0.0).bytes("upstream trouble"))
            }
        })
    }

    fn entra(&self, request: &Request) -> Outcome {
        if let Some(outcome) = self.failure() {
            return outcome;
        }
        let path = request.path.trim_matches('/').to_owned();
        let Some(tenant) = path.strip_suffix("/oauth2/v2.0/token") else {
            return Outcome::Answered(Answer::new(404, 0.0));
        };
        let form: HashMap<String, String> =
            form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (client_id, scope) = (field("client_id"), field("scope"));
        let (kind, verdict) = self.verdict(tenant, &client_id, &form);
        let verdict = verdict.and_then(|()| {
            if request.method != Method::POST || field("grant_type") != "client_credentials" {
                return Err((900_144, "The request is not one for a token.".to_owned()));
            }
            if scope.ends_with("/.default") {
                Ok(())
            } else {
                Err((70_011, "No scope.".to_owned()))
            }
        });
        let refused = verdict.err().map(|(code, why)| (code, format!("AADSTS{code}: {why}")));
        self.state().asked.push(Asked {
            kind,
            tenant: tenant.to_owned(),
            client_id: client_id.clone(),
            resource: scope.trim_end_matches("/.default").to_owned(),
            refused: refused.as_ref().map(|(_, why)| why.clone()),
        });
        let answer = if let Some((code, why)) = refused {
            Answer::new(401, 0.0).json(&json!({
                "error": "invalid_client",
                "error_description": why,
                "error_codes": [code],
            }))
        } else {
            let (token, _) = self.token(tenant, &client_id, &scope);
            let lifetime = self.state().lifetime.as_secs();
            Answer::new(200, 0.0).json(&json!({
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": token,
            }))
        };
        Outcome::Answered(answer)
    }

    fn verdict(
        &self,
        tenant: &str,
        client_id: &str,
        form: &HashMap<String, String>,
    ) -> (&'static str, Verdict) {
        let state = self.state();
        let unknown =
            || Err((700_016, format!("Application {client_id} was not found in {tenant}.")));
        let app = state.apps.get(&(tenant.to_owned(), client_id.to_owned()));
        let Some(assertion) = form.get("client_assertion") else {
            let Some(app) = app else { return ("secret", unknown()) };
            let good = app.secret.is_some() && app.secret.as_ref() == form.get("client_secret");
            let wrong = || (7_000_215, "Invalid client secret provided.".to_owned());
            return ("secret", good.then_some(()).ok_or_else(wrong));
        };
        let is_cluster = app.is_some_and(|app| app.federated.is_some());
        let kind = if is_cluster { "federated" } else { "certificate" };
        let Some(app) = app else { return (kind, unknown()) };
        let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", state.at);
        let verdict = match (&app.federated, &app.certificate) {
            (Some((cluster, subject)), _) => by_cluster(assertion, cluster, subject),
            (None, Some(certificate)) => {
                by_certificate(assertion, client_id, &endpoint, certificate)
            }
            (None, None) => unknown(),
        };
        (kind, verdict)
    }

    /// The machine's own endpoints, which answer alike.
    fn machine(&self, request: &Request, query: &str) -> Outcome {
        if let Some(outcome) = self.failure() {
            return outcome;
        }
        let kind = match request.path.as_str() {
            "/metadata/identity/oauth2/token" if request.header("metadata") == Some("true") => {
                "imds"
            }
            "/msi/token" if request.header("x-identity-header") == Some(IDENTITY_HEADER) => {
                "app-service"
            }
            _ => return Outcome::Answered(Answer::new(403, 0.0)),
        };
        let query: HashMap<String, String> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let client_id = query.get("client_id").cloned();
        let resource = query.get("resource").cloned().unwrap_or_default();
        let tenant = self.state().assigned.get(&client_id).cloned();
        let name = client_id.clone().unwrap_or_default();
        self.state().asked.push(Asked {
            kind,
            tenant: tenant.clone().unwrap_or_default(),
            client_id: name.clone(),
            resource: resource.clone(),
            refused: tenant.is_none().then(|| "not assigned".to_owned()),
        });
        Outcome::Answered(match tenant {
            None => Answer::new(400, 0.0).json(&json!({"error": "invalid_request"})),
            Some(tenant) => {
                let (token, expires) = self.token(&tenant, &name, &resource);
                Answer::new(200, 0.0).json(&grant(&token, expires, &resource))
            }
        })
    }
}

/// Times are text here.
fn grant(token: &str, expires: u64, resource: &str) -> Value {
    json!({
        "access_token": token,
        "expires_on": expires.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    })
}

pub(crate) struct Entra(pub(crate) Arc<World>);

impl Handler for Entra {
    const BODY_BYTES_MAX: usize = 64 * 1024;

    async fn handle(&self, request: Request, _: Option<String>) -> Outcome {
        self.0.entra(&request)
    }
}

pub(crate) struct Machine(pub(crate) Arc<World>);

impl Handler for Machine {
    const BODY_BYTES_MAX: usize = 64 * 1024;

    async fn handle(&self, request: Request, query: Option<String>) -> Outcome {
        self.0.machine(&request, &query.unwrap_or_default())
    }
}
