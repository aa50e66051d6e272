//! What a route knows of its sink.

/// What the sink of a route holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Events: it uses previous images, and a change of the key is a delete and then an upsert.
    Events,
    /// Documents, at places that changes have to tell.
    Documents,
    /// Documents whose copies it finds by their source document, wherever they are. With `moves`, a change
    /// without a previous image may lead to another place than the one before it.
    Recorded { moves: bool },
    /// The documents of the source as they are: both sides are compared by their versions, so documents are sent
    /// as they were read, with the properties of the service and the previous image.
    Mirrored,
}

impl Holds {
    pub fn is_events(self) -> bool {
        self == Self::Events
    }

    pub fn finds_copies(self) -> bool {
        matches!(self, Self::Recorded { .. })
    }

    pub fn moves(self) -> bool {
        self == Self::Recorded { moves: true }
    }
}
