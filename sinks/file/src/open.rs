//! Opens the sink with its options and secrets.

use std::sync::Arc;

use cosmos_bridge_options::{Destination, Open, Opening, TargetParts};
use cosmos_bridge_sink::{Sink, SinkError};

use crate::{FileOptions, FileSink, Output};
impl Open for FileOptions {
    fn open(&self, name: &str, _opening: &dyn Opening) -> Result<Arc<dyn Sink>, SinkError> {
        Ok(Arc::new(FileSink::new(name, self.clone())))
    }

    fn destination(&self) -> Destination {
        let file = match &self.path {
            Output::Standard => None,
            Output::File(path) => path.file_name(),
        };
        let name = file.map_or_else(|| "-".to_owned(), |name| name.to_string_lossy().into_owned());
        Destination::Name(name)
    }

    fn target(&self, _opening: &dyn Opening) -> Result<TargetParts, SinkError> {
        let path = match &self.path {
            Output::Standard => "-".to_owned(),
            // The same file, from whichever folder the bridge is started.
            Output::File(path) => {
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                whole.to_string_lossy().into_owned()
            }
        };
        Ok(vec![("path", path)])
    }
}
