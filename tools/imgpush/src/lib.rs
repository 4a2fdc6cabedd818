//! Image reference to image in the registry, with a digest that is true.

pub mod cli;
