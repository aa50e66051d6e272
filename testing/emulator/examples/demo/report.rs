//! What the demo did, for people.

use std::io::{IsTerminal as _, Write as _};
use std::sync::PoisonError;
use std::time::Duration;

use cosmos_bridge_emulator::{Checksum, ControlError, LocalAccounts};

use crate::arrived::Tally;
use crate::{SOURCE, TARGET};

/// Figures of one demo.
#[derive(Default)]
pub(crate) struct Report {
    /// How the bridge was built.
    built: String,
    /// Before the bridge started.
    orders: u64,
    /// Inserts and updates of the workload.
    pub(crate) workload: (u64, u64),
    /// Until the target had as many documents as the source had at first.
    pub(crate) filled: Duration,
    pub(crate) first_run: Duration,
    pub(crate) second_run: Duration,
    read: Requests,
    written: Requests,
    pub(crate) checksums: Option<(Checksum, Checksum)>,
    pub(crate) equal: usize,
    pub(crate) different: usize,
    pub(crate) missing: usize,
    /// What each broker has.
    pub(crate) arrived: Vec<(&'static str, Tally)>,
}

/// Requests of one account, by the exact counters of the local accounts.
#[derive(Default)]
struct Requests {
    sent: u64,
    throttled: u64,
    documents: u64,
    request_units: f64,
}

impl Requests {
    fn of(
        accounts: &LocalAccounts,
        (account, database, container): (&str, &str, &str),
    ) -> Result<Self, ControlError> {
        let container = accounts.world.container(account, database, container)?;
        let stats = container.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Self::default();
        for counters in stats.kinds.values() {
            sum.sent += counters.requests;
            sum.throttled += counters.throttled;
            sum.documents += counters.documents;
            sum.request_units += counters.request_units;
        }
        Ok(sum)
    }
}

impl Report {
    pub(crate) fn new(orders: u64, built: &str) -> Self {
        Self { orders, built: built.to_owned(), ..Self::default() }
    }

    /// Takes what the bridge cost, before anything else is asked of the accounts.
    pub(crate) fn count(&mut self, accounts: &LocalAccounts) -> Result<(), ControlError> {
        self.read = Requests::of(accounts, SOURCE)?;
        self.written = Requests::of(accounts, TARGET)?;
        Ok(())
    }

    pub(crate) fn print(&self) {
        let filled = self.filled.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
        let rate = self.orders as f64 / filled;
        let (inserts, updates) = self.workload;
        let lines = [
            format!("built      {}", self.built),
            format!(
                "copied     {} orders in {filled:.1} s: {rate:.0} documents per second, with the \
                 workload at the same time",
                grouped(self.orders)
            ),
            format!("workload   {} inserts and {} updates", grouped(inserts), grouped(updates)),
            format!(
                "runs       {:.1} s until it was stopped, and {:.1} s to catch up from there",
                self.first_run.as_secs_f64(),
                self.second_run.as_secs_f64()
            ),
            line("source", "read", &self.read),
            line("target", "written", &self.written),
        ];
        for line in &lines {
            say(line);
        }
        if let Some((source, target)) = &self.checksums {
            for (name, checksum) in [("source", source), ("target", target)] {
                let count = grouped(checksum.documents as u64);
                say(&format!("checksum   {name} {count} documents {}", checksum.sha256));
            }
        }
        say(&format!(
            "compared   {} equal, {} different, {} missing",
            grouped(self.equal as u64),
            self.different,
            self.missing
        ));
        for (name, tally) in &self.arrived {
            self.print_arrived(name, tally);
        }
        if self.is_equal() {
            say("source and target are equal");
        }
        for (name, _) in self.arrived.iter().filter(|(_, tally)| tally.is_complete()) {
            say(&format!("{name} has the newest version of every document of the source"));
        }
    }

    fn print_arrived(&self, name: &str, tally: &Tally) {
        let changes = tally.events - tally.repeated;
        say(&format!(
            "arrived    in {name}: {} events of {} changes, {} repeated; the source sent the bridge \
             {} changes",
            grouped(tally.events as u64),
            grouped(changes as u64),
            grouped(tally.repeated as u64),
            grouped(self.read.documents),
        ));
        say(&format!(
            "           documents: {} newest version, {} older version, {} missing, {} unknown",
            grouped(tally.newest as u64),
            tally.older,
            tally.missing,
            tally.unknown
        ));
    }

    /// The target is equal to the source, and each broker has what was published.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_equal() && self.arrived.iter().all(|(_, tally)| tally.is_complete())
    }

    /// Every document was found and equal, and there are no others.
    fn is_equal(&self) -> bool {
        let same = self.checksums.as_ref().is_some_and(|(source, target)| {
            source == target && source.documents == self.equal && self.equal > 0
        });
        same && self.different == 0 && self.missing == 0
    }
}

fn line(name: &str, done: &str, requests: &Requests) -> String {
    format!(
        "{name}     {} documents {done} in {} requests for {:.0} RU, {} throttled",
        grouped(requests.documents),
        grouped(requests.sent),
        requests.request_units,
        requests.throttled
    )
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines on standard output; a reader that went away is no reason to fail.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    // The bridge may be drawing its progress on this line.
    let clear = if out.is_terminal() { "\r\x1b[K" } else { "" };
    for line in text.lines() {
        drop(writeln!(out, "{clear}demo: {line}"));
    }
}
