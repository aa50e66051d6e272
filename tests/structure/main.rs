//! The structure of the code: what depends on what, and that the documents say so.

mod imports;
mod layers;
