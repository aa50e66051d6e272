//! Verifies client assertions.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::keys::{EXCHANGE, PublicCertificate, PublicCluster};

/// A refusal in the authority's words.
pub(crate) type Verdict = Result<(), (u32, String)>;

/// Signed with the application's certificate, for this endpoint, by and about the application.
pub(crate) fn by_certificate(
    assertion: &str,
    client_id: &str,
    endpoint: &str,
    certificate: &PublicCertificate,
) -> Verdict {
    let refused =
        |why: String| (700_027, format!("The certificate is not that of the application: {why}"));
    let header = jsonwebtoken::decode_header(assertion).map_err(|e| refused(e.to_string()))?;
    if header.x5t_s256.as_deref() != Some(certificate.thumbprint.as_str()) {
        return Err(refused("another thumbprint".to_owned()));
    }
    let mut validation = Validation::new(Algorithm::PS256);
    validation.set_audience(&[endpoint]);
    validation.set_issuer(&[client_id]);
    validation.sub = Some(client_id.to_owned());
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    let key = DecodingKey::from_rsa_pem(certificate.key.as_bytes()).unwrap();
    let read = jsonwebtoken::decode::<Value>(assertion, &key, &validation);
    let claims = read.map_err(|error| refused(error.to_string()))?.claims;
    if claims["jti"].as_str().is_none_or(str::is_empty) {
        return Err(refused("no jti".to_owned()));
    }
    Ok(())
}

/// Issued by the cluster that the application trusts, to the subject that it trusts.
pub(crate) fn by_cluster(assertion: &str, cluster: &PublicCluster, subject: &str) -> Verdict {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[EXCHANGE]);
    validation.set_issuer(&[&cluster.issuer]);
    validation.sub = Some(subject.to_owned());
    validation.leeway = 0;
    let key = DecodingKey::from_ec_pem(cluster.key.as_bytes()).unwrap();
    let read = jsonwebtoken::decode::<Value>(assertion, &key, &validation);
    read.map(drop)
        .map_err(|error| (700_213, format!("No matching federated identity record found: {error}")))
}
