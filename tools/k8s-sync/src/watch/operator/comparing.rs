//! What a commit would change, shown and not done.

use std::collections::HashMap;

use serde_json::json;
use step::Failure;
use tokio::time::Instant;

use super::syncing::track;
use super::{Memory, Operator};
use crate::cluster::Resources;
use crate::diff;
use crate::manifest::{Identity, Manifest};
use crate::report::Tally;
use crate::source::Commit;
use crate::watch::board::{Drift, View};
use crate::watch::events::Reason;
use crate::watch::journal::Level;

impl Operator {
    /// Finds out what a sync would do, and shows it.
    pub(super) async fn compare(&self, commit: Commit, manifests: Vec<Manifest>, memory: &mut Memory) {
        let name = &self.label;
        memory.stale = false;
        let drifts = match self.differences(manifests, memory).await {
            Ok(drifts) => drifts,
            Err(failure) => return self.failed(&commit, &failure, Instant::now(), Tally::default(), memory),
        };
        memory.failed = None;
        let known = memory.commit.replace(commit.id) == Some(commit.id);
        let (differ, message) = match drifts.len() {
            0 => (false, format!("{} is in the cluster", commit.id)),
            count => (true, format!("OutOfSync: {count} objects differ from {}", commit.id)),
        };
        let before = self.board.read(|all| all.get(name).map(View::drifted));
        if !known || before != Some(drifts.len()) {
            let fields = json!({ "commit": commit.id.to_string(), "objects": drifts.len() });
            self.journal.tell(Level::Note, "compared", name, &message, fields);
            if differ {
                memory.events.record(Reason::OutOfSync, &message);
            }
        }
        self.board.update(name, |view| {
            view.error = None;
            (view.commit, view.newer) = if differ { (None, Some(commit)) } else { (Some(commit), None) };
            for identity in view.objects.keys().cloned().collect::<Vec<_>>() {
                view.drift(&identity, drifts.get(&identity).cloned());
            }
        });
    }

    async fn differences(
        &self,
        manifests: Vec<Manifest>,
        memory: &mut Memory,
    ) -> Result<HashMap<Identity, Drift>, Failure> {
        let plan = self.application.plan(&self.cluster, &mut Resources::default(), manifests).await?;
        let outlooks = self.application.compare(&self.cluster, &plan).await?;
        track(&plan, memory);
        self.show(&plan);
        self.observe(&plan, memory);
        let both = plan.wanted.iter().zip(&outlooks);
        Ok(both
            .filter_map(|(wanted, outlook)| {
                let (live, would_be) = (outlook.live.as_ref(), outlook.would_be.as_ref());
                let difference = diff::unified(&wanted.identity, live, would_be)?;
                Some((wanted.identity.clone(), Drift { by: None, difference }))
            })
            .collect())
    }
}
