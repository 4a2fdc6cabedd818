//! The page: applications, their objects and what differs. It only shows; nothing can be done on it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::board::{Board, ObjectView, Role, SyncRecord, SyncState, View};
use crate::cluster::escape;
use crate::health::Health;
use crate::manifest::{GroupKind, Identity};
use crate::source::Commit;

/// The list of all applications.
pub fn index(board: &Board) -> String {
    let cards = board.read(|all| {
        html! {
            ul.cards {
                @for (name, view) in all {
                    li {
                        a.name id=(format!("to-{name}")) href=(format!("/applications/{}", escape(name))) { (name) }
                        " " (badges(view))
                        div.dim { (revision(view)) " · " (view.objects.len()) " objects · " (view.origin.destination) }
                        @if let Some(error) = &view.error { div.error { (error) } }
                    }
                }
            }
        }
    });
    frame(board, "Applications", &cards)
}

/// One application; none where there is none of that name.
pub fn application(board: &Board, name: &str) -> Option<String> {
    let body = board.read(|all| all.get(name).map(|view| detail(name, view)))?;
    Some(frame(board, name, &body))
}

/// The page of a path where nothing is.
pub fn nothing_here(board: &Board) -> String {
    frame(board, "Nothing here", &html! { p { "There is nothing here." } })
}

fn frame(board: &Board, title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · k8s-sync" }
                link rel="stylesheet" href="/page.css";
                link rel="icon" href="data:,";
                script src="/live.js" defer {}
            }
            body {
                header {
                    a href="/" { "k8s-sync" }
                    span #live role="status" { "not live: no script" }
                }
                main {
                    h1 { (title) }
                    @if let Role::StandingBy(leader) = board.role() {
                        p.error {
                            "This replica stands by and sees nothing. "
                            @if let Some(leader) = leader { (leader) " leads." } @else { "Nobody leads yet." }
                        }
                    }
                    (body)
                }
            }
        }
    };
    page.into_string()
}

fn detail(name: &str, view: &View) -> Markup {
    let drifted =
        view.objects.iter().filter_map(|(identity, object)| Some((identity, object.drift.as_ref()?)));
    html! {
        p { (badges(view)) }
        @if let Some(error) = &view.error { div.error role="alert" { (error) } }
        dl {
            dt { "Repository" } dd { (view.origin.repository) }
            dt { "Revision" } dd { (view.origin.revision) }
            dt { "Path" } dd { (view.origin.path) }
            dt { "Destination" } dd { (view.origin.destination) }
            @if let Some(commit) = &view.commit { dt { "In the cluster" } dd { (shown(commit)) } }
            @if let Some(commit) = &view.newer { dt { "Newer in Git" } dd { (shown(commit)) } }
        }
        @if view.drifted() > 0 {
            h2 { "What differs" }
            ul {
                @for (identity, drift) in drifted {
                    li {
                        details id=(format!("differs-{name}-{identity}")) open {
                            summary {
                                (identity)
                                @if let Some(by) = &drift.by { span.dim { " changed by " (by) } }
                            }
                            @if !drift.difference.is_empty() { pre tabindex="0" { (drift.difference) } }
                        }
                    }
                }
            }
        }
        h2 { "Objects" }
        (tree(name, &view.objects))
        h2 { "Last syncs" }
        ul.syncs { @for sync in &view.syncs { li { (record(sync)) } } }
    }
}

/// Namespaces, in them kinds, in them objects.
fn tree(application: &str, objects: &BTreeMap<Identity, ObjectView>) -> Markup {
    type Kinds<'a> = BTreeMap<&'a GroupKind, Vec<(&'a str, &'a ObjectView)>>;
    let mut namespaces: BTreeMap<&str, Kinds<'_>> = BTreeMap::new();
    for (identity, object) in objects {
        let kinds = namespaces.entry(&identity.namespace).or_default();
        kinds.entry(&identity.kind).or_default().push((&identity.name, object));
    }
    html! {
        ul {
            @for (namespace, kinds) in &namespaces {
                li {
                    details id=(format!("in-{application}-{namespace}")) open {
                        summary { @if namespace.is_empty() { "the cluster" } @else { "namespace " (namespace) } }
                        ul {
                            @for (kind, objects) in kinds { li { (kind_of(application, namespace, kind, objects)) } }
                        }
                    }
                }
            }
        }
    }
}

/// So many objects of a kind are shown without being asked for.
const SHOWN_AT_ONCE: usize = 30;

fn kind_of(application: &str, namespace: &str, kind: &GroupKind, objects: &[(&str, &ObjectView)]) -> Markup {
    html! {
        details id=(format!("of-{application}-{namespace}-{kind}")) open[objects.len() <= SHOWN_AT_ONCE] {
            summary { (kind) " " span.dim { "(" (objects.len()) ")" } }
            ul {
                @for (name, object) in objects {
                    li {
                        (health(object.status.health)) (name)
                        @if object.drift.is_some() { " " span.badge.busy { "≠ OutOfSync" } }
                        @if !object.status.message.is_empty() { span.dim { " " (object.status.message) } }
                    }
                }
            }
        }
    }
}

fn record(sync: &SyncRecord) -> Markup {
    let tally = &sync.tally;
    html! {
        div {
            @if sync.error.is_some() { span.badge.bad { "✗ failed" } } @else { span.badge.good { "✓ synced" } }
            (shown(&sync.commit))
        }
        div.dim {
            time datetime=(sync.at) { (moment(sync.at)) }
            " · " (sync.took.as_millis()) " ms · "
            (tally.created) " created, " (tally.configured) " configured, "
            (tally.unchanged) " unchanged, " (tally.pruned) " pruned"
        }
        @if let Some(error) = &sync.error { div.error { (error) } }
    }
}

fn shown(commit: &Commit) -> Markup {
    html! {
        code { (commit.short()) } " " (commit.summary)
        span.dim { " by " (commit.author) ", " (moment(commit.time)) }
    }
}

fn revision(view: &View) -> Markup {
    html! {
        @match &view.commit {
            Some(commit) => (shown(commit)),
            None => (view.origin.revision),
        }
    }
}

/// Seconds are enough for people.
fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn badges(view: &View) -> Markup {
    let sync = view.sync_state();
    let (class, sign) = match sync {
        SyncState::Synced => ("badge good", "✓"),
        SyncState::OutOfSync => ("badge busy", "≠"),
        SyncState::Unknown => ("badge dim", "?"),
    };
    html! { span class=(class) { (sign) " " (sync.word()) } (health(view.health())) }
}

/// Sign and word, so that it is told by more than a colour.
fn health(health: Health) -> Markup {
    let (class, sign) = match health {
        Health::Healthy => ("badge good", "♥"),
        Health::Suspended => ("badge dim", "⏸"),
        Health::Progressing => ("badge busy", "↻"),
        Health::Missing => ("badge busy", "∅"),
        Health::Degraded => ("badge bad", "✗"),
        Health::Unknown => ("badge dim", "?"),
    };
    html! { span class=(class) { (sign) " " (health.word()) } }
}
