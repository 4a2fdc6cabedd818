//! An engine whose storage can be read here.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hermetic::Ran;
use imgpush::digest;
use serde_json::json;

use crate::images::{config, gzip, layer, saved, tar};
use crate::server::{Answer, Request, Server, listen};
use crate::{Desk, Printed as _};

const NOTE: &str = "stored";

/// An engine with one image, which keeps its layers as docker's classic store does.
struct Keeper {
    desk: Desk,
    layers: Vec<Vec<u8>>,
    host: String,
    /// How often its export was asked for.
    exports: Arc<AtomicUsize>,
}

impl Keeper {
    fn new(layers: Vec<Vec<u8>>) -> Self {
        Self::with("overlay2", layers)
    }

    fn with(driver: &'static str, layers: Vec<Vec<u8>>) -> Self {
        let desk = Desk::new();
        let (root, exports) = (desk.path("docker"), Arc::new(AtomicUsize::new(0)));
        let config = config(&layers, NOTE);
        let id = digest::of(&config);
        let write = |path: String, content: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(format!("image/{driver}/imagedb/content/sha256/{}", &id[7..]), &config);
        let mut chain = String::new();
        for (number, layer) in layers.iter().enumerate() {
            let diff_id = digest::of(layer);
            chain = if number == 0 {
                diff_id.clone()
            } else {
                digest::of(format!("{chain} {diff_id}").as_bytes())
            };
            let entry = format!("image/{driver}/layerdb/sha256/{}", &chain[7..]);
            let files = root.join(match driver {
                "vfs" => format!("vfs/dir/cache{number}"),
                _ => format!("{driver}/cache{number}/diff"),
            });
            fs::create_dir_all(&files).unwrap();
            write(format!("{entry}/diff"), diff_id.as_bytes());
            write(format!("{entry}/cache-id"), format!("cache{number}").as_bytes());
            write(format!("{entry}/size"), layer.len().to_string().as_bytes());
            write(format!("{entry}/tar-split.json.gz"), &gzip(&split(layer, &files)));
        }
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest::of(layer)).collect();
        let image = json!({"Id": id, "Size": 3000, "RootFS": {"Type": "layers", "Layers": diff_ids}});
        let (export, asked) = (saved(&layers, NOTE), Arc::clone(&exports));
        let host = listen(move |request: &Request, _| {
            let answer =
                |body: String| Answer::new(200).header("Content-Type", "application/json").body(body);
            Some(match request.path.rsplit('/').next().unwrap() {
                "info" if root.join("hidden").exists() => {
                    Answer::new(403).body(r#"{"message":"not for you"}"#)
                }
                "info" => answer(json!({"DockerRootDir": root, "Driver": driver}).to_string()),
                "json" => answer(image.to_string()),
                "get" => {
                    asked.fetch_add(1, Ordering::SeqCst);
                    Answer::new(200).body(export.clone())
                }
                "push" => answer(
                    "{\"status\":\"Preparing\"}\r\n{\"errorDetail\":{\"message\":\"no\"}}\r\n".to_owned(),
                ),
                _ => answer(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10"}"#.to_owned()),
            })
        });
        Self { desk, layers, host, exports }
    }

    fn file(&self, layer: usize, name: &str) -> PathBuf {
        self.desk.path("docker").join(format!("overlay2/cache{layer}/diff")).join(name)
    }

    fn push(&self, server: &Server, way: &str) -> Ran {
        let reference = format!("{}/app:v1", server.host);
        let mut command = self.desk.command(&["-v", "--engine", way, &reference]);
        Ran::from(command.env("DOCKER_HOST", format!("tcp://{}", self.host)).output().unwrap())
    }

    /// The digest of the image from its export.
    fn right(&self) -> String {
        let server = Server::new();
        self.desk.write("saved.tar", saved(&self.layers, NOTE));
        let reference = format!("{}/app:v1", server.host);
        self.desk.run(&["--from", "docker-archive:saved.tar", &reference]).ended(0).digest().to_owned()
    }

    fn exports(&self) -> usize {
        self.exports.load(Ordering::SeqCst)
    }
}

/// Unpacks a layer, and tells what is between its files as tar-split does.
fn split(layer: &[u8], folder: &Path) -> Vec<u8> {
    let mut records = Vec::new();
    let between = |bytes: &[u8]| json!({"type": 2, "payload": STANDARD.encode(bytes)});
    let mut done = 0;
    for entry in tar::Archive::new(layer).entries().unwrap() {
        let entry = entry.unwrap();
        let start = usize::try_from(entry.raw_file_position()).unwrap();
        let size = usize::try_from(entry.size()).unwrap();
        let name = entry.path_bytes().into_owned();
        records.push(between(&layer[done..start]));
        let mut record = json!({"type": 1, "size": size, "payload": "AAAAAAAAAAA="});
        match str::from_utf8(&name) {
            Ok(name) => record["name"] = json!(name),
            Err(_) => record["name_raw"] = json!(STANDARD.encode(&name)),
        }
        if size == 0 {
            record = json!({"type": 1, "name": "./empty", "payload": null});
        }
        records.push(record);
        // Where the engine has it: names are cleaned before links are followed.
        let plain = String::from_utf8_lossy(&name).replace("gone/../", "");
        let plain = plain.trim_start_matches('/');
        let path = folder.join(if name.is_ascii() { OsStr::new(plain) } else { OsStr::from_bytes(&name) });
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry.link_name().unwrap() {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, &layer[start..start + size]).unwrap(),
        }
        done = start + size;
    }
    records.push(between(&layer[done..]));
    records.iter().flat_map(|record| format!("{record}\n").into_bytes()).collect()
}

