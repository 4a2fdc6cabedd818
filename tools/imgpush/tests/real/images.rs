//! What is pushed, and what becomes of it.

use std::path::Path;

use hermetic::{Home, Variables};

use crate::desk::{Desk, FROM_STORAGE, told};
use crate::services::{
    Proxy, cold_engine, crane, current_engine, current_registry, engine, host, plain_registry, registry,
};

#[test]
fn every_way_gives_an_image_that_docker_runs_and_skopeo_and_crane_know() {
    every_way(&Desk::new(), registry());
}

#[test]
fn every_way_works_with_an_engine_and_a_registry_of_today() {
    every_way(&Desk::at(current_engine()), current_registry());
}

fn every_way(desk: &Desk, registry: &Variables) {
    let reference = |way: &str| format!("{}/{}/{way}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference("daemon"));
    desk.log_in(registry);
    let id = desk.docker(&["image", "inspect", "-f", "{{.Id}}", &reference("daemon")]);
    desk.docker(&["save", "-o", desk.path("a.tar").to_str().unwrap(), &reference("daemon")]);
    let archive = format!("docker-archive:{}", desk.path("a.tar").display());
    let mut direct = None;
    let ways = ["daemon", "direct", "export", "auto", "archive"];
    for way in ways {
        let reference = reference(way);
        if way != "archive" {
            desk.docker(&["tag", &id, &reference]);
        }
        let digest = match way {
            "archive" => desk.pushed(registry, &["--from", &archive, &reference]),
            "export" => desk.pushed_from_export(registry, &reference),
            _ => desk.pushed(registry, &["--engine", way, &reference]),
        };
        assert_eq!(desk.digest(registry, &reference), digest);
        desk.is_valid(registry, &reference);
        if ["direct", "export", "archive"].contains(&way) {
            assert_eq!(direct.get_or_insert(digest.clone()), &digest, "{way}");
        }
    }
    for way in ways {
        desk.docker(&["image", "rm", "-f", &id]);
        desk.docker(&["pull", "-q", &reference(way)]);
        assert_eq!(desk.docker(&["image", "inspect", "-f", "{{.Id}}", &reference(way)]), id);
        // Debian's runc is too old for an engine of today; what it pushed runs elsewhere.
        let runner = Desk { home: Home::new(), engine: engine(), name: desk.name.clone() };
        runner.log_in(registry);
        runner.docker(&["pull", "-q", &reference(way)]);
        assert_eq!(runner.docker(&["run", "--rm", "--network", "none", &reference(way)]), desk.name);
    }
    if !std::ptr::eq(desk.engine, engine()) {
        let references: Vec<String> = ways.map(reference).into();
        let words = ["image", "rm", "-f"].into_iter().chain(references.iter().map(String::as_str));
        Desk::new().docker(&words.collect::<Vec<_>>());
    }
    // What docker pulled goes back unchanged, and what skopeo makes of it keeps its digest.
    assert_eq!(Some(desk.pushed(registry, &[&reference("archive")])), direct);
    desk.shell("skopeo copy -q docker-archive:a.tar oci-archive:oci.tar && skopeo copy -q oci-archive:oci.tar oci:layout", &[]);
    let stated = desk.shell("skopeo inspect --format '{{.Digest}}' oci:layout", &[]);
    let layout = format!("oci:{}", desk.path("layout").display());
    let archive = format!("oci-archive:{}", desk.path("oci.tar").display());
    for (name, from) in [("layout", &layout), ("oci-archive", &archive)] {
        assert_eq!(desk.pushed(registry, &["--from", from, &reference(name)]), stated);
        assert_eq!(desk.digest(registry, &reference(name)), stated);
    }
    desk.docker(&["image", "rm", "-f", &id]);
}

#[test]
fn what_a_classic_engine_keeps_of_a_layer_is_put_together_again_as_it_was() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let reference = |way: &str| format!("{}/{}/{way}:v1", registry["REGISTRY"], desk.name);
    // All that a layer may have: names of any bytes and length, links, holes, modes, and what hides what is below.
    let script = "mkdir -p context/tree/bin context/tree/dir && cd context/tree
        long=$(printf 'long%.0s' $(seq 40)); echo long >\"dir/$long\"; echo one >\"$(printf 'caf\\351')\"
        echo umlaut >'dir/ä \"b\\c'; : >empty; truncate -s 3M holes; echo end >>holes
        ln dir/ä* hard; ln -s /etc/passwd away; chmod 4755 empty; mkfifo pipe
        cp \"$(command -v busybox)\" bin/busybox; tar -cf ../tree.tar .";
    desk.shell(script, &[]);
    let dockerfile = "FROM scratch\nADD tree.tar /\nRUN [\"/bin/busybox\", \"rm\", \"-r\", \"/dir\", \"/hard\"]\n\
        RUN [\"/bin/busybox\", \"mknod\", \"/null\", \"c\", \"1\", \"3\"]\nADD tree.tar /\n";
    desk.build_from(dockerfile, &reference("storage"));
    desk.docker(&["tag", &reference("storage"), &reference("export")]);
    let words = ["-v", "--engine", "direct", &reference("storage")];
    let (digest, said) = told(desk.imgpush(registry, &words));
    assert!(said.contains(FROM_STORAGE) && !said.contains("taking the engine's export"), "{said}");
    desk.is_valid(registry, &reference("storage"));
    assert_eq!(desk.pushed_from_export(registry, &reference("export")), digest);
    desk.docker(&["image", "rm", "-f", &reference("storage"), &reference("export")]);
}

