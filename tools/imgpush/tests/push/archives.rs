//! From files and streams.

use std::io::Read as _;

use hermetic::Ran;
use imgpush::digest;
use serde_json::json;

use crate::images::{
    archive, gzip, layer, layout, saved, saved_as, saved_classically, saved_compressed, tar,
};
use crate::server::{Kind, Server};
use crate::{Desk, Printed as _};

#[test]
fn a_saved_image_is_there_and_is_not_sent_again() {
    let (server, desk) = (Server::new(), Desk::new());
    let layers = [layer("base", 8_000_000), layer("app", 3000)];
    desk.write("a.tar", saved(&layers, "one"));
    let reference = format!("{}/team/app:v1", server.host);
    let arguments = ["--from", "docker-archive:a.tar", "--also", "stable", &reference, "-o", "json"];
    let ran = desk.run(&arguments).ended(0);
    let image = &ran.document()["images"][0];
    assert_eq!((&image["changed"], &image["engine"]), (&json!(true), &json!("direct")));
    let sent = image["bytesSent"].as_u64().unwrap();
    assert!((1000..8_000_000).contains(&sent), "{sent}");

    let manifest = server.manifest("team/app", "v1").unwrap();
    let stored = image["digest"].as_str().unwrap();
    assert_eq!(server.manifest("team/app", stored), Some(manifest.clone()));
    assert_eq!(server.manifest("team/app", "stable"), Some(manifest.clone()));
    for (content, descriptor) in layers.iter().zip(manifest["layers"].as_array().unwrap()) {
        let state = server.state();
        let blob = &state.blobs[descriptor["digest"].as_str().unwrap()];
        assert_eq!(descriptor["size"], blob.len());
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(blob.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(digest::of(&unpacked), digest::of(content));
    }

    server.state().requests.clear();
    let again = desk.run(&["--from", "docker-archive:a.tar", &reference]).ended(0);
    assert_eq!(again.record(), format!("{reference}@{stored}"));
    assert_eq!(server.state().requests, ["GET /v2/team/app/manifests/v1"]);
    let dotenv = desk.run(&["--from", "docker-archive:a.tar", &reference, "-o", "dotenv"]).ended(0);
    assert_eq!(dotenv.stdout, format!("IMAGE={reference}@{stored}\nIMAGE_DIGEST={stored}\n"));
}

#[test]
fn the_bytes_do_not_depend_on_threads_files_or_streams() {
    let (server, desk) = (Server::new(), Desk::new());
    let layers =
        [layer("base", 3_500_000), layer("app", 3000), layer("base", 3_500_000), layer("base", 3_500_000)];
    let new = saved(&layers, "one");
    let old = saved_classically(&layers, "one");
    desk.write("a.tar", &new);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &old).unwrap();
    desk.write("a.tar.gz", gzip.finish().unwrap());
    let push = |number: usize, threads: &str, from: &str, stdin: &[u8]| {
        let reference = format!("{}/app{number}:v1", server.host);
        let mut command = desk.command(&["--threads", threads, "--from", from, &reference]);
        Ran::from(command.write_stdin(stdin).output().unwrap()).ended(0).digest().to_owned()
    };
    let first = push(1, "1", "docker-archive:a.tar", b"");
    assert_eq!(first, push(2, "7", "docker-archive:-", &new));
    assert_eq!(first, push(3, "2", "docker-archive:-", &old));
    assert_eq!(first, push(4, "2", "docker-archive:a.tar.gz", b""));
}

