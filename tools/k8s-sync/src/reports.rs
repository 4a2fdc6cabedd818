//! A run told to a pipeline: a test case an object (`JUnit`, which CI servers show beside the change), and figures
//! (OpenMetrics' text format, which they compare from run to run).

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use quick_xml::escape::escape;
use serde_json::{Map, Value, json};
use step::Failure;

use crate::error::SyncError;
use crate::manifest::Identity;
use crate::report::{Change, Tally};

/// What has come of a run so far.
#[derive(Debug)]
pub struct Account {
    application: String,
    begin: Instant,
    /// An object of a cluster, and why it is not as it should be.
    cases: Vec<Case>,
    /// How many objects met which fate.
    pub tally: Tally,
    /// Requests that were sent to API servers.
    pub requests: u64,
    /// Whether the clusters are as the source says.
    pub synced: bool,
    /// Whether all objects are healthy; none where that was not waited for.
    pub healthy: Option<bool>,
}

impl Account {
    /// What the run has come to: JSON's last line.
    pub fn summary(&self) -> Map<String, Value> {
        let counts = self.tally.counts().map(|(change, count)| (change.word(), json!(count)));
        let [kind, synced, healthy] =
            [("kind", json!("summary")), ("synced", json!(self.synced)), ("healthy", json!(self.healthy))];
        let fields = [kind, synced, healthy].into_iter().chain(counts);
        let all = fields.chain([("requests", json!(self.requests))]);
        all.map(|(field, value)| (field.to_owned(), value)).collect()
    }

    /// A failure with that.
    pub fn summed_up(&self, failure: Failure) -> Failure {
        self.summary().into_iter().fold(failure, |failure, (field, value)| failure.with(&field, value))
    }
}

#[derive(Debug)]
struct Case {
    cluster: String,
    identity: Identity,
    problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    application: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Changed {
    application: String,
    change: &'static str,
}

impl Account {
    /// A run of an application that begins now.
    pub fn begin(application: &str) -> Self {
        Self {
            application: application.to_owned(),
            begin: Instant::now(),
            cases: Vec::new(),
            tally: Tally::default(),
            requests: 0,
            synced: false,
            healthy: None,
        }
    }

    /// One more object; `cluster` tells several of them apart, and `problem` says what is wrong with it.
    pub fn add(&mut self, cluster: &str, change: Change, identity: &Identity, problem: Option<String>) {
        self.tally.add(change);
        self.cases.push(Case { cluster: cluster.to_owned(), identity: identity.clone(), problem });
    }

    /// Test cases: each object's, and the run's own, which fails where the run does.
    pub fn junit(&self, failure: Option<&str>) -> String {
        // An object that is blamed fails by itself.
        let blamed = |case: &Case| {
            let named = case.identity.to_string();
            failure.filter(|words| {
                words.contains(&format!("{named} is ")) || words.starts_with(&format!("{named}: "))
            })
        };
        let mut cases = String::new();
        let mut failures = usize::from(failure.is_some());
        for case in &self.cases {
            let problem = case.problem.as_deref().or_else(|| blamed(case));
            failures += usize::from(problem.is_some());
            let class = match case.cluster.as_str() {
                "" => case.identity.kind.to_string(),
                cluster => format!("{cluster}: {}", case.identity.kind),
            };
            test_case(&mut cases, &class, &place(&case.identity), None, problem);
        }
        test_case(&mut cases, "k8s-sync", &self.application, Some(self.begin.elapsed()), failure);
        let (tests, seconds) = (self.cases.len() + 1, self.begin.elapsed().as_secs_f64());
        let name = xml(&self.application);
        let counts = format!("tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\"");
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"k8s-sync\" {counts}>\n  \
             <testsuite name=\"{name}\" {counts}>\n{cases}  </testsuite>\n</testsuites>\n"
        )
    }

