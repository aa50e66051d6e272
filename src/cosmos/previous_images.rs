//! What a container's feed has of a document before a change.

use serde_json::Value;

use crate::config::Path;

/// The policy of a container for previous images, in all-versions-and-deletes mode. By default there are
/// none. <https://learn.microsoft.com/azure/cosmos-db/change-feed-modes>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviousImages {
    /// Replacements have one.
    pub replaces: bool,
    /// Deletes have one.
    pub deletes: bool,
    /// What an image holds; empty if it is the whole document.
    paths: Vec<Path>,
}

impl PreviousImages {
    /// Reads the properties of a container. The client library has no field for the policy.
    pub(crate) fn read(properties: &Value) -> Self {
        let feature = "/previousImageRetentionPolicy/supportedFeatures/allVersionsAndDeletes";
        let Some(policy) = properties.pointer(feature) else { return Self::default() };
        // 1: replacements, 2: deletes, 3: both.
        let mode = policy.get("mode").and_then(Value::as_u64).unwrap_or_default();
        let paths = policy.get("includedPaths").and_then(Value::as_array);
        let path = |path: &Value| {
            let text = path.as_str()?;
            Path::parse(text.trim_end_matches("/?").trim_end_matches("/*"))
        };
        Self {
            replaces: mode & 1 != 0,
            deletes: mode & 2 != 0,
            paths: paths.into_iter().flatten().filter_map(path).collect(),
        }
    }

    /// True if an image is the whole document.
    pub fn hold_everything(&self) -> bool {
        self.paths.is_empty()
    }

    /// True if an image has this field of the document.
    pub fn hold(&self, field: &Path) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|path| path.covers(field))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PreviousImages;
    use crate::config::Path;

    #[test]
    fn the_policy_tells_which_changes_have_images_and_of_what() {
        let of = |policy: serde_json::Value| {
            PreviousImages::read(&json!({
                "id": "orders",
                "previousImageRetentionPolicy":
                    {"supportedFeatures": {"allVersionsAndDeletes": policy}},
            }))
        };
        for (policy, replaces, deletes, city, name) in [
            (json!({"mode": 0}), false, false, true, true),
            (json!({"mode": 1}), true, false, true, true),
            (json!({"mode": 2, "includedPaths": []}), false, true, true, true),
            (json!({"mode": 3, "includedPaths": ["/city"]}), true, true, true, false),
            (json!({"mode": 3, "includedPaths": ["/city/?", "/c/*"]}), true, true, true, false),
            (json!({"mode": 3, "includedPaths": ["/a/name"]}), true, true, false, true),
            (json!({"mode": "other"}), false, false, true, true),
            (json!(null), false, false, true, true),
        ] {
            let images = of(policy.clone());
            assert_eq!((images.replaces, images.deletes), (replaces, deletes), "{policy}");
            let [of_city, of_name] = ["/city", "/a/name"].map(|path| Path::parse(path).unwrap());
            assert_eq!((images.hold(&of_city), images.hold(&of_name)), (city, name), "{policy}");
        }
        assert_eq!(PreviousImages::read(&json!({"id": "orders"})), PreviousImages::default());
    }
}