#[test]
fn what_is_not_what_it_says_is_refused_and_no_tag_moves() {
    let (server, desk) = (Server::new(), Desk::new());
    let reference = format!("{}/app:v1", server.host);
    let good = saved_classically(&[layer("base", 9000)], "one");
    let mut flipped = good.clone();
    flipped[512 + 700] ^= 1;
    let oci = desk.path("oci");
    layout(&oci, &[layer("base", 9000), layer("app", 10)]);
    let blob = digest::of(&layer("base", 9000));
    std::fs::write(oci.join("blobs/sha256").join(&blob[7..]), "something else").unwrap();
    for (name, content, words) in [
        ("flipped.tar", flipped, "is not the layer that the configuration names"),
        ("cut.tar", good[..6000].to_vec(), "cut.tar: "),
        ("empty.tar", Vec::new(), "it is empty"),
        ("other.tar", tar(&[("x".into(), b"y".to_vec())]), "no manifest.json"),
        ("oci.tar", archive(&oci), "index.json names"),
    ] {
        desk.write(name, content);
        let kind = if name == "oci.tar" { "oci-archive" } else { "docker-archive" };
        let ran = desk.run(&["--from", &format!("{kind}:{name}"), &reference]).ended(2);
        if name != "oci.tar" {
            assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        }
        assert_eq!(ran.stdout, "");
    }
    let ran = desk.run(&["--from", "oci:oci", &reference]).ended(2);
    assert!(ran.stderr.contains("not what its digest says"), "{}", ran.stderr);
    desk.run(&["--from", "docker-archive:gone.tar", &reference]).ended(2);
    assert_eq!(server.manifest("app", "v1"), None);
}

#[test]
fn an_index_goes_with_all_its_platforms_from_a_folder_and_a_stream() {
    let (server, desk) = (Server::new(), Desk::new());
    let stated = layout(&desk.path("oci"), &[layer("base", 5_000_000), layer("app", 3000)]);
    let reference = format!("{}/app:v1", server.host);
    let ran = desk.run(&["--from", "oci:oci", &reference]).ended(0);
    assert_eq!(ran.digest(), stated);
    for child in server.manifest("app", "v1").unwrap()["manifests"].as_array().unwrap() {
        assert!(server.manifest("app", child["digest"].as_str().unwrap()).is_some());
    }
    server.state().requests.clear();
    desk.run(&["--from", "oci:oci", &reference]).ended(0);
    assert_eq!(server.state().requests.len(), 1);
    let other = format!("{}/other:v1", server.host);
    let mut command = desk.command(&["--from", "oci-archive:-", &other]);
    let ran = Ran::from(command.write_stdin(archive(&desk.path("oci"))).output().unwrap()).ended(0);
    assert_eq!(ran.digest(), stated);
}

#[test]
fn an_index_goes_to_a_second_repository_without_its_layers() {
    let (server, desk) = (Server::new(), Desk::new());
    layout(&desk.path("oci"), &[layer("base", 5_000_000), layer("app", 3000)]);
    desk.write("oci.tar", archive(&desk.path("oci")));
    let reference = |path: &str| format!("{}/{path}", server.host);
    let sent = |ran: &Ran, number: usize| ran.document()["images"][number]["bytesSent"].as_u64().unwrap();
    let ran =
        desk.run(&["--from", "oci:oci", "-o", "json", &reference("app:v1"), &reference("other:v1")]).ended(0);
    assert!(sent(&ran, 0) > 5_000_000);
    assert_eq!((sent(&ran, 1), &ran.document()["images"][1]["changed"]), (0, &json!(true)));
    let learn = reference("app:v1");
    for from in ["oci:oci", "oci-archive:oci.tar"] {
        let third = reference(&format!("{}:v1", from.replace([':', '.'], "-")));
        let ran = desk.run(&["--from", from, "-o", "json", "--learn-from", &learn, &third]).ended(0);
        assert_eq!(sent(&ran, 0), 0, "{from}");
    }
    // An archive in a file is asked for as a folder is.
    server.state().requests.clear();
    desk.run(&["--from", "oci-archive:oci.tar", &reference("app:v1")]).ended(0);
    assert_eq!(server.state().requests, ["GET /v2/app/manifests/v1"]);
}

