//! Certificates for brokers and clients of one test, signed by an authority that only this test has.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::error::BrokerError;

/// PEM files; the server's certificate names `localhost` and 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub authority: PathBuf,
    pub server: PathBuf,
    pub server_key: PathBuf,
    /// Of a client that calls itself `writer`.
    pub client: PathBuf,
    pub client_key: PathBuf,
}

impl Certificates {
    /// Writes the files into `folder`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(folder: &Path) -> Result<Self, BrokerError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|source| BrokerError::File {
                doing: "write",
                path: path.clone(),
                source,
            })?;
            Ok::<_, BrokerError>(path)
        };
        let signed = |name: &str, purpose, names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            Ok::<_, BrokerError>((certificate.pem(), key.serialize_pem()))
        };
        let names = ["localhost", "127.0.0.1"];
        let (server, server_key) = signed("broker", ExtendedKeyUsagePurpose::ServerAuth, &names)?;
        let (client, client_key) = signed("writer", ExtendedKeyUsagePurpose::ClientAuth, &[])?;
        Ok(Self {
            authority: write("authority.pem", &authority.pem())?,
            server: write("server.pem", &server)?,
            server_key: write("server.key", &server_key)?,
            client: write("client.pem", &client)?,
            client_key: write("client.key", &client_key)?,
        })
    }
}
