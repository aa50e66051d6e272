//! The contents of files, after each fault that can occur.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cosmos_bridge_file::{FileOptions, FileSink};
use cosmos_bridge_options::from_toml;
use cosmos_bridge_sink::{
    Cause, Change, ContainerName, Document, KeyValue, Operation, Origin, Outcome, PartitionKey,
    Sink, Wait,
};
use serde_json::Value;

fn change(number: i64) -> Change {
    // With the line breaks of a client that wrote it for people.
    let text = format!("{{\"id\": \"{number}\",\r\n \"text\": \"two\\nlines\", \"n\": [\n1]}}");
    let document = Document::parse(text.as_bytes()).unwrap();
    let key = PartitionKey(vec![KeyValue::Number(1.0)]);
    let container = ContainerName {
        account: "a".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        rid: "rid".to_owned(),
    };
    Change {
        id: number.to_string(),
        partition_key: key.clone(),
        operation: Operation::Upsert { document: Arc::new(document) },
        previous: None,
        origin: Arc::new(Origin {
            container: Arc::new(container),
            id: number.to_string(),
            partition_key: key,
            lsn: Some(number),
            committed_at: None,
            nth: 0,
            expiry: None,
            is_snapshot: false,
            trace: None,
        }),
        old_copies: cosmos_bridge_sink::OldCopies::None,
    }
}

fn sink(path: &Path, rotate_bytes: u64) -> FileSink {
    let text = format!("path = '{}'\nrotate_after = \"1h\"", path.display());
    let options: FileOptions = from_toml(&text).unwrap();
    FileSink::new("audit", FileOptions { rotate_bytes, ..options })
}

/// The ids of the documents in a file. All its lines must be complete.
fn ids(path: &Path) -> Vec<i64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let id = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["data"]["id"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(id).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn write(sink: &FileSink, numbers: &[i64]) -> Vec<Outcome> {
    let changes: Vec<_> = numbers.iter().map(|number| change(*number)).collect();
    sink.write(&changes).await.outcomes
}

#[tokio::test]
async fn lines_are_appended_and_finished_files_are_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let sink = sink(&path, 2000);
    sink.check().await.unwrap();
    assert!(files(folder.path()).is_empty(), "a check leaves nothing behind");
    for first in [1, 6, 11] {
        let numbers: Vec<i64> = (first..first + 5).collect();
        assert_eq!(write(&sink, &numbers).await, vec![Outcome::Delivered; 5]);
    }
    sink.close().await.unwrap();
    let files = files(folder.path());
    assert_eq!(files.last(), Some(&path));
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("events-2") && name.ends_with("Z.jsonl"), "{name}");
    let all: Vec<i64> = files.iter().flat_map(|file| ids(file)).collect();
    assert_eq!(all, (1..=15).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_incomplete_line_after_a_crash_is_removed() {
    let line = |number: &i64| format!("{{\"data\":{{\"id\":\"{number}\"}}}}\n");
    let whole = |numbers: &[i64]| numbers.iter().map(line).collect::<Vec<_>>().concat();
    let long = format!("{{\"data\":{{\"id\":\"{}", "9".repeat(200_000));
    for (before, kept) in [
        (String::new(), vec![]),
        (whole(&[1, 2]), vec![1, 2]),
        (whole(&[1, 2]) + "{\"data\":{\"i", vec![1, 2]),
        ("{\"da".to_owned(), vec![]),
        (whole(&[1]) + &long, vec![1]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, before).unwrap();
        let sink = sink(&path, u64::MAX);
        assert_eq!(write(&sink, &[3]).await, [Outcome::Delivered]);
        assert_eq!(ids(&path), [kept, vec![3]].concat());
    }
}

#[tokio::test]
async fn a_moved_or_deleted_file_is_not_used_any_more() {
    type Take = fn(&Path, &Path);
    /// The event, the size of files, and then the contents of the file and of its neighbours.
    type Case<'a> = (&'a str, u64, Take, &'a [i64], Option<&'a [i64]>);
    let cases: [Case<'_>; 4] = [
        ("deleted", u64::MAX, |path, _| fs::remove_file(path).unwrap(), &[2, 3], None),
        ("moved", u64::MAX, |path, aside| fs::rename(path, aside).unwrap(), &[2, 3], Some(&[1])),
        (
            "replaced",
            u64::MAX,
            |path, aside| {
                fs::rename(path, aside).unwrap();
                fs::write(path, "{\"data\":{\"id\":\"7\"}}\n").unwrap();
            },
            &[7, 2, 3],
            Some(&[1]),
        ),
        // Its age is reached, so the second line is in the file that the third line renames.
        ("moved when full", 1, |path, aside| fs::rename(path, aside).unwrap(), &[3], Some(&[1])),
    ];
    for (what, rotate_bytes, take, kept, moved) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let aside = folder.path().join("aside");
        let sink = sink(&path, rotate_bytes);
        assert_eq!(write(&sink, &[1]).await, [Outcome::Delivered], "{what}");
        take(&path, &aside);
        for number in [2, 3] {
            assert_eq!(write(&sink, &[number]).await, [Outcome::Delivered], "{what}");
            sink.check().await.unwrap();
        }
        assert_eq!(ids(&path), kept, "{what}");
        assert_eq!(aside.exists().then(|| ids(&aside)).as_deref(), moved, "{what}");
    }
}

#[tokio::test]
async fn two_writers_of_one_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let (first, second) = (sink(&path, u64::MAX), sink(&path, u64::MAX));
    write(&first, &[1]).await;
    let error = second.check().await.unwrap_err();
    let file = path.display();
    assert_eq!(
        error.to_string(),
        format!("the file `{file}` cannot be written: another writer has it open")
    );
    assert_eq!(error.hint.as_deref(), Some("Give each sink and each bridge its own file."));
    let written = second.write(&[change(2)]).await;
    assert!(matches!(written.outcomes.as_slice(), [Outcome::Deferred { .. }]));
    assert_eq!(written.wait, Some(Wait { cause: Cause::Busy, retry_after: None }));
    first.close().await.unwrap();
    assert_eq!(write(&second, &[2]).await, [Outcome::Delivered]);
    assert_eq!(ids(&path), [1, 2]);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_reported_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none/events.jsonl");
    let error = sink(&missing, u64::MAX).check().await.unwrap_err();
    assert!(error.to_string().ends_with("No such file or directory (os error 2)"), "{error}");
    assert!(error.hint.unwrap().starts_with("The folder must exist"));
    let error = sink(folder.path(), u64::MAX).check().await.unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("Write the path of a file, not of a folder."));
}

/// `/dev/full` fails every write like a full disk.
#[tokio::test]
async fn a_full_disk_delays_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let sink = sink(&path, u64::MAX);
    let reason = format!(
        "the file `{}` cannot be written: No space left on device (os error 28)",
        path.display()
    );
    assert_eq!(write(&sink, &[1]).await, [Outcome::Deferred { reason }]);
    fs::remove_file(&path).unwrap();
    assert_eq!(write(&sink, &[1]).await, [Outcome::Delivered]);
    assert_eq!(ids(&path), [1]);
}
