//! Image reference to image in the registry, with a digest that is true.
//!
//! For each reference the registry is asked first ([`registry`]): what is there already is not sent
//! again. Otherwise the engine pushes it ([`way`], [`engine`]), or its layers are compressed on every core
//! ([`compress`]) while they come out of the engine or of an archive ([`archive`]). The digest is printed only
//! once the registry has confirmed it by tag and by digest ([`push`]).

pub mod archive;
pub mod cli;
pub mod compress;
pub mod credentials;
pub mod digest;
pub mod direct;
pub mod engine;
pub mod error;
pub mod layers;
pub mod outcome;
pub mod progress;
pub mod push;
pub mod registry;
pub mod source;
pub mod way;
pub mod words;
