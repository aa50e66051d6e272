//! Accounts whose certificate is not signed by an authority of the system.

use cosmos_bridge_emulator::Options;
use cosmos_bridge_emulator::world::ContainerSettings;

use crate::support::{Bridge, Pair};

/// The SDK for Cosmos DB 1.0.0 has no option for authorities and uses those of the system, which can be set by an
/// environment variable.
#[tokio::test(flavor = "multi_thread")]
async fn authorities_of_accounts_come_from_the_environment() {
    let settings = ContainerSettings::new(&["/region"], 2);
    let options = Options { tls: true, ..Options::default() };
    let pair = Pair::start_with(options, &settings, &settings).await;
    pair.seed("{\"id\": \"1\", \"region\": \"r\"}\n");
    let config = pair.configure("", "", "", "");
    let ended = Bridge::command(&config, &["check", "--live"]).await;
    assert_eq!(ended.code(), Some(69), "{}", ended.log);

    let authority = pair.folder.path().join("authority.pem");
    std::fs::write(&authority, pair.accounts.certificate().unwrap()).unwrap();
    let environment = [("SSL_CERT_FILE".to_owned(), authority.to_str().unwrap().to_owned())];
    let run = ["run", "--until-caught-up"];
    let ended = Bridge::start_in(&config, &run, &environment).ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(pair.is_equal());
}
