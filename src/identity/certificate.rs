//! Client assertions signed with a certificate.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::token::{TokenError, TokenErrorKind};
use crate::config::Secret;

/// Lifetime of an assertion. The authority accepts at most ten minutes.
const LIFETIME: Duration = Duration::from_mins(5);

/// Signs assertions of one application for one authority.
pub(super) struct Certificate {
    key: EncodingKey,
    /// SHA-256 of the certificate, which identifies it to the authority.
    thumbprint: String,
    client_id: String,
    audience: String,
}

#[derive(Serialize)]
struct Claims<'c> {
    aud: &'c str,
    iss: &'c str,
    sub: &'c str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

impl Certificate {
    /// Reads an RSA key and a certificate, the first of each, from PEM.
    ///
    /// # Errors
    ///
    /// One of them is missing or malformed.
    pub(super) fn read(
        pem: &Secret,
        client_id: &str,
        audience: String,
    ) -> Result<Self, TokenError> {
        let unusable = |reason: &str| {
            let message = format!("the certificate file {reason}");
            TokenError::new(TokenErrorKind::Setup, message)
        };
        let text = pem.expose().as_bytes();
        let certificate = CertificateDer::from_pem_slice(text)
            .map_err(|_| unusable("contains no certificate in PEM format"))?;
        // The parser accepts a key alone, so the rest of the file is cut off.
        let key = private_key(pem.expose()).ok_or_else(|| unusable("contains no private key"))?;
        let key = EncodingKey::from_rsa_pem(key.as_bytes())
            .map_err(|_| unusable("contains no unencrypted RSA key"))?;
        Ok(Self {
            key,
            thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate)),
            client_id: client_id.to_owned(),
            audience,
        })
    }

    fn sign(&self) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            aud: &self.audience,
            iss: &self.client_id,
            sub: &self.client_id,
            jti: azure_core::Uuid::new_v4().to_string(),
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: (now + LIFETIME).as_secs(),
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
    }
}

/// The first PEM block that is a private key of any type.
fn private_key(pem: &str) -> Option<&str> {
    let begin = pem.match_indices("-----BEGIN ").find(|(at, _)| {
        pem.get(*at..)
            .and_then(|block| block.lines().next())
            .is_some_and(|line| line.trim_end().ends_with("PRIVATE KEY-----"))
    })?;
    let block = pem.get(begin.0..)?;
    let end = block.find("-----END ")?;
    let line = block.get(end..)?.lines().next()?;
    block.get(..end + line.len())
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl ClientAssertion for Certificate {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.sign().map_err(|_| {
            let message = "the assertion cannot be signed with this key";
            azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, message)
        })
    }
}
