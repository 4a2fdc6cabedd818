//! Commit to image tag: the one tag that every job of a pipeline computes alike.
//!
//! A revision becomes an object ([`repository`]), the object's id is shortened as git shortens it
//! ([`abbreviation`]), and the result is a tag with what a user should know of it ([`tag`]). An abbreviated
//! id stands for the objects whose ids begin with it ([`candidates`]). HEAD of a plain clone needs none of this
//! ([`plain`]).

pub mod abbreviation;
pub mod candidates;
pub mod cli;
pub mod error;
pub mod plain;
pub mod repository;
pub mod tag;
