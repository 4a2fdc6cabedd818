//! The operator: follows repositories, keeps clusters as they say, and shows what goes on.
//!
//! [`operator`] follows one application; [`lease`] sees to it that one replica does so at a time. What is known is put
//! on a [`board`], from which [`listen`] answers probes, scrapers and readers of the [`page`].

pub mod applications;
pub mod board;
mod events;
mod fight;
pub mod journal;
pub mod lease;
pub mod listen;
pub mod metrics;
pub mod operator;
pub mod page;
pub mod webhook;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tokio::sync::Notify;

use listen::Listener;

/// Tells applications that their repository was pushed to.
#[derive(Default)]
pub struct Calls {
    /// By application: its repository's path, and how it is told.
    applications: BTreeMap<String, (String, Arc<Notify>)>,
    /// Where a replica that stands by passes the call on.
    lease: Option<Arc<lease::Lease>>,
}

impl Calls {
    /// Calls nobody; a replica that stands by passes calls on by way of the lease.
    pub fn new(lease: Option<Arc<lease::Lease>>) -> Self {
        Self { applications: BTreeMap::new(), lease }
    }

    /// Calls this application, too, when its repository was pushed to.
    pub fn add(&mut self, application: &str, repository: &str, call: Arc<Notify>) {
        self.applications.insert(application.to_owned(), (webhook::path(repository), call));
    }

    /// Calls one application.
    pub fn call(&self, application: &str) {
        if let Some((_, call)) = self.applications.get(application) {
            call.notify_one();
        }
    }
}

impl Listener for Calls {
    fn pushed(&self, repositories: &HashSet<String>) -> usize {
        let concerned = self.applications.iter().filter(|(_, (path, _))| repositories.contains(path));
        let names: Vec<String> = concerned.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.call(name);
        }
        if let Some(lease) = self.lease.clone().filter(|_| !names.is_empty()) {
            let called = names.clone();
            // A call that gets lost is made up for by the next look.
            tokio::spawn(async move { lease.call(&called).await });
        }
        names.len()
    }
}
