//! Manifests that the real sops encrypted: what it decrypts is what is applied, and nobody else gets to see it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use fastrand::Rng;
use hermetic::{Variables, service, variables};
use k8s_sync::decryption::{self, keys::Keys};
use k8s_sync::error::SyncError;
use k8s_sync::manifest;
use serde_json::{Map, Value, json};

use crate::world::{World, cluster, until};

/// The programs' variables; they are installed at the first use.
fn programs() -> &'static Variables {
    static PROGRAMS: OnceLock<Variables> = OnceLock::new();
    PROGRAMS.get_or_init(|| variables(service("sops").arg("up")))
}

/// A key of a test's own, as age-keygen writes it.
struct Key {
    file: PathBuf,
    public: String,
}

impl Key {
    fn new(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        programs();
        let made = Command::new("age-keygen").arg("-o").arg(&file).output().unwrap();
        let said = String::from_utf8(made.stderr).unwrap();
        let public = said.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(public.starts_with("age1"), "{said}");
        Self { file, public }
    }

    /// The keys as k8s-sync reads them.
    fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        keys.add(&std::fs::read_to_string(&self.file).unwrap(), "keys").unwrap();
        keys
    }

    fn sops(&self, words: &[&str], file: &Path) -> String {
        let mut command = Command::new(&programs()["SOPS"]);
        command.env("SOPS_AGE_KEY_FILE", &self.file).args(words).arg(file);
        let done = command.output().unwrap();
        assert!(done.status.success(), "sops {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn encrypt(&self, options: &[&str], file: &Path) {
        self.sops(&[&["encrypt", "--in-place", "--age", &self.public], options].concat(), file);
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// What k8s-sync makes of an encrypted file.
fn decrypted(file: &Path, keys: &Keys) -> Result<Vec<Value>, SyncError> {
    let place = file.file_name().unwrap().to_str().unwrap();
    let mut documents = manifest::read(&std::fs::read_to_string(file).unwrap(), place)?;
    decryption::file(&mut documents, place, Some(keys))?;
    Ok(documents.into_iter().map(|(_, document)| document).collect())
}

/// A value of any shape that a manifest may have.
fn any(rng: &mut Rng, depth: usize) -> Value {
    const TEXTS: [&str; 14] = [
        "",
        "plain",
        "with: colon",
        "yes",
        "1",
        "1.5",
        "null",
        "~",
        "two\nlines\n",
        " spaces ",
        "ünïcödé ☃",
        "# no comment",
        "ENC[",
        "'quoted' \"twice\"",
    ];
    match rng.usize(..if depth == 0 { 5 } else { 8 }) {
        0 => Value::from(rng.i64(..)),
        1 => Value::from(f64::from(rng.i32(..)) / f64::from(1 << rng.u32(..8))),
        2 => Value::Bool(rng.bool()),
        3 if rng.u8(..8) == 0 => Value::Null,
        3 | 4 => Value::from(TEXTS[rng.usize(..TEXTS.len())]),
        5 => (0..rng.usize(..4)).map(|_| any(rng, depth - 1)).collect(),
        _ => Value::Object(object(rng, depth - 1)),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Map<String, Value> {
    const KEYS: [&str; 7] = ["data", "secret_unencrypted", "a.b/c", "Ä", "items", "x", "0"];
    let mut keys = KEYS.to_vec();
    rng.shuffle(&mut keys);
    keys.truncate(rng.usize(1..4));
    keys.into_iter().map(|key| (key.to_owned(), any(rng, depth))).collect()
}

#[test]
fn whatever_sops_encrypts_is_read_as_sops_reads_it() {
    let folder = folder();
    let key = Key::new(folder.path(), "keys.txt");
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let ways: [&[&str]; 6] = [
        &[],
        &["--encrypted-regex", "^(data|stringData)$"],
        &["--unencrypted-regex", "^x$"],
        &["--encrypted-suffix", "data"],
        // There is no option for this, only a rule of its configuration.
        &["encrypted_regex: ^(data|items)$"],
        &["unencrypted_suffix: _unencrypted"],
    ];
    for (number, way) in ways.iter().cycle().take(24).enumerate() {
        let documents: Vec<Value> =
            (0..rng.usize(1..4)).map(|_| Value::Object(object(&mut rng, 4))).collect();
        let is_json = number % 4 == 3;
        let file = folder.path().join(if is_json { "m.json" } else { "m.yaml" });
        let text = if is_json {
            documents[0].to_string()
        } else {
            let texts = documents
                .iter()
                .map(|document| format!("# A comment.\n{}", serde_yaml::to_string(document).unwrap()));
            texts.collect::<Vec<_>>().join("---\n")
        };
        std::fs::write(&file, &text).unwrap();
        match way {
            [rule] => {
                let rules = folder.path().join("sops.yaml");
                let text =
                    format!("creation_rules: [{{age: {}, mac_only_encrypted: true, {rule}}}]", key.public);
                std::fs::write(&rules, text).unwrap();
                key.sops(&["--config", rules.to_str().unwrap(), "encrypt", "--in-place"], &file);
            }
            options => key.encrypt(options, &file),
        }
        let context =
            || format!("seed {seed}, {way:?}:\n{text}\n{}", std::fs::read_to_string(&file).unwrap());
        let ours = decrypted(&file, &key.keys()).unwrap_or_else(|error| panic!("{error}\n{}", context()));
        let theirs = manifest::read(&key.sops(&["decrypt"], &file), "theirs").unwrap();
        let theirs: Vec<Value> = theirs.into_iter().map(|(_, document)| document).collect();
        assert_eq!(strip_marks(ours), theirs, "{}", context());
    }
}

/// Without the mark that k8s-sync puts on what was encrypted.
fn strip_marks(mut documents: Vec<Value>) -> Vec<Value> {
    for document in &mut documents {
        let metadata = document["metadata"].as_object_mut();
        if metadata.is_some_and(|metadata| metadata.len() == 1) {
            document.as_object_mut().unwrap().shift_remove("metadata");
        }
        if document["metadata"].is_null() {
            document.as_object_mut().unwrap().shift_remove("metadata");
        }
    }
    documents
}

#[test]
fn what_was_touched_is_refused() {
    let folder = folder();
    let key = Key::new(folder.path(), "keys.txt");
    let file = folder.path().join("secret.yml");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  labels: {tier: front}\nstringData:\n  \
        first: one-password\n  second: other-password\n";
    std::fs::write(&file, secret).unwrap();
    key.encrypt(&["--encrypted-regex", "^stringData$"], &file);
    let text = std::fs::read_to_string(&file).unwrap();
    let said = |text: &str, keys: &Keys| {
        std::fs::write(&file, text).unwrap();
        decrypted(&file, keys).map(drop).unwrap_err().to_string()
    };
    assert_eq!(decrypted(&file, &key.keys()).unwrap()[0]["stringData"]["first"], "one-password");
    // What is not encrypted is part of the MAC.
    assert!(said(&text.replace("front", "back"), &key.keys()).contains("its MAC is that of other values"));
    // A value of another place.
    let line = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    let value = |name: &str| line(name).split_once(": ").unwrap().1;
    let swapped = text.replace(value("first"), value("second"));
    assert!(said(&swapped, &key.keys()).contains("stringData:first was changed or moved"));
    let gone = text.replace(&format!("{}\n", line("second")), "");
    assert!(said(&gone, &key.keys()).contains("MAC"));
    let other = Key::new(folder.path(), "other.txt");
    let error = said(&text, &other.keys());
    assert!(error.contains("none of the keys") && error.contains(&key.public), "{error}");
}

/// A run of k8s-sync in a world.
fn run(world: &World, verb: &str, words: &[&str], key: Option<&Key>) -> Output {
    let mut command = world.home.tool("k8s-sync");
    command.env("KUBECONFIG", &cluster()["KUBECONFIG"]).args([
        verb,
        "app",
        "--dest-namespace",
        &world.namespace,
    ]);
    if let Some(key) = key {
        command.env("SOPS_AGE_KEY_FILE", &key.file).arg("--decrypt");
    }
    command.arg("-f").arg(world.repository()).args(words).output().unwrap()
}

const PASSWORDS: [&str; 3] = ["first-password", "other-password", "hidden-setting"];

/// A Secret and a ConfigMap that sops encrypted.
fn encrypted_manifests(world: &World, key: &Key) {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: first-password\n";
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  value: hidden-setting\n";
    for (name, text) in [("s.yml", secret), ("a.yml", settings)] {
        world.write(name, text);
        key.encrypt(&["--encrypted-regex", "^(data|stringData)$"], &world.repository().join(name));
    }
}

fn shows_nothing(text: &str) {
    use base64::Engine as _;
    for password in PASSWORDS {
        let encoded = base64::engine::general_purpose::STANDARD.encode(password);
        assert!(!text.contains(password) && !text.contains(&encoded), "{text}");
    }
}

#[test]
fn each_verb_decrypts_and_shows_nothing() {
    let world = World::new();
    let key = Key::new(world.home.path(), "keys.txt");
    encrypted_manifests(&world, &key);
    let refused = run(&world, "apply", &[], None);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("--decrypt"), "{refused:?}");
    let other = Key::new(world.home.path(), "other.txt");
    assert_eq!(run(&world, "apply", &[], Some(&other)).status.code(), Some(77));
    let password =
        || world.kubectl(&["-n", &world.namespace, "get", "secret", "s", "-o", "jsonpath={.data.password}"]);
    for verb in ["diff", "apply", "diff", "wait"] {
        let output = run(&world, verb, &[], Some(&key));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        shows_nothing(&said);
        let expected = i32::from(verb == "diff" && said.contains("+++"));
        assert_eq!(output.status.code(), Some(expected), "{verb}: {said}");
    }
    assert_eq!((password().as_str(), world.value("a").as_str()), ("Zmlyc3QtcGFzc3dvcmQ=", "hidden-setting"));
    world.drift("a", "theirs");
    let differs = run(&world, "diff", &["--force-conflicts"], Some(&key));
    let said = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert!(differs.status.code() == Some(1) && said.contains("*** (after)"), "{differs:?}");
    shows_nothing(&said);
}

#[test]
fn what_a_server_quotes_of_a_decrypted_value_is_not_told() {
    let world = World::new();
    let key = Key::new(world.home.path(), "keys.txt");
    let job = "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: c\nspec:\n  schedule: hidden-setting\n  jobTemplate:\n    \
        spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers: [{name: c, image: none.invalid/none}]\n";
    world.write("c.yml", job);
    key.encrypt(&["--encrypted-regex", "^schedule$"], &world.repository().join("c.yml"));
    let refused = run(&world, "apply", &[], Some(&key));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && said.contains("spec.schedule: Invalid value: …"),
        "{refused:?}"
    );
    shows_nothing(&said);
    world.commit("Begin");
    let (url, file) = (world.url(), key.file.to_str().unwrap());
    let words = ["app", "--sync-policy", "automated", "--repo", &url, "--decrypt", "--age-key-file", file];
    let mut operator = world.watch(&words, &[]);
    let failure = operator.hear_kind("failure").to_string();
    let page = operator.get("/applications/app").body;
    let events = ["-n", &world.namespace, "get", "events", "-o", "yaml"];
    until("an event", || world.kubectl(&events).contains("spec.schedule"));
    for text in [failure, page, world.kubectl(&events)] {
        assert!(text.contains("spec.schedule"), "{text}");
        shows_nothing(&text);
    }
}

#[test]
fn an_operator_decrypts_with_keys_of_a_secret() {
    let world = World::new();
    let key = Key::new(world.home.path(), "keys.txt");
    encrypted_manifests(&world, &key);
    world.commit("Begin");
    let from_file = format!("--from-file=team.agekey={}", key.file.display());
    world.kubectl(&["-n", &world.namespace, "create", "secret", "generic", "keys", &from_file]);
    let (url, keys) = (world.url(), format!("{}/keys", world.namespace));
    let own = ["app", "--sync-policy", "automated", "--force-conflicts", "--repo", &url];
    let words = [&own[..], &["--decrypt", "--age-key-secret", &keys]].concat();
    let mut operator = world.watch(&words, &[]);
    operator.until_synced();
    assert_eq!(world.value("a"), "hidden-setting");
    world.drift("a", "theirs");
    operator.hear_kind("drift");
    let page = operator.get("/applications/app").body;
    assert!(page.contains("*** (after)"), "{page}");
    shows_nothing(&page);
    // Another key, told to the Secret, is used without a restart.
    let other = Key::new(world.home.path(), "other.txt");
    world.write(
        "s.yml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: other-password\n",
    );
    other.encrypt(&["--encrypted-regex", "^stringData$"], &world.repository().join("s.yml"));
    world.commit("Use another key");
    let failure = operator.hear_kind("failure");
    assert!(failure["message"].as_str().unwrap().contains("none of the keys"), "{failure}");
    let text = std::fs::read_to_string(&other.file).unwrap();
    let patch = json!({ "stringData": { "new.agekey": text } }).to_string();
    world.kubectl(&["-n", &world.namespace, "patch", "secret", "keys", "--type=merge", "-p", &patch]);
    operator.until_synced();
    let password =
        world.kubectl(&["-n", &world.namespace, "get", "secret", "s", "-o", "jsonpath={.data.password}"]);
    assert_eq!(password, "b3RoZXItcGFzc3dvcmQ=");
    let events = world.kubectl(&["-n", &world.namespace, "get", "events", "-o", "yaml"]);
    shows_nothing(&events);
}

/// The example's two environments, rendered by kustomize, each with a Secret that was encrypted for it.
#[test]
fn two_environments_of_one_repository() {
    let world = World::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hello-python-environments");
    let copied =
        Command::new("cp").arg("-r").arg(example.join(".")).arg(world.repository()).status().unwrap();
    assert!(copied.success());
    let mut applications = Vec::new();
    for name in ["staging", "production"] {
        let folder = world.repository().join(name);
        let own = format!("{}-{name}", world.namespace);
        // Namespaces of this test's own.
        for file in ["namespace.yml", "kustomization.yml"] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            std::fs::write(folder.join(file), text.replace(&format!("hello-{name}"), &own)).unwrap();
        }
        let key = Key::new(world.home.path(), &format!("{name}.agekey"));
        let secret = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: hello-python\nstringData:\n  TOKEN: of-{name}\n"
        );
        std::fs::write(folder.join("secret.yml"), secret).unwrap();
        key.encrypt(&["--encrypted-regex", "^(data|stringData)$"], &folder.join("secret.yml"));
        let file = folder.join("kustomization.yml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("resources:\n", "resources:\n  - secret.yml\n")).unwrap();
        applications.push(json!({
            "name": name, "repo": world.url(), "path": name, "destNamespace": own,
            "decrypt": true, "ageKeyFile": key.file,
        }));
    }
    world.commit("Two environments");
    let file = world.home.path().join("applications.yml");
    std::fs::write(&file, json!({ "applications": applications }).to_string()).unwrap();
    let words = ["-f", file.to_str().unwrap(), "--sync-policy", "automated", "--auto-prune", "--self-heal"];
    let path = world.path_with_kubectl();
    let mut operator = world.watch(&words, &[("PATH", &path)]);
    operator.until_synced();
    operator.until_synced();
    for (name, greeting, replicas, token) in [
        ("staging", "Hello from staging", "1", "b2Ytc3RhZ2luZw=="),
        ("production", "Good day", "3", "b2YtcHJvZHVjdGlvbg=="),
    ] {
        let own = format!("{}-{name}", world.namespace);
        let get = |what: &str, path: &str| {
            world.kubectl(&["-n", &own, "get", what, "-o", &format!("jsonpath={path}")])
        };
        assert_eq!(get("deployment/hello-python", "{.spec.replicas}"), replicas);
        assert_eq!(get("secret/hello-python", "{.data.TOKEN}"), token);
        let config = get(
            "deployment/hello-python",
            "{.spec.template.spec.containers[0].envFrom[0].configMapRef.name}",
        );
        assert_eq!(get(&format!("configmap/{config}"), "{.data.GREETING}"), greeting);
    }
    // What kustomize made of a file that was touched is refused: the file is looked for by its MAC.
    let touched = world.repository().join("staging/secret.yml");
    let text = std::fs::read_to_string(&touched).unwrap();
    std::fs::write(&touched, text.replace("kind: Secret", "immutable: true\nkind: Secret")).unwrap();
    world.commit("Touch what is encrypted");
    operator.hear("the MAC", |event| {
        event["kind"] == "failure" && event["message"].as_str().unwrap().contains("MAC")
    });
    for name in ["staging", "production"] {
        world.kubectl(&["delete", "namespace", &format!("{}-{name}", world.namespace), "--wait=false"]);
    }
    until("it is on the page", || operator.get("/").body.contains("MAC"));
}
