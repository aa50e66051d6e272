//! What sources and sinks that are containers have in common: where the container is, and what may be spent
//! on it.

use cosmos_bridge_options::{Kind, boolean, options, reference, text_of};

use super::Budget;
use super::budget::budget;

options! {
    /// A container in an account.
    pub struct Location {
        /// One of the accounts.
        account: String = required("Name one of the [accounts.NAME] tables."), reference("account");
        /// The database.
        database: String = required("Write the name of the database."), resource();
        /// The container.
        container: String = required("Write the name of the container."), resource();
    }
}

options! {
    /// What may be spent on a container.
    pub struct Spending {
        /// What the bridge may use of the container: "400 RU/s", or a share "30%" of what the container
        /// has provisioned (of the maximum with autoscale), or a table with a schedule. All tables that
        /// read (or write) one container share one budget and must write the same.
        budget: Budget = "unlimited", budget(), example "400 RU/s";
        /// Yield immediately when other clients of the container are throttled, and recover slowly.
        good_neighbour: bool = false, boolean();
    }
}

/// The name of a database or container, by the service's rules for ids.
fn resource() -> impl Kind<Output = String> {
    /// As the service documents for databases and containers.
    const LONGEST: usize = 255;
    text_of("the name of a database or container", |value, text| {
        let refused = text.contains(['/', '\\', '#', '?']) || text.ends_with(' ');
        if refused || text.chars().count() > LONGEST {
            value.problem(
                "the service allows no such name",
                "A name has at most 255 characters, none of / \\ # ?, and no space at its end.",
            );
            return None;
        }
        Some(text)
    })
}
