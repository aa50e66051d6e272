//! What an operator can do if an account refuses a credential.
//!
//! Sources: the names of the substatuses in the vendor's `azure_data_cosmos_driver`
//! (`error/cosmos_status.rs`), and the actions and built-in roles in
//! <https://learn.microsoft.com/azure/cosmos-db/nosql/reference-data-plane-security>.

use crate::INTERMEDIARY;

const KEY: &str = "Check the account's key in the configuration: it is wrong, was regenerated, or key \
                   access is switched off for the account.";
const ROLE: &str = "Give the credential's identity a data-plane role on the account or the container: \
                    `Cosmos DB Built-in Data Reader` to read a source (readMetadata, \
                    containers/items/read, containers/executeQuery, containers/readChangeFeed), \
                    `Cosmos DB Built-in Data Contributor` to write (also containers/items/create, \
                    upsert, replace and delete). Roles of Azure's access control (IAM) do not count.";
const METADATA: &str = "Give the credential's identity a data-plane role with \
                        Microsoft.DocumentDB/databaseAccounts/readMetadata on the account, such as \
                        `Cosmos DB Built-in Data Reader`.";
const NO_OPERATION: &str = "No data-plane role allows this with Entra ID: only an account key, or the \
                            control plane, does. For budgets, write request units, such as \"400 RU/s\".";
const NO_TOKEN: &str = "No request was sent, because there is no token. Correct the table of \
                        [credentials] that the account names.";
const TENANT: &str = "The account belongs to another tenant than the credential: correct `tenant`, or \
                      use a credential of the account's tenant.";
const TIME: &str = "Check this machine's clock. The bridge fetches a new token.";
const SWITCHED_OFF: &str = "Key access is switched off for this account: write credential = \"NAME\" \
                            instead of the key.";
const FORBIDDEN: &str = "Allow the bridge's address in the account's firewall, or give it a private \
                         endpoint; with Entra ID, give the identity a data-plane role.";

const INTERMEDIARY_HINT: &str = "Allow the endpoints of the account and of its regions in the proxy, firewall or \
                                 gateway between this machine and the account.";

/// What to do after status 401 or 403, or after an answer that is not the service's; `None` for any other.
pub fn remedy(status: u16, sub_status: u32) -> Option<&'static str> {
    Some(match (status, sub_status) {
        (_, INTERMEDIARY) => INTERMEDIARY_HINT,
        (401, 20_402) => NO_TOKEN,
        (401, 5005 | 5006) => TIME,
        (401, 5007 | 5008) => TENANT,
        (401, 5202) => SWITCHED_OFF,
        (401, 5003..=5299) => {
            "The account cannot use the token of the credential: check its tenant."
        }
        (401, _) => KEY,
        (403, 5300) => NO_OPERATION,
        (403, 5301) => METADATA,
        (403, 5302..=5499) => ROLE,
        (403, _) => FORBIDDEN,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{INTERMEDIARY, remedy};

    #[test]
    fn a_refusal_names_what_is_missing() {
        for (status, sub_status, named) in [
            (401, 0, "account's key"),
            (401, 5004, "tenant"),
            (401, 5006, "clock"),
            (401, 5007, "another tenant"),
            (401, 5202, "credential ="),
            (401, 20_402, "[credentials]"),
            (403, 0, "firewall"),
            (403, 5300, "account key"),
            (403, 5301, "databaseAccounts/readMetadata"),
            (403, 5302, "Cosmos DB Built-in Data Reader"),
            (403, 5303, "Cosmos DB Built-in Data Contributor"),
            (403, 5400, "readChangeFeed"),
            (403, INTERMEDIARY, "proxy"),
            (400, INTERMEDIARY, "proxy"),
        ] {
            let text = remedy(status, sub_status).unwrap();
            assert!(text.contains(named), "{status}/{sub_status}: {text}");
        }
        assert_eq!(remedy(404, 0), None);
    }
}