#[test]
fn layers_that_are_had_elsewhere_stay_there_and_an_image_may_have_none() {
    let (server, desk) = (Server::new(), Desk::new());
    let reference = format!("{}/app:v1", server.host);
    let oci = desk.path("oci");
    let stated = layout(&oci, &[layer("base", 9000), layer("app", 10)]);
    let foreign = digest::of(&layer("base", 9000));
    // The manifest says where the layer is, and the folder does not have it.
    let index = std::fs::read_to_string(oci.join("blobs/sha256").join(&stated[7..])).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let first = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = std::fs::read_to_string(oci.join("blobs/sha256").join(&first[7..])).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["layers"][0]["urls"] = json!(["https://elsewhere.test/base"]);
    manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar");
    let body = manifest.to_string();
    let told = digest::of(body.as_bytes());
    std::fs::write(oci.join("blobs/sha256").join(&told[7..]), &body).unwrap();
    std::fs::remove_file(oci.join("blobs/sha256").join(&foreign[7..])).unwrap();
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": told, "size": body.len()});
    std::fs::write(oci.join("index.json"), json!({"manifests": [entry]}).to_string()).unwrap();
    assert_eq!(desk.run(&["--from", "oci:oci", &reference]).ended(0).digest(), told);
    assert!(!server.state().blobs.contains_key(&foreign));
    let mut command = desk.command(&["--from", "oci-archive:-", &reference.replace("v1", "v2")]);
    assert_eq!(Ran::from(command.write_stdin(archive(&oci)).output().unwrap()).ended(0).digest(), told);

    for (name, image) in [("new", saved(&[], "none")), ("old", saved_classically(&[], "none"))] {
        desk.write("none.tar", image);
        let reference = format!("{}/none:{name}", server.host);
        desk.run(&["--from", "docker-archive:none.tar", &reference]).ended(0);
        assert_eq!(server.manifest("none", name).unwrap()["layers"], json!([]));
    }
}

#[test]
fn layers_that_come_compressed_are_checked_by_what_they_unpack_to() {
    let (server, desk) = (Server::new(), Desk::new());
    let layers = [layer("base", 3_000_000), layer("app", 3000)];
    desk.write("good.tar", saved_compressed(&layers, &layers));
    desk.write("bad.tar", saved_compressed(&layers, &[layers[0].clone(), layer("evil", 3000)]));
    let mut cut = saved_compressed(&layers, &layers);
    let end = cut.windows(2).position(|two| two == [0x1f, 0x8b]).unwrap() + 900_000;
    cut[end] ^= 0x55;
    desk.write("cut.tar", cut);
    let push = |name: &str| {
        let reference = format!("{}/app:{name}", server.host);
        desk.run(&["--from", &format!("docker-archive:{name}.tar"), &reference])
    };
    let ran = push("bad").ended(2);
    assert!(ran.stderr.contains("is not the layer that the configuration names"), "{}", ran.stderr);
    let ran = push("cut").ended(2);
    assert!(
        ran.stderr.contains("can't be unpacked") || ran.stderr.contains("is not the layer"),
        "{}",
        ran.stderr
    );
    assert_eq!((server.manifest("app", "bad"), server.manifest("app", "cut")), (None, None));
    push("good").ended(0);
    let stored = server.manifest("app", "good").unwrap();
    assert_eq!(stored["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn a_blob_under_its_digest_is_checked_by_what_it_unpacks_to_and_by_its_name() {
    let (server, desk) = (Server::new(), Desk::new());
    let (base, evil) = (layer("base", 3000), layer("evil", 3000));
    let zstd = |content: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], content].concat();
    for (name, blob, words) in [
        ("gzip", (gzip(&evil), gzip(&evil)), "is not the layer that the configuration names"),
        ("named", (gzip(&base), gzip(&evil)), "its content has the digest"),
        ("zstd", (zstd(&base), zstd(&evil)), "its content has the digest"),
        ("cut", (gzip(&base)[..900].to_vec(), gzip(&base)[..900].to_vec()), "can't be unpacked"),
    ] {
        let file = format!("{name}.tar");
        desk.write(&file, saved_as(std::slice::from_ref(&base), &[(&blob.0, blob.1.clone())]));
        let reference = format!("{}/app:{name}", server.host);
        for from in [format!("docker-archive:{file}"), "docker-archive:-".to_owned()] {
            let mut command = desk.command(&["--from", &from, &reference]);
            let stdin = std::fs::read(desk.path(&file)).unwrap();
            let ran = Ran::from(command.write_stdin(stdin).output().unwrap()).ended(2);
            assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        }
        assert_eq!(server.manifest("app", name), None);
        if name == "zstd" {
            assert!(!server.state().blobs.contains_key(&digest::of(&blob.1)));
        }
    }
}

