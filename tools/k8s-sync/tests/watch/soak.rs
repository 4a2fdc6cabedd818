//! The operator under random drift, commits and faults: every change is healed, none is lost, memory stays flat.
//!
//! Two replicas with a Lease keep one namespace and suffer everything. A third process keeps another and is never ended,
//! so that its memory can be followed. `scripts/soak` runs this for an hour on a cluster of its own, where the API
//! server is restarted, too; the tests run it for seconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use crate::api::Api;
use crate::git_server::GitServer;
use crate::network::{Network, Weather};
use crate::world::{Operator, SERVER, World, cluster, cluster_script};

/// So many objects there are to begin with: enough for few to be changed twice within a minute, which is a fight.
const OBJECTS: usize = 200;
/// The longest until everything is as Git says once the last fault is over.
const SETTLED: Duration = Duration::from_secs(90);
/// The most memory that a process may take, in kB.
const MOST_MEMORY: u64 = 60 * 1024;
/// How much more memory may be taken in the last third than in the first, in kB.
const GROWTH: u64 = 4 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    GitServerDown,
    Network(Weather),
    LeaderKilled,
    LeaderStopped,
    ApiServerRestarted,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Drift,
    Delete,
    DriftOfMany,
    Commit,
    ForcedCommit,
    BadCommit,
    Calls,
}

const ACTS: [Act; 7] =
    [Act::Drift, Act::Delete, Act::DriftOfMany, Act::Commit, Act::ForcedCommit, Act::BadCommit, Act::Calls];

#[test]
fn random_drift_commits_and_faults() {
    let seconds: u64 = setting("SOAK_SECONDS").unwrap_or(20);
    let seed = setting("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    let long = seconds >= 600;
    cluster();
    let world = if long { World::alone() } else { World::new() };
    let mut soak = Soak::begin(&world, seed, long);
    soak.settle("the first sync");
    let begin = Instant::now();
    let mut last_word = begin;
    while begin.elapsed().as_secs() < seconds {
        soak.round();
        soak.measure(begin.elapsed());
        if last_word.elapsed() > Duration::from_mins(1) {
            last_word = Instant::now();
            soak.say(begin.elapsed());
        }
    }
    soak.say(begin.elapsed());
    soak.judge(long);
}

/// A number from the environment, for `scripts/soak`.
#[expect(clippy::disallowed_methods, reason = "no tool reads it")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct Replica {
    operator: Operator,
    network: Network,
}

struct Soak<'a> {
    world: &'a World,
    rng: Rng,
    seed: u64,
    long: bool,
    git: GitServer,
    api: Api,
    steady_namespace: String,
    steady: Operator,
    steady_network: Network,
    replicas: Vec<Replica>,
    /// What the branch says.
    truth: BTreeMap<String, String>,
    next_object: usize,
    deck: Vec<Fault>,
    /// How often what was done.
    done: BTreeMap<String, u32>,
    /// From event to healed, in milliseconds, in rounds without a fault.
    healed: Vec<u64>,
    heals: usize,
    longest_settling: Duration,
    memory: Vec<(Duration, u64)>,
    most_memory: u64,
}

impl<'a> Soak<'a> {
    fn begin(world: &'a World, seed: u64, long: bool) -> Self {
        let git = GitServer::start(world.home.path());
        let url = git.url("manifests/.git");
        let steady_namespace = format!("{}-steady", world.namespace);
        world.kubectl(&["create", "namespace", &steady_namespace]);
        let mut truth = BTreeMap::new();
        for number in 0..OBJECTS {
            let name = format!("item-{number}");
            world.config_map(&name, "begin");
            truth.insert(name, "begin".to_owned());
        }
        world.commit("Begin");
        let steady_network = Network::start(&cluster()["KUBECONFIG"], world.home.path());
        let words = ["steady", "--dest-namespace", &steady_namespace, "--repo", &url];
        let steady = follow(world, &words, &steady_network);
        let replicas = (0..2).map(|_| replica(world, &url)).collect();
        Self {
            world,
            rng: Rng::with_seed(seed),
            seed,
            long,
            git,
            api: Api::start(world),
            steady_namespace,
            steady,
            steady_network,
            replicas,
            truth,
            next_object: OBJECTS,
            deck: Vec::new(),
            done: BTreeMap::new(),
            healed: Vec::new(),
            heals: 0,
            longest_settling: Duration::ZERO,
            memory: Vec::new(),
            most_memory: 0,
        }
    }

    /// One fault, or none, with changes before it, in its midst and after it; then everything has to come right.
    fn round(&mut self) {
        let fault = self.next_fault();
        self.count(&format!("{fault:?}"));
        self.hear(false);
        self.acts(2);
        let leader = self.begin_fault(fault);
        if fault != Fault::Nothing {
            self.acts(3);
            let longest = match (self.long, fault) {
                (false, _) => 2.0,
                (true, Fault::GitServerDown) => 65.0,
                (true, _) => 15.0,
            };
            self.sleep(0.2, longest);
        }
        self.acts(1);
        self.end_fault(fault, leader);
        self.acts(2);
        self.settle(&format!("{fault:?}"));
        self.hear(fault == Fault::Nothing);
    }

