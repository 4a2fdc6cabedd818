//! Image reference to image in the registry, with a digest that is true.
//!
//! For each reference the registry is asked first ([`registry`]): what is there already is not sent
//! again. Otherwise the engine pushes it ([`engine`]), and the digest is printed only once the registry has
//! confirmed it by tag and by digest ([`push`]).

pub mod cli;
pub mod credentials;
pub mod engine;
pub mod error;
pub mod push;
pub mod registry;
