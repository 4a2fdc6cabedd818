//! An application's objects as they change: one watch a list, all into one channel.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::error::SyncError;
use crate::manifest::Identity;

/// What was seen of an object.
#[derive(Debug)]
pub enum Seen {
    /// It is so now.
    Is(Identity, Box<Value>),
    /// It is no longer there.
    Gone(Identity),
    /// A list can't be read for now.
    Lost(SyncError),
}

/// How long a broken watch waits before it is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// Watches going on until this value is dropped.
pub struct Observer {
    events: mpsc::Receiver<Seen>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Watches these lists for objects with these labels; what is there already comes first.
    pub fn start(cluster: &Cluster, lists: &[String], labels: &str) -> Self {
        let (sender, events) = mpsc::channel(256);
        let mut watches = JoinSet::new();
        for list in lists {
            watches.spawn(follow(cluster.clone(), list.clone(), labels.to_owned(), sender.clone()));
        }
        Self { events, _watches: watches }
    }

    /// The next thing seen.
    pub async fn next(&mut self) -> Option<Seen> {
        self.events.recv().await
    }
}

async fn follow(cluster: Cluster, list: String, labels: String, sender: mpsc::Sender<Seen>) {
    let mut known: HashSet<Identity> = HashSet::new();
    loop {
        if let Err(error) = follow_once(&cluster, &list, &labels, &sender, &mut known).await
            && sender.send(Seen::Lost(error)).await.is_err()
        {
            return;
        }
        if sender.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow_once(
    cluster: &Cluster,
    list: &str,
    labels: &str,
    sender: &mpsc::Sender<Seen>,
    known: &mut HashSet<Identity>,
) -> Result<(), SyncError> {
    let listed = cluster.list(list, labels).await?;
    let mut vanished = std::mem::take(known);
    for object in listed.items {
        let identity = Identity::of(&object);
        vanished.remove(&identity);
        known.insert(identity.clone());
        let _ = sender.send(Seen::Is(identity, Box::new(object))).await;
    }
    for identity in vanished {
        let _ = sender.send(Seen::Gone(identity)).await;
    }
    let mut events = Box::pin(cluster.watch(list, labels, &listed.version).await?);
    while let Some(event) = events.next().await {
        let seen = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let identity = Identity::of(&object);
                known.insert(identity.clone());
                Seen::Is(identity, Box::new(object))
            }
            WatchEvent::Deleted(object) => {
                let identity = Identity::of(&object);
                known.remove(&identity);
                Seen::Gone(identity)
            }
            WatchEvent::Bookmark(_) => continue,
            // The version is too old: the list is read again.
            WatchEvent::Error(_) => return Ok(()),
        };
        if sender.send(seen).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