    /// All faults come before one comes again.
    fn next_fault(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = vec![
                Fault::Nothing,
                Fault::Nothing,
                Fault::GitServerDown,
                Fault::Network(Weather::Broken),
                Fault::Network(Weather::Silent),
                Fault::Network(Weather::Forgetful),
                Fault::LeaderKilled,
                Fault::LeaderStopped,
            ];
            if self.long {
                self.deck.push(Fault::ApiServerRestarted);
            }
            self.rng.shuffle(&mut self.deck);
        }
        self.deck.pop().unwrap()
    }

    /// Returns the replica that it is about.
    fn begin_fault(&mut self, fault: Fault) -> usize {
        let leader =
            self.replicas.iter().position(|each| each.operator.metric("k8s_sync_leader") == 1).unwrap_or(0);
        match fault {
            Fault::Nothing => {}
            Fault::GitServerDown => self.git.stop(),
            Fault::Network(weather) => {
                self.replicas[leader].network.becomes(weather);
                self.steady_network.becomes(weather);
            }
            Fault::LeaderKilled => self.replicas[leader].operator.signal("-KILL"),
            Fault::LeaderStopped => self.replicas[leader].operator.signal("-STOP"),
            Fault::ApiServerRestarted => {
                let _alone = SERVER.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                cluster_script("restart-api");
            }
        }
        leader
    }

    fn end_fault(&mut self, fault: Fault, leader: usize) {
        match fault {
            Fault::GitServerDown => self.git.start_again(),
            Fault::Network(_) => {
                self.replicas[leader].network.becomes(Weather::Fair);
                self.steady_network.becomes(Weather::Fair);
            }
            Fault::LeaderKilled => {
                let url = self.git.url("manifests/.git");
                // A process of a Git server that is down would not begin; this one is up.
                self.replicas[leader] = replica(self.world, &url);
            }
            Fault::LeaderStopped => self.replicas[leader].operator.signal("-CONT"),
            Fault::Nothing | Fault::ApiServerRestarted => {}
        }
    }

    fn acts(&mut self, most: usize) {
        for _ in 0..self.rng.usize(0..=most) {
            let act = self.rng.choice(ACTS).unwrap();
            self.count(&format!("{act:?}"));
            self.act(act);
            self.sleep(0.0, 0.5);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Drift => self.drift(1),
            Act::DriftOfMany => self.drift(20),
            Act::Delete => {
                let path = self.path_of_any();
                self.api.until_done("DELETE", &path, "");
            }
            Act::Commit => {
                for _ in 0..self.rng.usize(1..10) {
                    let name = self.any();
                    self.set(&name);
                }
                let name = format!("item-{}", self.next_object);
                self.next_object += 1;
                self.set(&name);
                let name = self.any();
                std::fs::remove_file(self.world.repository().join(format!("{name}.yml"))).unwrap();
                self.truth.remove(&name);
                self.world.commit("Change some");
            }
            Act::ForcedCommit => {
                self.world.commit("Say nothing");
                self.world.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
                let name = self.any();
                self.set(&name);
                self.world.commit("Say something else");
            }
            Act::BadCommit => {
                self.world.write("broken.yml", "a: [");
                self.world.commit("Break it");
                self.sleep(0.0, 3.0);
                std::fs::remove_file(self.world.repository().join("broken.yml")).unwrap();
                let name = self.any();
                self.set(&name);
                self.world.commit("Fix it");
            }
            Act::Calls => {
                let push = serde_json::json!({ "repository": { "clone_url": self.git.url("manifests") } });
                for (secret, status) in [("wrong", 401), ("a-secret", 202)] {
                    let headers = [("x-gitlab-token", secret)];
                    let answer =
                        self.steady.request("POST", "/webhook", &headers, push.to_string().as_bytes());
                    assert_eq!(answer.status, status);
                }
            }
        }
    }

    fn set(&mut self, name: &str) {
        let value = format!("{:x}", self.rng.u64(..));
        self.world.config_map(name, &value);
        self.truth.insert(name.to_owned(), value);
    }

    fn any(&mut self) -> String {
        let names: Vec<&String> = self.truth.keys().collect();
        self.rng.choice(names).unwrap().clone()
    }

    fn path_of_any(&mut self) -> String {
        let namespace =
            if self.rng.bool() { self.world.namespace.clone() } else { self.steady_namespace.clone() };
        format!("/api/v1/namespaces/{namespace}/configmaps/{}", self.any())
    }

    fn drift(&mut self, count: usize) {
        for _ in 0..count {
            let path = self.path_of_any();
            let theirs = format!(r#"{{"data": {{"value": "{:x}"}}}}"#, self.rng.u64(..));
            self.api.until_done("PATCH", &format!("{path}?fieldManager=somebody"), &theirs);
        }
    }

    fn sleep(&mut self, least: f64, most: f64) {
        std::thread::sleep(Duration::from_secs_f64(least + (most - least) * self.rng.f64()));
    }

    fn settle(&mut self, after: &str) {
        let begin = Instant::now();
        for namespace in [self.world.namespace.clone(), self.steady_namespace.clone()] {
            loop {
                let found = self.api.values(&namespace);
                if found.as_ref() == Some(&self.truth) {
                    break;
                }
                if begin.elapsed() > SETTLED {
                    let differing = differences(&self.truth, &found.unwrap_or_default());
                    self.give_up(&format!("{namespace} is not as Git says after {after}:\n{differing}"));
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.longest_settling = self.longest_settling.max(begin.elapsed());
    }

    /// Ends the test, with what the operators have said of late.
    fn give_up(&mut self, why: &str) -> ! {
        let operators =
            self.replicas.iter_mut().map(|replica| &mut replica.operator).chain([&mut self.steady]);
        let mut said = String::new();
        for operator in operators {
            let events = operator.heard_lately();
            let _ = writeln!(said, "process {}:", operator.pid());
            for event in events.iter().skip(events.len().saturating_sub(40)) {
                let _ = writeln!(said, "{event}");
            }
        }
        panic!("seed {}: {why}\n{said}", self.seed)
    }

    /// Takes in what the operators have said.
    fn hear(&mut self, undisturbed: bool) {
        let operators =
            self.replicas.iter_mut().map(|replica| &mut replica.operator).chain([&mut self.steady]);
        let events: Vec<Value> = operators.flat_map(Operator::heard_lately).collect();
        let healed = events.iter().filter(|event| event["kind"] == "healed");
        let times: Vec<u64> = healed.filter_map(|event| event["milliseconds"].as_u64()).collect();
        self.heals += times.len();
        if undisturbed {
            self.healed.extend(times);
        }
    }

    fn count(&mut self, what: &str) {
        *self.done.entry(what.to_owned()).or_default() += 1;
    }

    fn measure(&mut self, now: Duration) {
        self.memory.push((now, self.steady.memory()));
        let all = self.replicas.iter().map(|replica| replica.operator.memory());
        self.most_memory = all.chain([self.steady.memory()]).max().unwrap().max(self.most_memory);
    }

    fn say(&mut self, elapsed: Duration) {
        self.healed.sort_unstable();
        let at = |part: f64| {
            let last = self.healed.len().saturating_sub(1);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            self.healed.get((last as f64 * part) as usize).copied().unwrap_or_default()
        };
        let mut text = format!(
            "{:>5} s, seed {}: {} healed; undisturbed {} in {}/{}/{} ms (p50/p99/max); at most {:.1} s to settle; \
             {} kB now, {} kB at most;",
            elapsed.as_secs(),
            self.seed,
            self.heals,
            self.healed.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            self.longest_settling.as_secs_f64(),
            self.steady.memory(),
            self.most_memory
        );
        for (what, count) in &self.done {
            let _ = write!(text, " {what} {count}");
        }
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn judge(&self, long: bool) {
        assert!(self.most_memory < MOST_MEMORY, "{} kB", self.most_memory);
        assert!(self.heals > 0, "nothing was healed");
        if !long {
            return;
        }
        let end = self.memory.last().unwrap().0;
        let most = |from: Duration, to: Duration| {
            self.memory.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, kb)| *kb).max().unwrap()
        };
        // What the first minutes fill is not growth.
        let (first, last) = (most(end / 10, end / 3), most(end * 2 / 3, end));
        assert!(last <= first + GROWTH, "{first} kB in the first third, {last} kB in the last");
    }
}

fn follow(world: &World, words: &[&str], network: &Network) -> Operator {
    let own = ["--sync-policy", "automated", "--auto-prune", "--self-heal", "--max-prune", "100"];
    let kubeconfig = network.kubeconfig.to_str().unwrap();
    let variables = [("KUBECONFIG", kubeconfig), ("K8S_SYNC_WEBHOOK_SECRET", "a-secret")];
    let name = words[0];
    let cache = world.home.path().join(format!("cache-{name}-{}", fastrand::u32(..)));
    let cache = ["--cache", cache.to_str().unwrap()];
    world.watch(&[words, &own[..], &cache[..]].concat(), &variables)
}

fn replica(world: &World, url: &str) -> Replica {
    let network = Network::start(&cluster()["KUBECONFIG"], world.home.path());
    let lease = format!("{}/k8s-sync", world.namespace);
    let operator = follow(world, &["app", "--repo", url, "--lease", &lease], &network);
    Replica { operator, network }
}

fn differences(truth: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> String {
    let names = truth.keys().chain(found.keys().filter(|name| !truth.contains_key(*name)));
    let lines = names
        .filter(|name| truth.get(*name) != found.get(*name))
        .map(|name| format!("{name}: {:?} in Git, {:?} in the cluster", truth.get(name), found.get(name)));
    lines.take(20).collect::<Vec<_>>().join("\n")
}

impl Drop for Soak<'_> {
    fn drop(&mut self) {
        // The namespace goes in the background, as the world's own does.
        let words = ["delete", "namespace", &self.steady_namespace, "--wait=false"];
        let _ = self.world.try_kubectl(&words);
    }
}
