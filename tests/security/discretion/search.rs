//! The search finds planted texts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::process::Command;

use crate::support::planted::{find, plant, plant_documents};
use crate::support::{Bridge, Pair, eventually};

#[test]
fn what_is_planted_is_found_in_every_spelling() {
    let secret = "planted/é+\"?&=~\\2Wm7";
    plant("the secret of this test", secret);
    let document = "{\"id\":\"planted as an id\",\"deep\":[{\"name\":\"planted-in-depth\"}],\"short\":\"plain\"}\n";
    plant_documents(Path::new("no folder"), document);
    let json = serde_json::to_string(secret).unwrap();
    let debug = format!("{json:?}");
    let percent = secret.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let url = url::Url::parse_with_params("http://localhost/", [("code", secret)]).unwrap();
    let basic: Vec<String> =
        ["", "u", "us"].map(|user| STANDARD.encode(format!("{user}{secret}:end"))).into();
    let spelled = [secret, &json, &debug, &percent, &percent.to_uppercase(), url.as_str()];
    let spelled = spelled.into_iter().map(str::to_owned).chain(basic);
    let more = [
        URL_SAFE_NO_PAD.encode(secret),
        format!("{:?}", secret.as_bytes()),
        "planted-in-depth".to_owned(),
        "planted as an id".to_owned(),
        "authorization: type%3dmaster%26ver%3d1.0".to_owned(),
    ];
    for output in spelled.chain(more) {
        let line = format!("one\ntwo said {output}, three");
        let found = find(&line);
        assert_eq!(found.len(), 1, "{output}: {found:?}");
        assert!(found[0].contains("in line 2: two said"), "{found:?}");
        assert!(!found[0].contains(secret), "{found:?}");
    }
    assert_eq!(find("not planted, plain"), Vec::<String>::new());
}

/// Another program in place of the bridge, for each way in which a test can end.
#[tokio::test]
async fn a_program_that_tells_a_secret_fails_the_test() {
    let pair = Pair::alike().await;
    let config = pair.configure("", "", "", "");
    let printing = |stream: &str| {
        let mut command = Command::new("sh");
        let script = format!("cat source.key >&{stream}; exec sleep 60");
        command.args(["-c", &script]).current_dir(pair.folder.path());
        Bridge::spawn(command, &config, &[])
    };
    for stream in ["1", "2"] {
        let bridge = printing(stream);
        eventually("the secret is printed", || bridge.log().contains("==")).await;
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(bridge)));
        let said = dropped.unwrap_err();
        let said = said.downcast_ref::<String>().unwrap();
        assert!(said.contains("the secret of accounts.source.key"), "{said}");
        let forgotten = catch_unwind(|| Bridge::forget_log(&config));
        assert!(forgotten.is_err());
        std::fs::remove_file(config.with_file_name("bridge.log")).unwrap();
    }
}
