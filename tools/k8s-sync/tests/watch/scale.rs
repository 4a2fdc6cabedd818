//! Ten thousand objects, watched by the binary that users get.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::api::Api;
use crate::world::{Operator, World, until_within};

const OBJECTS: usize = 10_000;
/// So many are in one file.
const PER_FILE: usize = 500;
/// The most memory that the operator may ever take, in kB.
const MOST_MEMORY: u64 = 60_000;
/// The longest that ten thousand objects may take to be made on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);
/// All, as everybody else builds them.
const TOOLS: [&str; 6] = ["imgtag", "covgate", "imgpush", "manifest-patch", "mr-push", "k8s-sync"];

/// The static release binary; `GITOPS_TOOLS` names a folder where it is already.
fn released() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "no tool reads it")]
    if let Some(there) = std::env::var_os("GITOPS_TOOLS") {
        return Path::new(&there).join("k8s-sync");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-static");
    let mut command = Command::new(script);
    // Not as a part of this test's own build.
    let of_cargo = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR"
            || name == "LD_LIBRARY_PATH"
    });
    for name in of_cargo {
        command.env_remove(name);
    }
    let output = command.args(TOOLS).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().into()
}

/// Writes the manifests: what a ConfigMap of an ordinary application holds.
fn write_manifests(world: &World) {
    for file in 0..OBJECTS / PER_FILE {
        let mut text = String::new();
        for number in file * PER_FILE..(file + 1) * PER_FILE {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: item-{number}\n  labels: {{app.kubernetes.io/name: item}}\n\
                 data:\n  value: '1'\n  settings: |\n"
            );
            for line in 0..8 {
                let _ = writeln!(text, "    option-{line} = value {} of this item", number * 7919 + line);
            }
        }
        world.write(&format!("items-{file}.yml"), &text);
    }
}

fn watch(world: &World, binary: &Path) -> Operator {
    let url = world.url();
    let own = ["app", "--sync-policy", "automated", "--auto-prune", "--self-heal", "--repo", &url];
    world.watch_with(binary, &own)
}

fn synced(operator: &mut Operator) -> Value {
    operator.hear_within(PATIENCE, "it is synced", |event| event["kind"] == "synced")
}

#[test]
fn ten_thousand_objects_take_little_memory() {
    let binary = released();
    let world = World::new();
    write_manifests(&world);
    world.commit("Begin");
    let mut report = String::new();
    let mut peaks = Vec::new();
    let mut note = |what: &str, operator: &Operator| {
        let (now, peak) = (operator.memory(), operator.peak_memory());
        let _ = write!(report, "{what}: {now} kB now, {peak} kB at most; ");
        peaks.push(peak);
    };
    let mut operator = watch(&world, &binary);
    assert_eq!(synced(&mut operator)["created"], OBJECTS);
    let healthy = r#"k8s_sync_health_state{application="app",state="Healthy"}"#;
    until_within(PATIENCE, "all are seen", || operator.metric(healthy) == 1);
    note("the first sync", &operator);
    // One commit.
    let text = std::fs::read_to_string(world.repository().join("items-7.yml")).unwrap();
    world.write("items-7.yml", &text.replacen("value: '1'", "value: '2'", 1));
    world.commit("Change one");
    let one = synced(&mut operator);
    assert_eq!((&one["configured"], &one["unchanged"]), (&1.into(), &(OBJECTS - 1).into()));
    note("a commit", &operator);
    // Drift.
    let api = Api::start(&world);
    for number in (0..OBJECTS).step_by(OBJECTS / 50) {
        let name = format!("item-{number}");
        api.drift(&world.namespace, &name, "theirs");
        operator.hear("it is healed", |event| event["kind"] == "healed" && event["name"] == *name);
    }
    note("steady", &operator);
    drop(operator);
    // A new process, and another commit at once.
    let mut operator = watch(&world, &binary);
    assert_eq!(synced(&mut operator)["unchanged"], OBJECTS);
    world.write("items-7.yml", &text);
    world.commit("Change it back");
    assert_eq!(synced(&mut operator)["configured"], 1);
    until_within(PATIENCE, "all are seen", || operator.metric(healthy) == 1);
    note("a restart with a commit", &operator);
    let _ = writeln!(std::io::stderr(), "{OBJECTS} objects: {report}");
    assert!(peaks.iter().all(|peak| *peak <= MOST_MEMORY), "more than {MOST_MEMORY} kB: {report}");
}
