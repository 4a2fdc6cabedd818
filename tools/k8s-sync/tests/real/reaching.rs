//! How clusters are reached, and what is told of objects that are not well.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use hermetic::Home;
use serde_json::{Value, json};

use crate::{Application, cluster};

/// The administrator's kubeconfig, with other contexts and users.
fn kubeconfig(home: &Home, change: impl Fn(&mut Value)) -> PathBuf {
    let words = ["--kubeconfig", &cluster()["KUBECONFIG"], "config", "view", "--raw", "-o", "json"];
    let output = home.program(&cluster()["KUBECTL"]).args(words).output().unwrap();
    let mut config: Value = serde_json::from_slice(&output.stdout).unwrap();
    change(&mut config);
    let path = home.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

fn apply(app: &Application, config: &Path, words: &[&str]) -> Output {
    let mut command = app.home.tool("k8s-sync");
    command.env("KUBECONFIG", config).args(["apply", "app", "--dest-namespace", &app.namespace, "-f"]);
    command.arg(app.folder()).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn several_clusters_are_synced_by_one_call() {
    let app = Application::new();
    app.config_map("a", "1");
    let config = kubeconfig(&app.home, |config| {
        let first = config["contexts"][0].clone();
        for name in ["blue", "green"] {
            let mut context = first.clone();
            context["name"] = name.into();
            config["contexts"].as_array_mut().unwrap().push(context);
        }
    });
    let output = apply(&app, &config, &["--dest-name", "blue", "--dest-name", "green"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("blue:") && said(&output).contains("green:"), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    let output = apply(&app, &config, &["--dest-name", "blue", "--dest-name", "red"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_plugin_gives_the_credentials() {
    let app = Application::new();
    app.config_map("a", "1");
    let plugin = app.home.path().join("plugin");
    let config = kubeconfig(&app.home, |config| {
        let user = config["users"][0]["user"].clone();
        let pem = |field: &str| {
            let file = app.home.path().join(field);
            std::fs::write(&file, user[field].as_str().unwrap()).unwrap();
            let output = app.home.program("base64").arg("-d").arg(file).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"clientCertificateData": pem("client-certificate-data"), "clientKeyData": pem("client-key-data")},
        });
        std::fs::write(&plugin, format!("#!/bin/sh\ncat <<'END'\n{credential}\nEND\n")).unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
        let version = "client.authentication.k8s.io/v1";
        config["users"][0]["user"] =
            json!({"exec": {"apiVersion": version, "command": plugin, "interactiveMode": "Never"}});
    });
    let output = apply(&app, &config, &[]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_plugin_that_gives_none_is_explained_without_its_secrets() {
    let app = Application::new();
    app.config_map("a", "1");
    for (script, problem) in [
        (
            "echo who are you >&2; echo secret-token; exit 3",
            "plugin sh ended with exit status: 3: who are you",
        ),
        ("echo secret-token", "plugin sh printed no credentials"),
    ] {
        let config = kubeconfig(&app.home, |config| {
            let exec = json!({
                "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
                "env": [{"name": "PASSWORD", "value": "secret-password"}], "interactiveMode": "Never",
            });
            config["users"][0]["user"] = json!({ "exec": exec });
        });
        let output = apply(&app, &config, &[]);
        assert_eq!(output.status.code(), Some(77), "{}", said(&output));
        assert!(said(&output).contains(problem) && !said(&output).contains("secret"), "{}", said(&output));
    }
    let config = kubeconfig(&app.home, |config| {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "interactiveMode": "Never"});
        config["users"][0]["user"] = json!({ "exec": exec });
    });
    let output = apply(&app, &config, &[]);
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    assert!(said(&output).contains("plugin no-such-plugin can't be run: No such file"), "{}", said(&output));
}

#[test]
fn a_server_has_its_own_credentials() {
    let app = Application::new();
    app.config_map("a", "1");
    let server = std::cell::RefCell::new(String::new());
    let config = kubeconfig(&app.home, |config| {
        *server.borrow_mut() = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        let (mut cluster, mut user) = (config["clusters"][0].clone(), config["users"][0].clone());
        cluster["name"] = "elsewhere".into();
        cluster["cluster"]["server"] = "https://elsewhere.invalid".into();
        (user["name"], user["user"]) = ("stranger".into(), json!({"token": "wrong"}));
        config["clusters"].as_array_mut().unwrap().push(cluster);
        config["users"].as_array_mut().unwrap().push(user);
        let context = json!({"name": "elsewhere", "context": {"cluster": "elsewhere", "user": "stranger"}});
        config["contexts"].as_array_mut().unwrap().push(context);
        config["current-context"] = "elsewhere".into();
    });
    let server = format!("{}/", server.borrow());
    let output = apply(&app, &config, &["--dest-server", &server]);
    assert!(output.status.success(), "{}", said(&output));
    let output = apply(&app, &config, &["--dest-name", "nowhere"]);
    assert!(said(&output).contains("no context nowhere; it has"), "{}", said(&output));
}

#[test]
fn a_certificate_of_the_first_version_is_explained() {
    let app = Application::new();
    app.config_map("a", "1");
    let openssl = |words: &str| {
        let mut command = app.home.program("openssl");
        let output = command.args(words.split(' ')).current_dir(app.home.path()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    openssl("req -newkey rsa:2048 -nodes -subj /CN=old -keyout key.pem -out csr.pem");
    openssl("x509 -req -in csr.pem -signkey key.pem -out old.pem");
    let config = kubeconfig(&app.home, |config| {
        let file = |name: &str| app.home.path().join(name);
        config["users"][0]["user"] =
            json!({"client-certificate": file("old.pem"), "client-key": file("key.pem")});
    });
    let output = apply(&app, &config, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("X.509 version 1"), "{}", said(&output));
    assert!(said(&output).contains("hint: have it made again"), "{}", said(&output));
}

#[test]
fn a_degraded_object_ends_the_wait_and_is_shown() {
    let app = Application::new();
    let text = "apps/v1\nkind: Deployment\nspec:\n  progressDeadlineSeconds: 3\n  selector: {matchLabels: {a: b}}\n  template:\n    \
        metadata: {labels: {a: b}}\n    spec: {containers: [{name: c, image: none.invalid/none}]}";
    app.manifest("web", text);
    let begin = std::time::Instant::now();
    let said = app.refused(2, "apply", &["--timeout", "120"]);
    assert!(begin.elapsed().as_secs() < 60, "it waited");
    assert!(said.contains("Deployment.apps") && said.contains("web is degraded"), "{said}");
    assert!(said.contains("condition Progressing=False") && said.contains("event Failed: "), "{said}");
    assert!(said.lines().count() <= 24, "more than a screen: {said}");
}

/// Holds an event against the schema.
fn conforms(event: &Value) {
    hermetic::schema::check(include_str!("../../schema/k8s-sync.v1.json"), event);
}

#[test]
fn events_are_objects_of_json() {
    let app = Application::new();
    app.config_map("a", "1");
    let events = |verb: &str| -> Vec<Value> {
        let output = app.run(verb, &["-o", "json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.iter().for_each(conforms);
        events
    };
    let diff = events("diff");
    assert_eq!((&diff[0]["kind"], &diff[0]["change"]), (&json!("difference"), &json!("created")));
    assert!(diff[0]["diff"].as_str().unwrap().contains("+  value: '1'"), "{}", diff[0]);
    assert_eq!((&diff[1]["kind"], &diff[1]["synced"]), (&json!("summary"), &json!(false)));
    assert_eq!(events("apply")[1]["created"], 1);
    let same = events("diff");
    assert_eq!((&same[0]["synced"], &same[0]["unchanged"]), (&json!(true), &json!(1)));
    // A run that fails is summed up, too.
    app.manifest("b", "v1\nkind: ConfigMap\ndata: {value: [wrong]}");
    let failed = events("apply");
    let last = failed.last().unwrap();
    assert_eq!((&last["kind"], &last["synced"]), (&json!("summary"), &json!(false)));
    assert_eq!(last["error"]["kind"], "refused");
}

#[test]
fn the_servers_warnings_are_told() {
    let app = Application::new();
    app.manifest("a", "v1\nkind: Endpoints");
    for verb in ["diff", "apply"] {
        let said = String::from_utf8(app.run(verb, &[]).stderr).unwrap();
        assert_eq!(
            said.matches("warning: the API server says: v1 Endpoints is deprecated").count(),
            1,
            "{said}"
        );
    }
}

#[test]
fn what_is_no_server_and_who_is_not_vouched_for_is_told() {
    let app = Application::new();
    app.config_map("a", "1");
    let said = app.refused(2, "diff", &["--dest-server", "localhost:6443"]);
    assert!(said.contains("`localhost:6443` is not the URL of an API server"), "{said}");
    let path = app.home.path().join("kubeconfig");
    let text = std::fs::read_to_string(&cluster()["KUBECONFIG"]).unwrap();
    let other = app.home.path().join("other.crt");
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=other",
    ];
    let mut openssl = app.home.program("openssl");
    openssl.args(make).arg("-keyout").arg(app.home.path().join("key")).arg("-out").arg(&other);
    assert!(openssl.output().unwrap().status.success());
    let authority = |line: &str| {
        let start = line.find("certificate-authority")?;
        Some(format!("{}certificate-authority: {}", &line[..start], other.display()))
    };
    let lines: Vec<String> =
        text.lines().map(|line| authority(line).unwrap_or_else(|| line.to_owned())).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let output = app.command("diff", &[]).env("KUBECONFIG", &path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the API server is not trusted") && said.contains("certificate-authority"),
        "{said}"
    );
}
