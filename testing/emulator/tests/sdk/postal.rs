//! The postal check: it must be able to fail, or a passing run proves nothing.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{self, Clients, LocalProcess};

const TARGET: &str = "/accounts/target/databases/geo/containers/postal";

/// A source and a target with the containers of the check.
struct Accounts {
    process: LocalProcess,
    clients: Clients,
}

impl Accounts {
    async fn start() -> Self {
        let process = LocalProcess::start(&[
            "--account=source",
            "--account=target",
            "--container=source/geo/postal=/pk;partitions=4",
            "--container=target/geo/postal=/state_abbrv,/city_name;partitions=2",
        ]);
        Self { process: process.await.unwrap(), clients: Clients::find().await.unwrap() }
    }

    /// Points a script at one account, with a prefix for the names of its options.
    fn at(&self, command: &mut Command, account: usize, prefix: &str) {
        for (name, value) in [
            ("endpoint", self.process.account(account, "endpoint")),
            ("key", self.process.account(account, "key")),
            ("database", "geo".to_owned()),
            ("container", "postal".to_owned()),
        ] {
            command.arg(format!("--{prefix}{name}={value}"));
        }
    }

    async fn upsert(&self, expected: &Path, upserts: u32) -> Value {
        let mut command = self.clients.python("../../tests/scripts/upsert_postal.py");
        self.at(&mut command, 0, "");
        command.arg("--expected").arg(expected).arg(format!("--upserts={upserts}"));
        let (printed, code) = process::run(&mut command, "").await.unwrap();
        assert_eq!(code, Some(0), "{printed}");
        printed
    }

    async fn copy(&self) -> Value {
        let mut command = self.clients.python("../../tests/scripts/plain_copy.py");
        self.at(&mut command, 0, "source-");
        self.at(&mut command, 1, "target-");
        let (printed, code) = process::run(&mut command, "").await.unwrap();
        assert_eq!(code, Some(0), "{printed}");
        printed
    }

    async fn verify(&self, expected: &Path) -> (Value, Option<i32>) {
        let mut command = self.clients.python("../../tests/scripts/verify_postal.py");
        self.at(&mut command, 1, "");
        command.arg("--expected").arg(expected);
        process::run(&mut command, "").await.unwrap()
    }

    /// Writes to the target past everything else.
    async fn damage(&self, documents: &[Value]) {
        let lines: Vec<_> = documents.iter().map(Value::to_string).collect();
        let url = self.process.url(&format!("{TARGET}/documents"));
        let answer = reqwest::Client::new().post(url).body(lines.join("\n")).send().await;
        answer.unwrap().error_for_status().unwrap();
    }
}

#[tokio::test]
async fn the_postal_check_passes_for_a_copy_and_names_every_kind_of_difference() {
    let accounts = Accounts::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("expected.json");
    let printed = accounts.upsert(&file, 1500).await;
    assert_eq!((&printed["documents"], &printed["upserts"]), (&json!(1075), &json!(1500)));

    let (printed, code) = accounts.verify(&file).await;
    assert_eq!(code, Some(1), "nothing has been copied yet");
    assert_eq!(printed["differences"]["missing"], 1075);

    assert_eq!(accounts.copy().await["documents"], 1075);
    let (printed, code) = accounts.verify(&file).await;
    assert_eq!((code, &printed["in_container"]), (Some(0), &json!(1075)), "{printed}");

    let expected: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let with = |index: usize, name: &str, value: Value| {
        let mut document = expected["documents"][index].clone();
        document[name] = value;
        document
    };
    accounts
        .damage(&[
            with(1, "sequence", json!(0)),
            with(2, "latitude", json!(1.5)),
            with(3, "city_name", json!("Elsewhere")),
            with(4, "id", json!("extra")),
        ])
        .await;
    let (printed, code) = accounts.verify(&file).await;
    let id = |index: usize| json!([expected["documents"][index]["id"]]);
    assert_eq!(code, Some(1));
    let named = json!({"stale": id(1), "different": id(2), "repeated": id(3),
        "unexpected": ["extra"]});
    assert_eq!(printed["ids"], named);
    accounts.process.stop().await.unwrap();
}