#[test]
fn a_cold_engine_sends_what_is_new_and_an_unchanged_image_is_one_request() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = format!("{}/{}:v1", proxy.host, desk.name);
    desk.build(&reference);
    let digest = desk.pushed(registry, &[&reference]);
    let (warm, cold) = (host(desk.engine), &cold_engine()["DOCKER_HOST"]);
    let script = "\"$DOCKER\" -H \"$WARM\" save \"$IMAGE\" | \"$DOCKER\" -H \"$COLD\" load";
    desk.shell(
        script,
        &[("WARM", warm), ("COLD", cold), ("IMAGE", &reference), ("DOCKER", &desk.engine["DOCKER"])],
    );
    proxy.fails("[]");
    let mut command = desk.imgpush(registry, &[&reference]);
    let output = command.env("DOCKER_HOST", cold).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{reference}@{digest}\n"));
    assert_eq!(proxy.requests(), 1);
    // What it builds upon that costs what is new, though it does not know what the registry has.
    let (cold, next) = (Desk::at(cold_engine()), reference.replace(":v1", ":v2"));
    cold.build_from(&format!("FROM {reference}\nADD name /more\n"), &next);
    let output = cold.imgpush(registry, &["--engine", "direct", "-o", "json", &next]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["images"][0]["bytesSent"].as_u64().unwrap() < 10_000, "{told}");
    cold.is_valid(registry, &next);
    desk.docker(&["image", "rm", "-f", &reference]);
}

