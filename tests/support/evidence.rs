//! The results of a run: requests, positions, dead letters, final output.

use cosmos_bridge_emulator::world::ContainerSettings;
use std::path::Path;

use super::{Bridge, Ended, Pair, planted};

/// Requests that write.
const WRITES: [&str; 6] = ["create", "upsert", "replace", "patch", "delete", "batch"];

/// A dead letter as it is stored.
#[derive(Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) stage: String,
    pub(crate) cause: String,
    pub(crate) source: String,
    pub(crate) source_id: String,
    pub(crate) source_key: String,
    pub(crate) range_min: String,
    pub(crate) lsn: i64,
    pub(crate) operation: String,
    pub(crate) document: Option<String>,
    pub(crate) unparsed: Option<Vec<u8>>,
}

impl Pair {
    /// `source/shop/orders` and `target/shop/copies`, both with the partition key `/region` and one range.
    pub(crate) async fn alike() -> Self {
        let settings = ContainerSettings::new(&["/region"], 1);
        Self::start(&settings, &settings).await
    }

    /// Writes documents to the source and plants their texts.
    pub(crate) fn seed(&self, lines: &str) {
        planted::plant_documents(self.folder.path(), lines);
        self.accounts.seed("source", "shop", "orders", lines).unwrap();
    }

    /// The number of answered requests of these kinds to a container.
    pub(crate) fn requests(&self, account: &str, container: &str, kinds: &[&str]) -> u64 {
        let container = self.accounts.world.container(account, "shop", container).unwrap();
        let stats = container.stats.lock().unwrap();
        kinds.iter().filter_map(|kind| stats.kinds.get(kind)).map(|kind| kind.requests).sum()
    }

    /// The number of write requests that the target answered.
    pub(crate) fn writes(&self) -> u64 {
        self.requests("target", "copies", &WRITES)
    }

    /// The number of documents in a container.
    pub(crate) fn count(&self, account: &str, container: &str) -> usize {
        self.accounts.state(account, "shop", container).unwrap().documents
    }

    /// The target's documents, without system properties, in the order of their ids.
    pub(crate) fn copies(&self) -> Vec<serde_json::Value> {
        sorted(&self.accounts.documents("target", "shop", "copies").unwrap())
    }

    /// The stored dead letters, oldest first.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        let state = self.state();
        let mut query = state
            .prepare(
                "SELECT stage, cause, source, source_id, source_key, lsn, operation, document,
                   unparsed, range_min FROM dead_letters ORDER BY id",
            )
            .unwrap();
        let letters = query.query_map([], |row| {
            Ok(Letter {
                stage: row.get(0)?,
                cause: row.get(1)?,
                source: row.get(2)?,
                source_id: row.get(3)?,
                source_key: row.get(4)?,
                lsn: row.get(5)?,
                operation: row.get(6)?,
                document: row.get(7)?,
                unparsed: row.get(8)?,
                range_min: row.get(9)?,
            })
        });
        letters.unwrap().map(Result::unwrap).collect()
    }

    /// The stored positions' log sequence numbers; 0 for a range that has none.
    pub(crate) fn positions(&self) -> Vec<u64> {
        let state = self.state();
        let mut query = state.prepare("SELECT etag FROM positions ORDER BY range_min").unwrap();
        let etags = query.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        let lsn = |etag: Option<String>| etag.map_or(0, |e| e.trim_matches('"').parse().unwrap());
        etags.map(|etag| lsn(etag.unwrap())).collect()
    }

    fn state(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("cosmos-bridge.db")).unwrap()
    }

    /// Replaces what differs from run to run: ports and the folder.
    pub(crate) fn settled(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder.path().display().to_string(), "FOLDER");
        for account in ["source", "target"] {
            let endpoint = self.accounts.endpoint(account);
            let endpoint = endpoint.trim_end_matches('/');
            text = text.replace(endpoint, &format!("http://{account}"));
            let address = endpoint.trim_start_matches("http://");
            text = text.replace(address, &format!("{account}.address"));
        }
        text
    }
}

impl Bridge {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The peak memory of the process, in kibibytes.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a signal by its name: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Runs a command to its end, with an empty log.
    pub(crate) async fn command(config: &Path, arguments: &[&str]) -> Ended {
        Self::forget_log(config);
        Self::start(config, arguments).ended().await
    }

    /// Searches the log for planted texts, then empties it.
    pub(crate) fn forget_log(config: &Path) {
        let log = config.with_file_name("bridge.log");
        planted::search("the log", &std::fs::read_to_string(&log).unwrap_or_default());
        std::fs::write(log, "").unwrap();
    }
}

impl Ended {
    /// The output after the last log line.
    pub(crate) fn last_words(&self) -> String {
        let lines: Vec<_> = self.log.lines().collect();
        let logged = lines.iter().rposition(|line| is_log_line(line)).map_or(0, |at| at + 1);
        lines[logged..].join("\n")
    }

    /// A whole number in the last "stopped" line.
    pub(crate) fn total(&self, name: &str) -> u64 {
        self.stopped(name).parse().unwrap_or_else(|_| panic!("{}", self.log))
    }

    /// A value in the last "stopped" line, as it is written there.
    pub(crate) fn stopped(&self, name: &str) -> &str {
        let line = self.log.lines().rfind(|line| line.contains(" stopped ")).unwrap_or_default();
        field(line, name).unwrap_or_else(|| panic!("no {name}: {}", self.log))
    }
}

/// The value of a field of a log line, as it is written there. It has no blanks.
pub(crate) fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// True for a number with one decimal at most, such as 12 and 0.3; not for 0.30000000000000004.
pub(crate) fn is_rounded(number: &str) -> bool {
    let (_, decimals) = number.split_once('.').unwrap_or((number, ""));
    number.parse::<f64>().is_ok() && !number.contains('e') && decimals.len() <= 1
}

/// The log lines of a level.
pub(crate) fn lines_at<'l>(log: &'l str, level: &str) -> Vec<&'l str> {
    let is_at = |line: &&str| is_log_line(line) && line.split_whitespace().nth(1) == Some(level);
    log.lines().filter(is_at).collect()
}

/// A log line begins with its time.
fn is_log_line(line: &str) -> bool {
    line.starts_with("20") && line.split(' ').next().is_some_and(|word| word.ends_with('Z'))
}

/// Documents as values, in the order of their ids.
pub(crate) fn sorted(lines: &[String]) -> Vec<serde_json::Value> {
    let mut documents: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    documents.sort_by_key(|document| document["id"].as_str().map(str::to_owned));
    documents
}
