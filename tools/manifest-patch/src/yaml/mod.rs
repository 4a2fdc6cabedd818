//! YAML read with the place of every value, and values written back into those places.

pub mod document;
pub mod events;
pub mod expanded;
pub mod granit;
pub mod plain;
pub mod scalar;
pub mod stream;

pub use document::{Content, Document, Node, NodeId};
pub use events::{EventSource, Style, SyntaxError};
pub use expanded::Expanded;
pub use granit::Granit;
