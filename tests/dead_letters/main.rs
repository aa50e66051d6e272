//! Changes that cannot be written: how many may be kept, how they are shown, and how they are written again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod kills;
mod limit;
mod replay;
mod sample;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use support::{Bridge, Ended, Pair};

/// Documents whose `number` is their id, and whose content no log may show.
fn documents(ids: std::ops::Range<u32>) -> String {
    let line = |n| {
        format!(
            "{{\"id\":\"d{n}\",\"number\":\"d{n}\",\"region\":\"r{}\",\"n\":{n},\"note\":\"planted: of {n}\"}}\n",
            n % 7
        )
    };
    ids.map(line).collect::<Vec<_>>().concat()
}

/// A route that names a field which no document has, and one that copies documents as they are.
const WRONG: &str = "id = \"{/nummer}\"";
const RIGHT: &str = "id = \"{/number}\"";

const UNLIMITED: &str = "dead_letters = { limit = \"unlimited\" }";

/// What a command wrote to its standard output, which may be documents.
async fn output(config: &Path, arguments: &[&str], code: i32) -> String {
    let file = config.with_file_name("output");
    let data = std::fs::File::create(&file).unwrap();
    let ended = Bridge::start_piped(config, arguments, data).ended().await;
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(ended.code(), Some(code), "{text}\n{}", ended.log);
    text
}

/// A pair whose documents have all become dead letters, with the route corrected since.
async fn buried(count: u32) -> (Pair, PathBuf) {
    let pair = Pair::alike().await;
    pair.seed(&documents(0..count));
    let config = pair.configure("", UNLIMITED, "", WRONG);
    let ended = Bridge::catch_up(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.total("dead_letters"), u64::from(count));
    assert_eq!(pair.count("target", "copies"), 0);
    (pair, corrected(&config))
}

/// The configuration with the right field name.
fn corrected(config: &Path) -> PathBuf {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(WRONG), "{text}");
    std::fs::write(config, text.replace(WRONG, RIGHT)).unwrap();
    config.to_owned()
}

/// Replays with these filters; returns what it said.
async fn replay(config: &Path, filters: &[&str], code: i32) -> Ended {
    let arguments: Vec<&str> =
        ["dlq", "replay"].into_iter().chain(filters.iter().copied()).collect();
    let ended = Bridge::command(config, &arguments).await;
    assert_eq!(ended.code(), Some(code), "{}", ended.log);
    ended
}
