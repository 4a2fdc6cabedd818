//! An application's objects as they change: one watch a list, all into one channel.
//!
//! Of an object only what is read off it is kept, and of kinds that have no health of their own no more than metadata is
//! asked for: thousands of objects take little memory here, whatever they hold.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::{Cluster, Shape};
use crate::error::SyncError;
use crate::health::{self, Status};
use crate::inventory;
use crate::manifest::Identity;
use crate::proof::Digest;

/// A list that is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watched {
    /// Its path in the API.
    pub list: String,
    /// What of its objects is asked for.
    pub shape: Shape,
}

/// What was seen of an object.
#[derive(Debug)]
pub enum Seen {
    /// It is so now.
    Is(Identity, Sight),
    /// It is no longer there.
    Gone(Identity),
    /// A list can't be read for now.
    Lost(SyncError),
}

/// What is read off an object.
#[derive(Debug)]
pub struct Sight {
    /// Its health.
    pub status: Status,
    /// What it says of the manager's last apply.
    pub footprint: Option<Digest>,
}

/// How long a broken watch waits before it is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// Watches going on until this value is dropped.
pub struct Observer {
    events: mpsc::Receiver<Seen>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Watches these lists for objects with these labels; what is there already comes first. `manager` is us.
    pub fn start(cluster: &Cluster, lists: &[Watched], labels: &str, manager: &str) -> Self {
        let (sender, events) = mpsc::channel(256);
        let mut watches = JoinSet::new();
        for watched in lists {
            let follower = Follower {
                cluster: cluster.clone(),
                watched: watched.clone(),
                labels: labels.to_owned(),
                manager: manager.to_owned(),
                sender: sender.clone(),
                known: HashSet::new(),
            };
            watches.spawn(follower.follow());
        }
        Self { events, _watches: watches }
    }

    /// The next thing seen.
    pub async fn next(&mut self) -> Option<Seen> {
        self.events.recv().await
    }
}

struct Follower {
    cluster: Cluster,
    watched: Watched,
    labels: String,
    manager: String,
    sender: mpsc::Sender<Seen>,
    /// The objects that are there, as far as was seen.
    known: HashSet<Identity>,
}

impl Follower {
    async fn follow(mut self) {
        loop {
            if let Err(error) = self.list_and_watch().await
                && self.sender.send(Seen::Lost(error)).await.is_err()
            {
                return;
            }
            if self.sender.is_closed() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads the list, then what changes in it, for as long as the server remembers where we were.
    async fn list_and_watch(&mut self) -> Result<(), SyncError> {
        let mut listed = Vec::new();
        let read = |object: Value| listed.push((Identity::of(&object), self.sight(&object)));
        let Watched { list, shape } = &self.watched;
        let mut version = self.cluster.each(list, &self.labels, shape, read).await?;
        let mut vanished = std::mem::take(&mut self.known);
        for (identity, sight) in listed {
            vanished.remove(&identity);
            self.known.insert(identity.clone());
            self.tell(Seen::Is(identity, sight)).await;
        }
        for identity in vanished {
            self.tell(Seen::Gone(identity)).await;
        }
        loop {
            let begin = Instant::now();
            let Some(next) = self.watch(&version).await? else { return Ok(()) };
            version = next;
            // A server that ends watches at once is not asked without end.
            tokio::time::sleep_until(begin + PAUSE).await;
        }
    }

    /// Tells of changes until the watch ends; returns where it goes on, or none where the list has to be read again.
    async fn watch(&mut self, version: &str) -> Result<Option<String>, SyncError> {
        let mut version = version.to_owned();
        let Watched { list, shape } = self.watched.clone();
        let mut events = Box::pin(self.cluster.watch(&list, &self.labels, &version, &shape).await?);
        while let Some(event) = events.next().await {
            let (object, is_there) = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                WatchEvent::Deleted(object) => (object, false),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                // The version is too old.
                WatchEvent::Error(_) => return Ok(None),
            };
            if let Some(newer) = object["metadata"]["resourceVersion"].as_str() {
                newer.clone_into(&mut version);
            }
            let identity = Identity::of(&object);
            let seen = if is_there {
                self.known.insert(identity.clone());
                let sight = self.sight(&object);
                Seen::Is(identity, sight)
            } else {
                self.known.remove(&identity);
                Seen::Gone(identity)
            };
            self.tell(seen).await;
        }
        Ok(if self.sender.is_closed() { None } else { Some(version) })
    }

    fn sight(&self, object: &Value) -> Sight {
        Sight { status: health::of(object), footprint: inventory::footprint(object, &self.manager) }
    }

    async fn tell(&self, seen: Seen) {
        // Without a listener the watch is about to be dropped.
        let _ = self.sender.send(seen).await;
    }
}