/// A layer of files and links with names of any bytes.
fn odd_layer(entries: &[(&[u8], Odd)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, odd) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        let content = match odd {
            Odd::File(content) => *content,
            Odd::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
                ""
            }
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

enum Odd {
    File(&'static str),
    Link(&'static str),
}

/// Layers with names of all kinds, the same one twice, and empty ones.
fn layers() -> Vec<Vec<u8>> {
    let file = |name: &str, size: usize| (name.to_owned(), vec![b'x'; size]);
    let many = tar(&[file("./a", 3), file("empty", 0), file("deep/below/a\"\\name", 70_000)]);
    let odd = odd_layer(&[
        (b"caf\xe9", Odd::File("abc")),
        (b"/from-the-top", Odd::File("def")),
        (b"gone/../c", Odd::File("ghi")),
        (b"x/b", Odd::File("jkl")),
        (b"y", Odd::Link("x")),
        (b"y/a", Odd::File("mno")),
    ]);
    // A layer is none of what its first name looks like.
    let [gzip, zstd] =
        [&b"\x1f\x8b\x08zz"[..], b"\x28\xb5\x2f\xfdz"].map(|name| odd_layer(&[(name, Odd::File("pqr"))]));
    vec![layer("base", 3_000_000), many.clone(), odd, many, vec![0; 1024], Vec::new(), gzip, zstd]
}

#[test]
fn layers_are_read_where_the_engine_has_them_and_nothing_is_exported() {
    for driver in ["overlay2", "fuse-overlayfs", "vfs"] {
        let (keeper, server) = (Keeper::with(driver, layers()), Server::new());
        let ran = keeper.push(&server, "direct").ended(0);
        assert_eq!(ran.digest(), keeper.right());
        assert_eq!(keeper.exports(), 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("reading layers in the engine's storage"), "{}", ran.stderr);
        let sent = server.manifest("app", "v1").unwrap();
        for (layer, diff_id) in sent["layers"].as_array().unwrap().iter().zip(&keeper.layers) {
            let blob = server.state().blobs[layer["digest"].as_str().unwrap()].clone();
            let mut unpacked = Vec::new();
            flate2::read::MultiGzDecoder::new(&*blob).read_to_end(&mut unpacked).unwrap();
            assert_eq!(&unpacked, diff_id);
        }
    }
    // So it is where the engine fails, or would take too long.
    let (keeper, server) = (Keeper::new(layers()), Server::new());
    assert_eq!(keeper.push(&server, "auto").ended(0).digest(), keeper.right());
    assert_eq!(keeper.exports(), 0);
}

/// What becomes of a storage.
type Harm<'a> = &'a dyn Fn(&Keeper);

#[test]
fn what_is_no_more_as_it_was_is_taken_from_the_export() {
    let long = "deep/below/a\"\\name";
    let harms: [(&str, Harm<'_>); 10] = [
        ("what should be sha256:", &|keeper| {
            fs::write(keeper.file(0, "base"), vec![b'y'; 3_000_000]).unwrap();
        }),
        ("a file is shorter than it was", &|keeper| fs::write(keeper.file(1, long), "short").unwrap()),
        ("No such file", &|keeper| fs::remove_file(keeper.file(1, "a")).unwrap()),
        ("is no file any more", &|keeper| {
            fs::remove_file(keeper.file(1, long)).unwrap();
            let made = std::process::Command::new("mkfifo").arg(keeper.file(1, long)).status().unwrap();
            assert!(made.success());
        }),
        // A link that leads to one.
        ("is no file any more", &|keeper| {
            fs::remove_file(keeper.file(2, "x/a")).unwrap();
            let made = std::process::Command::new("mkfifo").arg(keeper.file(2, "x/a")).status().unwrap();
            assert!(made.success());
        }),
        // What was sent before is not sent again.
        ("already there", &|keeper| {
            for entry in fs::read_dir(keeper.file(7, "")).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }),
        ("not for you", &|keeper| keeper.desk.write("docker/hidden", "")),
        ("can't be read here", &|keeper| {
            fs::remove_dir_all(keeper.desk.path("docker/overlay2/cache0")).unwrap();
        }),
        ("a layer is another one", &|keeper| harm_entries(keeper, "diff", b"sha256:00")),
        ("", &|keeper| harm_entries(keeper, "tar-split.json.gz", &gzip(b"{\"type\":9,\"payload\":null}\n"))),
    ];
    for (words, harm) in harms {
        let (keeper, server) = (Keeper::new(layers()), Server::new());
        harm(&keeper);
        let ran = keeper.push(&server, "direct").ended(0);
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        assert_eq!((keeper.exports(), ran.digest()), (1, &*keeper.right()), "{words}");
    }
}

#[test]
fn an_upload_that_comes_to_nothing_is_given_up() {
    let (keeper, server) = (Keeper::new(vec![layer("large", 9_000_000)]), Server::new());
    let mut content = fs::read(keeper.file(0, "large")).unwrap();
    content[8_999_999] ^= 1;
    fs::write(keeper.file(0, "large"), content).unwrap();
    assert_eq!(keeper.push(&server, "direct").ended(0).digest(), keeper.right());
    assert_eq!(server.requests("DELETE").len(), 1);
    assert!(server.state().uploads.is_empty());
}

fn harm_entries(keeper: &Keeper, name: &str, content: &[u8]) {
    for entry in fs::read_dir(keeper.desk.path("docker/image/overlay2/layerdb/sha256")).unwrap() {
        fs::write(entry.unwrap().path().join(name), content).unwrap();
    }
}

#[test]
fn a_link_in_a_layer_leads_to_nothing_outside_it() {
    let (keeper, server) = (Keeper::new(layers()), Server::new());
    // As large as what it stands for, and in a folder beside the engine's.
    let content = vec![b's'; 3_000_000];
    keeper.desk.write("secret", &content);
    for target in ["../../../../secret".into(), keeper.desk.path("secret")] {
        let file = keeper.file(0, "base");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        let ran = keeper.push(&server, "direct").ended(0);
        assert!(ran.stderr.contains("No such file"), "{}", ran.stderr);
        server.state().manifests.clear();
        server.state().blobs.clear();
    }
    assert!(server.state().uploads.values().all(|sent| !sent.windows(64).any(|part| part == &content[..64])));
}
