//! What a container's items in the all-versions feed say besides the new document: the image before
//! the change, and what is left of a deleted document.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::document::{Naming, Version};
use crate::key::KeyPath;
use crate::log::{Change, Operation};

/// The changes whose items carry the image before them. The service gives none unless the
/// container's policy asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviousImages {
    #[default]
    None,
    Replace,
    Delete,
    All,
}

/// What a delete's item has as `current`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteCurrent {
    /// An empty object.
    #[default]
    Empty,
    /// No such member.
    Absent,
    /// An object with the id and nothing else.
    IdOnly,
}

/// The policy of one container.
#[derive(Debug, Default)]
pub struct Images {
    modes: PreviousImages,
    /// The paths that an image has; none: the whole document.
    paths: Vec<KeyPath>,
    delete_current: DeleteCurrent,
}

/// The container's property with the policy.
pub const POLICY: &str = "previousImageRetentionPolicy";

impl PreviousImages {
    fn number(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Replace => 1,
            Self::Delete => 2,
            Self::All => 3,
        }
    }

    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Replace,
            2 => Self::Delete,
            3 => Self::All,
            _ => Self::None,
        }
    }

    /// The container's property for images of these changes.
    pub fn to_property(self, paths: &[String]) -> Value {
        json!({"supportedFeatures": {
            "allVersionsAndDeletes": {"mode": self.number(), "includedPaths": paths},
        }})
    }
}

impl Images {
    /// Reads the policy out of a container's properties.
    pub fn read(properties: &Map<String, Value>) -> Self {
        let policy = properties.get(POLICY).unwrap_or(&Value::Null);
        let policy = &policy["supportedFeatures"]["allVersionsAndDeletes"];
        let paths = policy["includedPaths"].as_array().into_iter().flatten();
        let feed = properties.get("changeFeedPolicy").unwrap_or(&Value::Null);
        Self {
            modes: policy["mode"].as_u64().map(PreviousImages::from_number).unwrap_or_default(),
            paths: paths.filter_map(Value::as_str).map(KeyPath::parse).collect(),
            delete_current: DeleteCurrent::deserialize(&feed["deleteCurrent"]).unwrap_or_default(),
        }
    }

    /// The version before a change, if its item shows it.
    pub fn previous<'a>(&self, change: &'a Change) -> Option<&'a Version> {
        let shown = match change.operation {
            Operation::Create => false,
            Operation::Replace => {
                matches!(self.modes, PreviousImages::Replace | PreviousImages::All)
            }
            Operation::Delete => matches!(self.modes, PreviousImages::Delete | PreviousImages::All),
        };
        change.previous.as_deref().filter(|_| shown)
    }

    /// Appends an image: the document, or only the paths that the policy names.
    pub fn render(&self, naming: &Naming, version: &Version, out: &mut Vec<u8>) {
        if self.paths.is_empty() {
            return naming.render(version, out);
        }
        let document = crate::write::parse(&version.text);
        let mut image = json!({});
        for path in &self.paths {
            if let Some(value) = path.find(&document) {
                path.put(&mut image, value.clone());
            }
        }
        out.extend_from_slice(image.to_string().as_bytes());
    }

    /// The `current` of a delete, if its item has one.
    pub fn current_of_delete(&self, change: &Change) -> Option<Value> {
        match self.delete_current {
            DeleteCurrent::Empty => Some(json!({})),
            DeleteCurrent::Absent => None,
            DeleteCurrent::IdOnly => Some(json!({"id": change.address.id})),
        }
    }
}
