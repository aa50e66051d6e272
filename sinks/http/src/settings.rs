//! Options with their secrets in place.

use std::fmt;

use cosmos_bridge_event::Encoder;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Certificate, Url};

use crate::HttpOptions;
use crate::content::{Invalid, address, header_value};

/// The options of a sink, with what their secrets and files hold. The address and the headers may be
/// secrets and are never printed.
#[derive(Clone)]
pub struct Settings {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) roots: Vec<Certificate>,
    pub options: HttpOptions,
    pub encoder: Encoder,
}

impl Settings {
    /// Settings without headers.
    ///
    /// # Errors
    ///
    /// The text is no URL that can be posted to.
    pub fn new(url: &str, options: HttpOptions, encoder: Encoder) -> Result<Self, Invalid> {
        let url = address(url)?;
        Ok(Self { url, headers: Vec::new(), roots: Vec::new(), options, encoder })
    }

    /// Adds a header to every request.
    ///
    /// # Errors
    ///
    /// HTTP does not allow such a name or value.
    pub fn header(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let name = HeaderName::try_from(name).map_err(|_| Invalid::HeaderName)?;
        self.headers.push((name, header_value(value)?));
        Ok(())
    }

    /// Trusts the authorities in a file of certificates, in addition to the system's.
    ///
    /// # Errors
    ///
    /// There are none in it.
    pub fn trust(&mut self, pem: &[u8]) -> Result<(), Invalid> {
        match Certificate::from_pem_bundle(pem) {
            Ok(roots) if !roots.is_empty() => {
                self.roots.extend(roots);
                Ok(())
            }
            _ => Err(Invalid::Certificates),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("batch", &self.options.batch)
            .field("concurrency", &self.options.concurrency)
            .finish_non_exhaustive()
    }
}