#[test]
fn containerd_runs_what_was_pushed_directly() {
    let (desk, registry) = (Desk::new(), plain_registry());
    let reference = format!("{}/{}:v1", registry["REGISTRY"], desk.name);
    desk.build(&reference);
    desk.pushed(registry, &["--engine", "direct", &reference]);
    // The engine's own containerd, or the machine's; images of different clients are kept apart there.
    let own =
        host(desk.engine).replace("unix://", "").replace("docker.sock", "exec/containerd/containerd.sock");
    let socket = if Path::new(&own).exists() { own } else { "/run/containerd/containerd.sock".to_owned() };
    let run = "ctr() { command ctr -a \"$SOCKET\" -n imgpush \"$@\"; }
        ctr images pull --plain-http --snapshotter native \"$IMAGE\" >&2
        ctr images check | grep -F \"$IMAGE\"
        ctr run --rm --snapshotter native --cgroup \"/imgpush-$NAME\" \"$IMAGE\" \"$NAME\" || failed=1
        ctr images rm --sync \"$IMAGE\" >&2
        [ -z \"${failed:-}\" ]";
    let said = desk.shell(run, &[("SOCKET", &socket), ("IMAGE", &reference), ("NAME", &desk.name)]);
    assert!(said.contains(" complete ") && said.lines().any(|line| line == desk.name), "{said}");
    desk.docker(&["image", "rm", "-f", &reference]);
}

#[test]
fn an_image_without_layers_and_one_with_the_same_layer_twice_go_every_way() {
    let registry = plain_registry();
    for (desk, is_classic) in [(Desk::new(), true), (Desk::at(current_engine()), false)] {
        let reference = |way: &str| format!("{}/{}/{way}:v1", registry["REGISTRY"], desk.name);
        for (name, dockerfile, layers) in [
            ("none", "FROM scratch\nLABEL kind=empty\n", 0),
            ("twice", "FROM scratch\nADD name /x\nADD data /x\nADD name /x\n", 3),
        ] {
            let [first, second] = ["daemon", "direct"].map(|way| reference(&format!("{name}-{way}")));
            desk.build_from(dockerfile, &first);
            desk.docker(&["tag", &first, &second]);
            desk.pushed(registry, &["--engine", "daemon", &first]);
            desk.pushed(registry, &["--engine", "direct", &second]);
            let manifest = |reference: &str| -> serde_json::Value {
                let mut command = desk.home.program(crane());
                command.args(["manifest", reference]);
                serde_json::from_str(&desk.succeeded(command)).unwrap()
            };
            let (daemon, direct) = (manifest(&first), manifest(&second));
            assert_eq!(daemon["config"]["digest"], direct["config"]["digest"], "{name}");
            assert_eq!(direct["layers"].as_array().map_or(0, Vec::len), layers, "{name}");
            let again = desk.imgpush(registry, &[&second, "-o", "json"]).output().unwrap();
            let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
            assert_eq!(again["images"][0]["changed"], false, "{name}");
            assert!(is_classic || daemon == direct, "{name}");
            if layers > 0 {
                desk.is_valid(registry, &second);
            }
            desk.docker(&["image", "rm", "-f", &first, &second]);
        }
    }
}

#[test]
fn what_the_containerd_store_keeps_uncompressed_is_compressed_once_and_then_known() {
    let (classic, desk, registry) = (Desk::new(), Desk::at(current_engine()), plain_registry());
    let proxy = Proxy::before(&format!("http://{}", registry["REGISTRY"]));
    let reference = |path: &str| format!("{}/{}/{path}:v1", proxy.host, desk.name);
    // `docker load` of what a classic store saved keeps the layers as they are in it.
    classic.build(&reference("a"));
    let script = "\"$DOCKER\" -H \"$CLASSIC\" save \"$IMAGE\" | \"$DOCKER\" -H \"$CURRENT\" load";
    let (old, new) = (host(classic.engine), host(desk.engine));
    let variables =
        [("CLASSIC", old), ("CURRENT", new), ("IMAGE", &reference("a")), ("DOCKER", &desk.engine["DOCKER"])];
    desk.shell(script, &variables);
    // Known, though the classic engine compressed it and the other one names it otherwise.
    let pushed = classic.pushed(registry, &["--engine", "daemon", &reference("a")]);
    proxy.fails("[]");
    assert_eq!(desk.pushed(registry, &[&reference("a")]), pushed);
    assert_eq!(proxy.requests(), 2);
    // Elsewhere it is compressed too, and no other than from the classic store.
    for path in ["b", "c"] {
        desk.docker(&["tag", &reference("a"), &reference(path)]);
        classic.docker(&["tag", &reference("a"), &reference(path)]);
    }
    let first = desk.pushed(registry, &["--engine", "direct", &reference("b")]);
    assert_eq!(first, classic.pushed(registry, &["--engine", "direct", &reference("c")]));
    proxy.fails("[]");
    assert_eq!(desk.pushed(registry, &[&reference("b")]), first);
    assert_eq!(proxy.requests(), 2);
    for desk in [&classic, &desk] {
        desk.docker(&["image", "rm", "-f", &reference("a"), &reference("b"), &reference("c")]);
    }
}

#[test]
fn of_an_index_an_engine_pushes_the_platform_that_it_pulled() {
    let (classic, desk, registry) = (Desk::new(), Desk::at(current_engine()), plain_registry());
    let reference = |path: &str| format!("{}/{}/{path}:v1", registry["REGISTRY"], desk.name);
    let [here, elsewhere, index] = ["here", "elsewhere", "index"].map(reference);
    // No other image's from the first layer on: what the store has unpacked of any image it does not pull again, and then
    // can't push.
    let own = "FROM scratch\nADD name /\nADD busybox /\nADD data /\nCMD [\"/busybox\",\"cat\",\"/name\"]\n";
    classic.build_from(own, &here);
    let digest = classic.pushed(registry, &["--engine", "direct", &here]);
    let script = "tar -cf more.tar -C context name
        \"$CRANE\" append -b \"$HERE\" -f more.tar -t \"$ELSEWHERE\"
        \"$CRANE\" mutate --set-platform linux/s390x -t \"$ELSEWHERE\" \"$ELSEWHERE\"
        \"$CRANE\" index append -m \"$HERE\" -m \"$ELSEWHERE\" -t \"$INDEX\"";
    let crane = crane();
    let variables =
        [("CRANE", crane.to_str().unwrap()), ("HERE", &here), ("ELSEWHERE", &elsewhere), ("INDEX", &index)];
    classic.shell(script, &variables);
    desk.docker(&["pull", "-q", &index]);
    // Where the index is, all of it is there.
    assert_eq!(desk.pushed(registry, &[&index]), desk.digest(registry, &index));
    for way in ["daemon", "direct", "auto"] {
        desk.docker(&["tag", &index, &reference(way)]);
        assert_eq!(desk.pushed(registry, &["--engine", way, &reference(way)]), digest, "{way}");
        desk.is_valid(registry, &reference(way));
        desk.docker(&["image", "rm", "-f", &reference(way)]);
    }
    desk.docker(&["image", "rm", "-f", &index]);
    classic.docker(&["image", "rm", "-f", &here]);
}
