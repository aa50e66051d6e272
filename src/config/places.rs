//! Containers by their names in the file.

use cosmos_bridge_options::Value;

use super::accounts::address_of;

/// A container, by the names in the file.
#[derive(Clone, PartialEq)]
pub(super) struct Place<'d> {
    account: &'d str,
    database: &'d str,
    container: &'d str,
}

/// The containers of a file.
pub(super) struct Places<'r, 'd> {
    pub(super) root: &'r Value<'d>,
}

impl<'d> Places<'_, 'd> {
    pub(super) fn of(table: &Value<'d>) -> Option<Place<'d>> {
        let text = |key| table.at(key)?.node().as_str();
        let (account, database) = (text("account")?, text("database")?);
        Some(Place { account, database, container: text("container")? })
    }

    fn address(&self, account: &str) -> Option<String> {
        address_of(&self.root.at("accounts")?.at(account)?)
    }

    /// True if two names lead to one container.
    pub(super) fn are_one(&self, one: &Place<'_>, other: &Place<'_>) -> bool {
        let same_account = one.account == other.account
            || self.address(one.account).is_some_and(|address| {
                self.address(other.account).is_some_and(|other| address == other)
            });
        same_account && one.database == other.database && one.container == other.container
    }
}