#[test]
fn a_layer_is_a_tar_archive_whatever_it_begins_with() {
    let (server, desk) = (Server::new(), Desk::new());
    // One of 1979 has no magic, and one without files has nothing at all.
    let mut old = layer("{base", 3000);
    old[257..265].fill(0);
    let layers = [vec![0; 1024], old];
    desk.write("a.tar", saved(&layers, "one"));
    for (tag, from) in [("v1", "docker-archive:a.tar"), ("v2", "docker-archive:-")] {
        // What begins like a document is told from one by manifest.json alone, which comes last.
        let layers = if tag == "v1" { &layers[..] } else { &layers[..1] };
        let image = saved(layers, "one");
        let reference = format!("{}/app:{tag}", server.host);
        let mut command = desk.command(&["--from", from, &reference]);
        Ran::from(command.write_stdin(image).output().unwrap()).ended(0);
        let manifest = server.manifest("app", tag).unwrap();
        for (content, descriptor) in layers.iter().zip(manifest["layers"].as_array().unwrap()) {
            let state = server.state();
            let mut unpacked = Vec::new();
            let blob = state.blobs[descriptor["digest"].as_str().unwrap()].as_slice();
            flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == *content);
        }
    }
}

#[test]
fn a_layer_in_zstd_makes_an_oci_image() {
    let (server, desk) = (Server::new(), Desk::new());
    let layers = [layer("base", 3000), layer("app", 10)];
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd], b"anything".as_slice()].concat();
    desk.write("a.tar", saved_as(&layers, &[(&layers[0], layers[0].clone()), (&zstd, zstd.clone())]));
    desk.run(&["--from", "docker-archive:a.tar", &format!("{}/app:v1", server.host)]).ended(0);
    let manifest = server.manifest("app", "v1").unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let types: Vec<_> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].clone()).collect();
    assert_eq!(
        types,
        ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd"]
    );
}

#[test]
fn a_blob_of_a_layout_that_is_not_what_its_digest_says_never_gets_into_the_registry() {
    let (server, desk) = (Server::new(), Desk::new());
    for size in [3000, 8_000_000] {
        let oci = desk.path(&format!("oci{size}"));
        layout(&oci, &[layer("base", size), layer("app", 10)]);
        let blob = oci.join("blobs/sha256").join(&digest::of(&layer("base", size))[7..]);
        let other = layer("other", size);
        std::fs::write(&blob, &other).unwrap();
        desk.write("oci.tar", archive(&oci));
        for from in [format!("oci:oci{size}"), "oci-archive:oci.tar".to_owned()] {
            let ran = desk.run(&["--from", &from, &format!("{}/app:v1", server.host)]).ended(2);
            assert!(ran.stderr.contains("digest"), "{}", ran.stderr);
        }
        assert!(!server.state().blobs.contains_key(&digest::of(&other)));
        // What was begun is ended.
        assert_eq!(server.requests("DELETE").len(), if size > 3000 { 2 } else { 0 });
    }
}

