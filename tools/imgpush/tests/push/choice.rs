//! Which image of several in a file or a stream is meant, and that nothing of the others is sent.

use std::path::Path;

use hermetic::Ran;
use imgpush::digest;

use crate::images::{Together, layer, saved_together};
use crate::server::Server;
use crate::{Desk, Printed as _};

/// The ways to name what is saved as `both`.
const SOURCES: [&str; 5] =
    ["docker-archive:both.tar", "docker-archive:-", "oci-archive:both.tar", "oci-archive:-", "oci:both"];

/// Every way that an archive of several images comes.
const WAYS: [Together; 4] = [
    Together { is_compressed: false, names_first: false },
    Together { is_compressed: false, names_first: true },
    Together { is_compressed: true, names_first: false },
    Together { is_compressed: true, names_first: true },
];

fn layers(of: &str) -> Vec<Vec<u8>> {
    vec![layer("base", 3000), layer(of, 5000)]
}

/// Unpacks an archive of a layout.
fn unpacked(archive: &[u8], folder: &Path) {
    tar::Archive::new(archive).unpack(folder).unwrap();
}

/// Pushes from an archive that is in `both.tar`, in a folder, or comes on stdin.
fn push(desk: &Desk, from: &str, reference: &str) -> Ran {
    let mut command = desk.command(&["--from", from, reference]);
    let stdin = if from.ends_with(":-") { std::fs::read(desk.path("both.tar")).unwrap() } else { Vec::new() };
    Ran::from(command.write_stdin(stdin).output().unwrap())
}

/// The note in the configuration of what stands under a tag.
fn note(server: &Server, path: &str, tag: &str) -> String {
    let manifest = server.manifest(path, tag).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let config: serde_json::Value = serde_json::from_slice(&server.state().blobs[&config]).unwrap();
    config["config"]["Labels"]["note"].as_str().unwrap().to_owned()
}

#[test]
fn images_of_one_tag_are_told_apart_by_their_names() {
    for together in WAYS {
        let (server, desk) = (Server::new(), Desk::new());
        let name = |image: &str| format!("{}/{image}:v1", server.host);
        let (one, two) = (name("one"), name("two"));
        let both = saved_together(&[(&one, layers("one")), (&two, layers("two"))], together);
        unpacked(&both, &desk.path("both"));
        desk.write("both.tar", both);
        for from in SOURCES {
            server.state().manifests.clear();
            push(&desk, from, &two).ended(0);
            assert_eq!(note(&server, "two", "v1"), two, "{from}");
            let ran = push(&desk, from, &name("three")).ended(2);
            assert!(ran.stderr.contains(&one) && ran.stderr.contains(&two), "{from}: {}", ran.stderr);
            assert_eq!(server.manifest("three", "v1"), None);
        }
    }
}

#[test]
fn a_tag_alone_chooses_where_it_can_mean_one_image_only() {
    let (server, desk) = (Server::new(), Desk::new());
    let together = Together { is_compressed: true, names_first: false };
    let both =
        saved_together(&[("a.test/one:v1", layers("one")), ("a.test/two:v2", layers("two"))], together);
    let folder = desk.path("both");
    unpacked(&both, &folder);
    // As builders write it that know of a tag only.
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let tags_only = index.replace("io.containerd.image.name", "test.name");
    std::fs::write(folder.join("index.json"), &tags_only).unwrap();
    let reference = format!("{}/app:v2", server.host);
    push(&desk, "oci:both", &reference).ended(0);
    assert_eq!(note(&server, "app", "v2"), "a.test/two:v2");
    std::fs::write(folder.join("index.json"), tags_only.replace("\"v1\"", "\"v2\"")).unwrap();
    let ran = push(&desk, "oci:both", &format!("{}/other:v2", server.host)).ended(2);
    assert!(ran.stderr.contains("2 images are named v2"), "{}", ran.stderr);
    // A tag of another repository's image says nothing of ours.
    std::fs::write(folder.join("index.json"), &index).unwrap();
    let ran = push(&desk, "oci:both", &format!("{}/other:v2", server.host)).ended(2);
    assert!(ran.stderr.contains("a.test/two:v2"), "{}", ran.stderr);
}

#[test]
fn names_are_compared_as_references() {
    let (server, desk) = (Server::new(), Desk::new());
    let proxy = format!("http://{}", server.host);
    for (written, asked, path) in [
        ("docker.io/eyes/two:v1", "eyes/two:v1", "eyes/two"),
        ("eyes/two:v1", "docker.io/eyes/two:v1", "eyes/two"),
        ("docker.io/library/app:v1", "app:v1", "library/app"),
        ("app:latest", "docker.io/app", "library/app"),
    ] {
        for together in WAYS {
            let images = [("docker.io/eyes/one:v1", layers("one")), (written, layers("two"))];
            desk.write("both.tar", saved_together(&images, together));
            for from in ["docker-archive:both.tar", "oci-archive:both.tar"] {
                server.state().manifests.clear();
                let mut command = desk.command(&["--plain-http", "--from", from, asked]);
                // The server stands in for a proxy, and so for docker hub.
                Ran::from(command.env("HTTP_PROXY", &proxy).output().unwrap()).ended(0);
                let tag = written.rsplit_once(':').unwrap().1;
                assert_eq!(note(&server, path, tag), written, "{asked} {from}");
            }
        }
    }
}

#[test]
fn only_what_the_image_needs_is_sent() {
    for together in WAYS {
        let desk = Desk::new();
        for from in SOURCES {
            let server = Server::new();
            let name = |image: &str| format!("{}/{image}:v1", server.host);
            let (one, two) = (name("one"), name("two"));
            let both = saved_together(&[(&one, layers("one")), (&two, layers("two"))], together);
            let _ = std::fs::remove_dir_all(desk.path("both"));
            unpacked(&both, &desk.path("both"));
            desk.write("both.tar", both);
            let ran = push(&desk, from, &two).ended(0);
            let blobs = server.state().blobs.len();
            // A stream that names its images at its end has gone by then.
            let is_told_late = from.ends_with(":-") && !together.names_first;
            assert_eq!(blobs, if is_told_late { 4 } else { 3 }, "{from}");
            assert_eq!(ran.stderr.contains("layers of other images"), is_told_late, "{from}: {}", ran.stderr);
            assert!(digest::is_digest(ran.digest()));
        }
    }
}
