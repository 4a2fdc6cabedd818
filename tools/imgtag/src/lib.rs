//! Commit to image tag: the one tag that every job of a pipeline computes alike.
//!
//! A revision becomes an object ([`repository`]), the object's id is shortened as git shortens it
//! ([`abbreviation`], by the ids around it: [`object_ids`]), and the result is a tag with what a user should know of it
//! ([`tag`]). An abbreviated id stands for the objects whose ids begin with it ([`candidates`]). HEAD and full ids are
//! read straight from the clone's files ([`plain`]). Whether files differ from it, the [`work_tree`] tells.
//! Others' words in messages are made [`step::printable`].

pub mod abbreviation;
pub mod candidates;
pub mod cli;
pub mod error;
pub mod history;
pub mod object_ids;
pub mod pack_index;
pub mod pack_objects;
pub mod plain;
pub mod references;
pub mod reftable;
pub mod repository;
pub mod settings;
pub mod tag;
pub mod work_tree;
