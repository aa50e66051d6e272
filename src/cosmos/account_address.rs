//! An address that all names of one account share.

use url::{Host, Url};

/// The address of an account from the endpoint that answered a request, and the region it is in.
///
/// The client library sends requests to the endpoints that the account itself names, one for each
/// region: `NAME-REGION.documents.azure.com`. So this is one address, whether the account is configured
/// by its global endpoint, by one of a region, or under a name of the network. Local accounts and
/// emulators name an address of their own. The id in the account's metadata would not do: it is made
/// from the name that was asked.
pub(super) fn account_address(endpoint: &str, region: Option<&str>) -> String {
    let Some(url) = Url::parse(endpoint).ok() else { return endpoint.to_owned() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let host = match url.host() {
        Some(Host::Domain(name)) => without_region(&name.to_ascii_lowercase(), region),
        Some(address) => address.to_string(),
        None => return endpoint.to_owned(),
    };
    format!("{host}{port}")
}

fn without_region(host: &str, region: Option<&str>) -> String {
    let is_letter = |c: &char| c.is_ascii_alphanumeric();
    let region: String = region.unwrap_or_default().chars().filter(is_letter).collect();
    let suffix = format!("-{}", region.to_ascii_lowercase());
    match host.split_once('.') {
        Some((label, rest)) if suffix.len() > 1 => match label.strip_suffix(&suffix) {
            Some(name) if !name.is_empty() => format!("{name}.{rest}"),
            _ => host.to_owned(),
        },
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::account_address;

    #[test]
    fn all_names_of_an_account_have_one_address() {
        let azure = "acme.documents.azure.com";
        for (endpoint, region, expected) in [
            ("https://acme-westus.documents.azure.com:443/", Some("West US"), azure),
            ("https://ACME-eastus2.documents.azure.com/", Some("eastus2"), azure),
            ("https://acme.documents.azure.com:443/", Some("West US"), azure),
            ("https://acme.documents.azure.com/", None, azure),
            (
                "https://acme-westus.documents.azure.com/",
                Some("East US"),
                "acme-westus.documents.azure.com",
            ),
            ("https://acme-westus.documents.azure.com/", None, "acme-westus.documents.azure.com"),
            (
                "https://-westus.documents.azure.com/",
                Some("West US"),
                "-westus.documents.azure.com",
            ),
            ("http://127.0.0.1:8081/", Some("Local"), "127.0.0.1:8081"),
            ("http://[::1]:8081/", None, "[::1]:8081"),
            ("https://cosmos:8081/", Some("South Central US"), "cosmos:8081"),
        ] {
            assert_eq!(account_address(endpoint, region), expected, "{endpoint} {region:?}");
        }
    }
}
