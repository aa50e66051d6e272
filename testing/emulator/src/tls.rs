//! A self-signed certificate for accounts that are served over TLS.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Server(#[from] tokio_rustls::rustls::Error),
}

/// Serves a fresh certificate for localhost and the loopback addresses. Returned with it in PEM form,
/// for clients that are to trust it.
pub fn certified() -> Result<(TlsAcceptor, String), TlsError> {
    certified_for(&["localhost", "127.0.0.1", "::1"])
}

/// The same for other names.
pub fn certified_for(names: &[&str]) -> Result<(TlsAcceptor, String), TlsError> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), cert.pem()))
}