#[cfg(unix)]
#[test]
fn links_out_of_a_layout_lead_to_what_it_names_and_to_nothing_else() {
    use std::os::unix::fs::symlink;
    let (server, desk) = (Server::new(), Desk::new());
    let base = layer("base", 8_000_000);
    layout(&desk.path("oci"), &[base.clone(), layer("app", 10)]);
    let blob = desk.path("oci").join("blobs/sha256").join(&digest::of(&base)[7..]);
    std::fs::remove_file(&blob).unwrap();
    let reference = format!("{}/app:v1", server.host);
    desk.write("elsewhere", layer("other", 8_000_000));
    for target in [desk.path("elsewhere"), "/dev/zero".into()] {
        let _ = std::fs::remove_file(&blob);
        symlink(target, &blob).unwrap();
        let ran = desk.run(&["--from", "oci:oci", &reference]).ended(2);
        assert!(ran.stderr.contains("is not what its digest says"), "{}", ran.stderr);
        assert!(server.requests("PATCH").is_empty());
    }
    std::fs::remove_file(&blob).unwrap();
    desk.write("elsewhere", &base);
    symlink("../../../elsewhere", &blob).unwrap();
    desk.run(&["--from", "oci:oci", &reference]).ended(0);
    assert!(server.state().blobs.contains_key(&digest::of(&base)));
}

#[test]
fn the_same_image_under_another_manifest_is_there_already() {
    let (server, desk) = (Server::new(), Desk::new());
    let image = saved(&[layer("base", 3000)], "one");
    let reference = format!("{}/app:v1", server.host);
    let push = || {
        let mut command = desk.command(&["--from", "docker-archive:-", "--no-clobber", &reference]);
        Ran::from(command.write_stdin(image.clone()).output().unwrap()).ended(0).digest().to_owned()
    };
    push();
    // As another program would have put it.
    let mut manifest = server.manifest("app", "v1").unwrap();
    manifest["annotations"] = json!({"by": "another program"});
    let put = server.put("app", "v1", manifest.to_string());
    assert_eq!(push(), put);
    assert_eq!(server.manifest("app", "v1"), Some(manifest));
    // Where another job has put it meanwhile, under a tag that can't be moved.
    let (server, desk) = (Server::new(), Desk::new());
    desk.write("a.tar", &image);
    let reference = format!("{}/app:v1", server.host);
    let words = ["--from", "docker-archive:a.tar", &reference];
    server.fails("PUT", "/manifests/v1", 1, Kind::DoneAndRefused(409));
    desk.run(&words).ended(0);
}

#[test]
fn a_further_tag_that_fails_does_not_hide_the_image() {
    let desk = Desk::new();
    desk.write("a.tar", saved(&[layer("a", 100)], "one"));
    for (status, exit) in [(403, 77), (400, 2)] {
        let server = Server::new();
        let reference = format!("{}/app:v1", server.host);
        // Both a push and what is there already.
        for _ in 0..2 {
            server.fails("PUT", "/manifests/v3", 1, Kind::Status(status, ""));
            let words = ["--from", "docker-archive:a.tar", "--also", "v2", "--also", "v3", &reference];
            let ran = desk.run(&words).ended(exit);
            let digest = digest::of(&server.state().manifests[&("app".into(), "v1".into())].1);
            assert_eq!(ran.stdout, format!("{reference}@{digest}\n"));
            assert!(ran.stderr.contains("could not be named `v3` too"), "{}", ran.stderr);
            assert!(ran.stderr.contains("hint: ") || status == 400, "{}", ran.stderr);
            assert!(server.manifest("app", "v2").is_some());
            server.fails("PUT", "/manifests/v3", 1, Kind::Status(status, ""));
            let ran = desk.run(&[&words[..], &["-o", "json"]].concat()).ended(exit);
            let document = ran.document();
            assert_eq!(document["images"][0]["digest"], digest);
            assert!(document["error"]["message"].as_str().unwrap().contains("`v3`"));
        }
    }
}

