//! What the server would make of a plan: tried out by dry-run, before anything is written.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use serde_json::Value;

use crate::cluster::{Cluster, at_once};
use crate::conflicts::Policy;
use crate::diff;
use crate::error::SyncError;
use crate::manifest::Identity;
use crate::ownership::Purpose;
use crate::packed::Packed;
use crate::plan::{Plan, Wanted};
use crate::proof::Digest;
use crate::report::Change;
use crate::sync::Application;

/// What would become of an object.
#[derive(Debug)]
pub struct Outlook {
    /// In a word.
    pub change: Change,
    /// As it is; none where it is not there, or nothing would change.
    pub live: Option<Value>,
    /// As it would be; none where nothing would change.
    pub would_be: Option<Value>,
}

/// What a run would do to an object.
#[derive(Debug)]
pub struct Foretold<'a> {
    /// In a word.
    pub change: Change,
    /// Which object.
    pub identity: &'a Identity,
    /// As it is, where that is known and differs.
    pub live: Option<&'a Value>,
    /// As it would be, where that differs.
    pub would_be: Option<&'a Value>,
    /// Whether it is a hook, which runs each time: no difference.
    pub hook: bool,
}

/// Up to here a value is as good as any other of its kind to a server: data, not meaning. The whole has a limit of 1 MiB.
const HARMLESS: usize = 256 * 1024;
/// So many of the new objects that are alike are tried out before the first is written.
const SPOKESMEN: usize = 8;

impl Application {
    /// Lets the server check everything that would be written.
    ///
    /// Of very many new objects that are alike but for what their names put into them, and for what a ConfigMap or
    /// Secret holds, the first ones speak for the rest: the server checks those again, one by one, when they are
    /// written.
    pub async fn validate(&self, cluster: &Cluster, plan: &Plan) -> Result<(), SyncError> {
        let mut shapes: HashMap<Digest, usize> = HashMap::new();
        let mut speaks = |wanted: &Wanted| {
            let alike = shapes.entry(Digest::of(&[&shape(wanted)])).or_default();
            *alike += 1;
            *alike <= SPOKESMEN
        };
        let wanted = plan.wanted.iter().filter(|wanted| {
            !wanted.proven && (self.paranoid || plan.live.contains_key(&wanted.identity) || speaks(wanted))
        });
        self.try_all(cluster, plan, wanted.chain(&plan.hooks)).await
    }

    /// Lets the server check the hooks.
    pub async fn validate_hooks(&self, cluster: &Cluster, plan: &Plan) -> Result<(), SyncError> {
        self.try_all(cluster, plan, plan.hooks.iter()).await
    }

    async fn try_all<'a>(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        objects: impl Iterator<Item = &'a Wanted>,
    ) -> Result<(), SyncError> {
        at_once(objects.map(|wanted| self.try_out(cluster, plan, wanted)))
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
    }

    /// What would become of each object, beside what it is: the plan's own order.
    pub async fn compare(&self, cluster: &Cluster, plan: &Plan) -> Result<Vec<Outlook>, SyncError> {
        at_once(plan.wanted.iter().map(|wanted| self.look_ahead(cluster, plan, wanted))).try_collect().await
    }

    /// What a run would do, in its order; `outlooks` are what [`Self::compare`] says of the plan.
    pub fn foretold<'a>(&self, plan: &'a Plan, outlooks: &'a [Outlook]) -> Vec<Foretold<'a>> {
        let outlooks: HashMap<&Identity, &Outlook> =
            plan.wanted.iter().map(|wanted| &wanted.identity).zip(outlooks).collect();
        let created = |identity, would_be, hook| Foretold {
            change: Change::Created,
            identity,
            live: None,
            would_be,
            hook,
        };
        let own = plan
            .namespace
            .iter()
            .map(|own| Foretold { change: own.change, ..created(&own.identity, Some(&own.object), false) });
        let mut all: Vec<Foretold<'_>> = own.collect();
        for stage in self.course(plan) {
            all.extend(stage.members.iter().map(|member| {
                let Outlook { change, live, would_be } = outlooks[&member.identity];
                Foretold {
                    change: *change,
                    live: live.as_ref(),
                    ..created(&member.identity, would_be.as_ref(), false)
                }
            }));
            all.extend(stage.hooks.iter().map(|hook| created(&hook.identity, None, true)));
            all.extend(stage.leaving.into_iter().chain(stage.leaving_last).map(|leaving| Foretold {
                change: Change::Pruned,
                live: Some(&leaving.object),
                ..created(&leaving.identity, None, false)
            }));
        }
        all
    }

    /// Finds the objects that differ in nothing but what is ignored: they are left alone. The ignored fields of others
    /// stay as they are in the cluster where `RespectIgnoreDifferences` is set.
    pub(crate) async fn ignore(&self, cluster: &Cluster, plan: &mut Plan) -> Result<(), SyncError> {
        let judged: Vec<(usize, Value, Outlook)> = {
            let plan = &*plan;
            let ignoring = plan.wanted.iter().enumerate().filter(|(_, wanted)| {
                !wanted.proven && !wanted.ignored.is_empty() && plan.live.contains_key(&wanted.identity)
            });
            at_once(ignoring.map(|(index, wanted)| async move {
                // Whose the ignored fields are is no question here.
                let taking = Self { conflicts: Policy::taking(), ..self.clone() };
                let outlook = taking.look_ahead(cluster, plan, wanted).await?;
                Ok::<_, SyncError>((index, cluster.get(&wanted.path).await?.unwrap_or_default(), outlook))
            }))
            .try_collect()
            .await?
        };
        for (index, live, outlook) in judged {
            let wanted = &mut plan.wanted[index];
            wanted.proven = outlook.change == Change::Unchanged;
            if wanted.options.respect_ignored {
                let mut object = wanted.object.open();
                wanted.ignored.keep_live(&mut object, &live);
                wanted.object = Packed::of(&object);
            }
        }
        Ok(())
    }

    async fn look_ahead(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        wanted: &Wanted,
    ) -> Result<Outlook, SyncError> {
        let unchanged = Outlook { change: Change::Unchanged, live: None, would_be: None };
        if wanted.proven {
            return Ok(unchanged);
        }
        let live = match plan.live.get(&wanted.identity) {
            Some(_) => cluster.get(&wanted.path).await?,
            None => None,
        };
        // What can't be tried out before its namespace is there is shown as it is written.
        let mut would_be = self.try_out(cluster, plan, wanted).await?.unwrap_or_else(|| wanted.object.open());
        if let Some(live) = &live {
            let standing = plan.live.get(&wanted.identity);
            if standing.is_some_and(|standing| standing.client_side) && !wanted.options.replace {
                would_be = self.without_left_behind(cluster, &wanted.path, live, would_be).await?;
            }
            wanted.ignored.keep_live(&mut would_be, live);
        }
        let change = match &live {
            None => Change::Created,
            Some(live) if diff::same(live, &would_be) => return Ok(unchanged),
            Some(_) => Change::Configured,
        };
        Ok(Outlook { change, live, would_be: Some(would_be) })
    }

    /// The object as it would be; none where its namespace or kind comes with the same plan.
    async fn try_out(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        wanted: &Wanted,
    ) -> Result<Option<Value>, SyncError> {
        if wanted.path.is_empty() {
            return Ok(None);
        }
        let object = wanted.object.open();
        let tried = if wanted.hook {
            // Under a name of its own: the last run's hook may still be there.
            cluster.try_to_create(&wanted.path, &object, &self.manager()).await
        } else {
            let standing = plan.live.get(&wanted.identity);
            let tried = self.put(cluster, &wanted.path, object, standing, Purpose::Trial).await;
            tried.map(|tried| tried.object)
        };
        match tried {
            Err(SyncError::Refused { code: 404, .. })
                if plan.brought_namespaces().contains(wanted.identity.namespace.as_str())
                    || plan.brings_kind(wanted) =>
            {
                Ok(None)
            }
            // It is deleted and made again.
            Err(SyncError::Immutable { .. }) if wanted.options.force => Ok(None),
            tried => tried.map(Some),
        }
    }
}