    /// Figures.
    pub fn open_metrics(&self) -> String {
        let of = Of { application: self.application.clone() };
        let mut registry = Registry::with_prefix("k8s_sync");
        let objects: Family<Changed, Gauge> = Family::default();
        registry.register("objects", "Objects by what became of them", objects.clone());
        for (change, count) in self.tally.counts() {
            let label = Changed { application: self.application.clone(), change: change.word() };
            objects.get_or_create(&label).set(count.try_into().unwrap_or(i64::MAX));
        }
        let figures: [(&str, &str, Option<u64>); 3] = [
            ("requests", "Requests that were sent to API servers", Some(self.requests)),
            ("synced", "Whether the clusters are as the source says", Some(u64::from(self.synced))),
            ("healthy", "Whether all objects are healthy", self.healthy.map(u64::from)),
        ];
        for (name, help, value) in figures {
            let Some(value) = value else { continue };
            let family: Family<Of, Gauge> = Family::default();
            registry.register(name, help, family.clone());
            family.get_or_create(&of).set(value.try_into().unwrap_or(i64::MAX));
        }
        let duration: Family<Of, Gauge<f64, AtomicU64>> = Family::default();
        registry.register_with_unit("duration", "How long the run took", Unit::Seconds, duration.clone());
        duration.get_or_create(&of).set(self.begin.elapsed().as_secs_f64());
        let mut text = String::new();
        // A text takes whatever is written to it.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// Writes a file, whole or not at all.
pub fn write(path: &Path, text: &str) -> Result<(), SyncError> {
    let unwritable =
        |cause: std::io::Error| SyncError::Unwritable { path: path.display().to_string(), cause };
    whole_file::write(path, text.as_bytes()).map_err(unwritable)
}

fn place(identity: &Identity) -> String {
    match identity.namespace.as_str() {
        "" => identity.name.clone(),
        namespace => format!("{namespace}/{}", identity.name),
    }
}

fn test_case(into: &mut String, class: &str, name: &str, took: Option<Duration>, problem: Option<&str>) {
    let time = took.unwrap_or_default().as_secs_f64();
    let _ =
        write!(into, "    <testcase classname=\"{}\" name=\"{}\" time=\"{time:.3}\"", xml(class), xml(name));
    let _ = match problem {
        None => writeln!(into, "/>"),
        Some(words) => {
            let first = words.lines().next().unwrap_or_default();
            writeln!(into, "><failure message=\"{}\">{}</failure></testcase>", xml(first), xml(words))
        }
    };
}

/// A text as XML takes it, which has no words for most control characters.
fn xml(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    escape(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::GroupKind;

    fn account() -> Account {
        let mut account = Account::begin("app");
        let identity =
            |kind: &str, namespace: &str, name: &str| Identity::new(GroupKind::parse(kind), namespace, name);
        account.add("", Change::Created, &identity("ConfigMap", "n", "a"), None);
        account.add("blue", Change::Unchanged, &identity("Namespace", "", "n"), None);
        account.add("", Change::Configured, &identity("Deployment.apps", "n", "web"), None);
        account
    }

    #[test]
    fn the_object_that_is_blamed_fails() {
        let said = "Deployment.apps n/web is degraded: <no> \u{1b}pods\nevent: x";
        let text = account().junit(Some(said));
        assert!(text.contains(r#"tests="4" failures="2""#), "{text}");
        assert!(text.contains(r#"<testcase classname="ConfigMap" name="n/a" time="0.000"/>"#), "{text}");
        assert!(text.contains(r#"classname="blue: Namespace" name="n""#), "{text}");
        let failure = r#"<failure message="Deployment.apps n/web is degraded: &lt;no&gt; pods">"#;
        assert_eq!(text.matches(failure).count(), 2, "{text}");
        assert!(account().junit(None).contains(r#"failures="0""#));
    }

    #[test]
    fn figures_are_of_the_application() {
        let mut account = account();
        (account.requests, account.healthy) = (7, Some(true));
        let text = account.open_metrics();
        for line in [
            r#"k8s_sync_objects{application="app",change="created"} 1"#,
            r#"k8s_sync_objects{application="app",change="pruned"} 0"#,
            r#"k8s_sync_requests{application="app"} 7"#,
            r#"k8s_sync_synced{application="app"} 0"#,
            r#"k8s_sync_healthy{application="app"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