#[test]
fn no_clobber_leaves_every_tag_alone() {
    let (server, desk) = (Server::new(), Desk::new());
    desk.write("one.tar", saved(&[layer("a", 100)], "one"));
    desk.write("two.tar", saved(&[layer("a", 100)], "two"));
    let reference = format!("{}/app:v1", server.host);
    let one = desk.run(&["--from", "docker-archive:one.tar", "--no-clobber", &reference]).ended(0);
    desk.run(&["--from", "docker-archive:one.tar", "--no-clobber", &reference]).ended(0);
    for (from, tag, also) in [
        ("docker-archive:two.tar", "v1", "v9"),
        ("docker-archive:-", "v1", "v9"),
        ("docker-archive:two.tar", "v2", "v1"),
        ("docker-archive:-", "v2", "v1"),
    ] {
        let reference = format!("{}/app:{tag}", server.host);
        let mut command = desk.command(&["--from", from, "--no-clobber", "--also", also, &reference]);
        let two = std::fs::read(desk.path("two.tar")).unwrap();
        let ran = Ran::from(command.write_stdin(two).output().unwrap()).ended(1);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(&format!("app:v1 is there with other content ({}", one.digest())));
    }
    assert_eq!((server.manifest("app", "v2"), server.manifest("app", "v9")), (None, None));
}

#[test]
fn layers_of_earlier_images_are_not_sent_again() {
    let (server, desk) = (Server::new(), Desk::new());
    let base = layer("base", 8_000_000);
    desk.write("one.tar", saved(&[base.clone(), layer("app", 10)], "one"));
    desk.write("two.tar", saved(&[base, layer("app2", 10)], "two"));
    let push = |from: &str, path: &str, more: &[&str]| {
        let reference = format!("{}/{path}", server.host);
        let ran = desk.run(&[&["--from", from, &reference, "-o", "json"], more].concat()).ended(0);
        ran.document()["images"][0]["bytesSent"].as_u64().unwrap()
    };
    assert!(push("docker-archive:one.tar", "app:4b1c9e2", &[]) > 3_000_000);
    // Another commit's tag in the same repository, then another repository.
    assert!(push("docker-archive:two.tar", "app:77ab001", &[]) < 3000);
    let learn = format!("{}/app:4b1c9e2", server.host);
    assert!(push("docker-archive:two.tar", "other:v1", &["--learn-from", &learn]) < 3000);
    // The same image under another tag is a matter of its name.
    assert_eq!(push("docker-archive:two.tar", "app:v3", &[]), 0);
    assert_eq!(server.requests("PATCH").len(), 1);
}

#[test]
fn a_dry_run_writes_nothing_and_tells_the_same_digest() {
    let (server, desk) = (Server::new(), Desk::new());
    desk.write("a.tar", saved(&[layer("base", 8_000_000), layer("app", 10)], "one"));
    let reference = format!("{}/app:v1", server.host);
    let dry = desk.run(&["-n", "--also", "v2", "--from", "docker-archive:a.tar", &reference]).ended(0);
    assert!(server.state().requests.iter().all(|line| line.starts_with("GET") || line.starts_with("HEAD")));
    let wet = desk.run(&["--from", "docker-archive:a.tar", &reference]).ended(0);
    assert_eq!(dry.stdout, wet.stdout);
}

#[test]
fn one_stdin_is_one_thing() {
    let desk = Desk::new();
    for arguments in [
        &["--from", "docker-archive:-"][..],
        &["--from", "oci-archive:-", "a.test/b:1", "a.test/b:2"],
        &["--from", "oci-archive:-", "--username", "u", "--password-file", "-", "a.test/b:1"],
        &["--username", "u", "--password-file", "-"],
        &["a.test/b@sha256:0000000000000000000000000000000000000000000000000000000000000000"],
        &["--username", "u", "a.test/b:1"],
        &["--from", "tar:x", "a.test/b:1"],
        &["--also", "no tag", "a.test/b:1"],
    ] {
        let ran = desk.run(arguments).ended(2);
        assert!(ran.stderr.contains("hint: "), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}