/// A text that objects have in common that a server would judge alike.
fn shape(wanted: &Wanted) -> String {
    let mut object = wanted.object.open();
    let name = wanted.identity.name.as_str();
    let is_data =
        object["apiVersion"] == "v1" && (object["kind"] == "ConfigMap" || object["kind"] == "Secret");
    if is_data && object.to_string().len() < HARMLESS {
        for field in ["data", "stringData"] {
            // A Secret's data has to be base64, which a server checks.
            for value in object[field].as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
                if value.is_string() && (field != "data" || wanted.identity.kind.kind == "ConfigMap") {
                    *value = Value::Null;
                }
            }
        }
    }
    if is_plain(name) {
        for field in object.as_object_mut().into_iter().flatten().filter(|(key, _)| *key != "kind") {
            without(field.1, name);
        }
    }
    // Each namespace has quotas and policies of its own.
    format!("{} {object}", wanted.identity.namespace)
}

/// A name that every kind of object may have, so that its place can be taken by any other such name.
fn is_plain(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let bytes = name.as_bytes();
    // A label is at most 63 long; names are put together with others.
    (3..=40).contains(&bytes.len())
        && bytes.iter().all(|c| inner(*c))
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|c| *c != b'-')
}

/// Takes the name out of all texts, keys too.
fn without(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if text.contains(name) => *text = text.replace(name, "\0"),
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, name)),
        Value::Object(fields) => fields.values_mut().for_each(|value| without(value, name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alike(a: &Value, b: &Value) -> bool {
        let wanted = |object: &Value| Wanted {
            identity: Identity::of(object),
            object: Packed::of(object),
            ..Wanted::default()
        };
        shape(&wanted(a)) == shape(&wanted(b))
    }

    #[test]
    fn objects_are_alike_but_for_their_names_and_data() {
        let object = |kind: &str, name: &str, value: Value| {
            let labels = json!({"app": name});
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}, "data": {"k": value}})
        };
        let map = |name, value: &str| object("ConfigMap", name, json!(value));
        assert!(alike(&map("app-1", "a"), &map("app-2", "b")));
        assert!(!alike(&map("app-1", "a"), &map("App_2", "b")), "a name that the server refuses");
        assert!(
            !alike(&map("app-1", "a"), &object("ConfigMap", "app-2", json!(1))),
            "a value of another type"
        );
        assert!(!alike(&object("Secret", "app-1", json!("YQ==")), &object("Secret", "app-2", json!("?"))));
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-2"}, "data": {"k k": "a"}});
        assert!(!alike(&map("app-1", "a"), &other));
        let port = |name: &str, port: u32| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"port": port}});
        assert!(
            alike(&port("web-1", 80), &port("web-2", 80)) && !alike(&port("web-1", 80), &port("web-2", 81))
        );
        let there = |name: &str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": name}});
        assert!(!alike(&there("web-1"), &there("web-2")), "each namespace has policies of its own");
    }
}
