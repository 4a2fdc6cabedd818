//! Where a source file lies, as far as that is known.

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path, with `/` between its parts: from the top of the checkout, or as much of it as is known.
    pub path: String,
    /// How well that is known.
    pub certainty: Certainty,
}

/// What the checkout says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It has it, at that path.
    InCheckout,
    /// Nothing.
    Unknown,
    /// It has several of which the path could be the end, so that the file is taken for none of them.
    Ambiguous,
}
