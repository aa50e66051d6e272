//! Keys of applications and clusters.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The audience of a cluster's tokens for Entra ID.
pub(crate) const EXCHANGE: &str = "api://AzureADTokenExchange";

/// A client certificate with its RSA key.
pub struct ClientCertificate {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

/// What an application knows of a certificate.
#[derive(Clone)]
pub(crate) struct PublicCertificate {
    pub(crate) thumbprint: String,
    pub(crate) key: String,
}

impl ClientCertificate {
    pub fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let params = CertificateParams::new(vec!["bridge.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { key, certificate }
    }

    /// Certificate and key in PEM form, as one file holds them.
    pub fn pem(&self) -> String {
        format!("{}{}", self.certificate.pem(), self.key.serialize_pem())
    }

    pub(crate) fn public(&self) -> PublicCertificate {
        PublicCertificate {
            thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(self.certificate.der())),
            key: self.key.public_key_pem(),
        }
    }
}

impl Default for ClientCertificate {
    fn default() -> Self {
        Self::new()
    }
}

/// A Kubernetes cluster, as far as it issues tokens to its pods.
pub struct Cluster {
    key: KeyPair,
    issuer: String,
}

/// What an application knows of a cluster.
#[derive(Clone)]
pub(crate) struct PublicCluster {
    pub(crate) issuer: String,
    pub(crate) key: String,
}

impl Cluster {
    pub fn new(issuer: &str) -> Self {
        Self { key: KeyPair::generate().unwrap(), issuer: issuer.to_owned() }
    }

    /// A pod's token, as the kubelet projects it into a file.
    pub fn token(&self, subject: &str, lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let claims = json!({
            "iss": self.issuer,
            "sub": subject,
            "aud": [EXCHANGE],
            "iat": now.as_secs(),
            "exp": (now + lifetime).as_secs(),
        });
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }

    pub(crate) fn public(&self) -> PublicCluster {
        PublicCluster { issuer: self.issuer.clone(), key: self.key.public_key_pem() }
    }
}

/// The authority's own key.
pub(crate) struct Signer(KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    pub(crate) fn public_key(&self) -> String {
        self.0.public_key_pem()
    }

    /// The same as a JSON Web Key Set.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc7518#section-6.2>
    pub(crate) fn jwks(&self) -> String {
        // A byte that says that both coordinates follow, and 32 bytes for each.
        let point = self.0.public_key_raw();
        let coordinate = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = serde_json::json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65),
        });
        serde_json::json!({ "keys": [key] }).to_string()
    }

    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_ec_pem(self.0.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
    }
}
