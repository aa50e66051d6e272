//! An HTTP endpoint: Python's own server with scripted answers.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::certificates::Certificates;
use crate::error::BrokerError;
use crate::installed::installed;
use crate::port::Port;
use crate::process::Process;

/// A running endpoint, which remembers every request.
#[derive(Debug)]
pub struct Endpoint {
    script: &'static str,
    process: Option<Process>,
    folder: TempDir,
    port: Port,
    certificates: Option<Certificates>,
}

/// A request that the endpoint got.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// By their names in lower case.
    pub headers: Map<String, Value>,
    pub body: String,
    /// The status of the answer; 0 without an answer.
    pub status: u16,
}

impl Endpoint {
    /// # Errors
    ///
    /// When Python is not installed, or the endpoint not ready within 60 s.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::begin("receive_http.py", false).await
    }

    /// Serves HTTPS, with a certificate that a private authority has signed.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::start`].
    pub async fn start_with_tls() -> Result<Self, BrokerError> {
        Self::begin("receive_http.py", true).await
    }

    pub(crate) async fn begin(script: &'static str, tls: bool) -> Result<Self, BrokerError> {
        let folder = tempfile::tempdir().map_err(|source| BrokerError::File {
            doing: "make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let certificates = if tls { Some(Certificates::write(folder.path())?) } else { None };
        let port = Port::free()?;
        let mut endpoint = Self { script, process: None, folder, port, certificates };
        endpoint.restart().await?;
        Ok(endpoint)
    }

    /// The address of its root.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.port.number())
    }

    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Starts it again on the same port, with the earlier requests.
    ///
    /// # Errors
    ///
    /// When it is not ready within 60 s.
    pub async fn restart(&mut self) -> Result<(), BrokerError> {
        self.kill().await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(self.script);
        let mut command = Command::new(&installed()?.python);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script)
            .arg(self.port.number().to_string())
            .arg(self.folder.path());
        if let Some(certificates) = &self.certificates {
            command.args([&certificates.server, &certificates.server_key]);
        }
        let mut process =
            Process::start("the HTTP endpoint", command, &self.folder.path().join("log"))?;
        let port = self.port.number();
        process
            .until(|| async move { TcpStream::connect(("127.0.0.1", port)).await.is_ok() })
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Sets the answer to the next events: a status and headers (`429 retry-after=1`), or `hang`.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn answers(&self, answers: &[&str]) -> Result<(), BrokerError> {
        self.write("answers", &answers.join("\n"))
    }

    /// Sets texts; a request with one of them in its body is answered 500.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn fails_for(&self, texts: &[&str]) -> Result<(), BrokerError> {
        self.write("failing", &texts.join("\n"))
    }

    /// Sets the bearer tokens; each event has to have one of them.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn takes(&self, bearers: &[&str]) -> Result<(), BrokerError> {
        self.write("bearers", &bearers.join("\n"))
    }

    /// Sets the answer to OPTIONS requests.
    ///
    /// # Errors
    ///
    /// When its file cannot be written.
    pub fn options(&self, answer: &str) -> Result<(), BrokerError> {
        self.write("options", answer)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), BrokerError> {
        let path = self.folder.path().join(name);
        // Atomically, so that a reader never sees half of it.
        let next = path.with_extension("next");
        std::fs::write(&next, text)
            .and_then(|()| std::fs::rename(&next, &path))
            .map_err(|source| BrokerError::File { doing: "write", path, source })
    }

    /// Every request so far.
    ///
    /// # Errors
    ///
    /// When a line of its file is not a request.
    pub fn requests(&self) -> Result<Vec<Request>, BrokerError> {
        let text = std::fs::read_to_string(self.folder.path().join("requests")).unwrap_or_default();
        // The last line may be incomplete.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parsed: Result<_, _> = whole.lines().map(serde_json::from_str).collect();
        parsed.map_err(|error| BrokerError::Failed {
            program: self.script.to_owned(),
            said: error.to_string(),
        })
    }

    /// The accepted events.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::requests`].
    pub fn taken(&self) -> Result<Vec<Request>, BrokerError> {
        let is_taken =
            |request: &Request| request.method == "POST" && (200..300).contains(&request.status);
        Ok(self.requests()?.into_iter().filter(is_taken).collect())
    }
}
