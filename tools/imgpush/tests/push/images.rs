//! Images in archives and folders, made for a test.

use std::fs;
use std::path::Path;

use imgpush::digest;
use serde_json::{Value, json};

/// A layer: a tar archive of one file. The content does not compress well, so that its size is that of a real one.
pub(crate) fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut seed =
        digest::of(name.as_bytes()).bytes().fold(1_u64, |all, c| all.wrapping_mul(31) + u64::from(c)) | 1;
    let content: Vec<u8> = (0..size)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            b'a' + u8::try_from(seed % 23).unwrap()
        })
        .collect();
    tar(&[(name.to_owned(), content)])
}

pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn config(layers: &[Vec<u8>], note: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest::of(layer)).collect();
    json!({
        "architecture": "amd64", "os": "linux", "config": {"Labels": {"note": note}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

/// What `docker save` writes from engine 25 on: blobs by digest, and a manifest.json at the end.
pub(crate) fn saved(layers: &[Vec<u8>], note: &str) -> Vec<u8> {
    let config = config(layers, note);
    let path = |content: &[u8]| format!("blobs/sha256/{}", &digest::of(content)[7..]);
    let list = json!([{
        "Config": path(&config), "RepoTags": ["app:v1"],
        "Layers": layers.iter().map(|layer| path(layer)).collect::<Vec<_>>(),
    }]);
    let mut files: Vec<(String, Vec<u8>)> = layers.iter().map(|layer| (path(layer), layer.clone())).collect();
    files.push((path(&config), config));
    files.push(("manifest.json".to_owned(), list.to_string().into_bytes()));
    tar(&files)
}

/// How an archive of several images comes.
#[derive(Clone, Copy)]
pub(crate) struct Together {
    /// With layers in gzip, as the containerd store has them.
    pub(crate) is_compressed: bool,
    /// With what names the images in front of the layers; engines write it behind them.
    pub(crate) names_first: bool,
}

/// What `docker save one:v1 two:v1` writes from engine 25 on: an OCI layout and a manifest.json. Both images have the same
/// short name in the layout where their tags are the same.
pub(crate) fn saved_together(images: &[(&str, Vec<Vec<u8>>)], together: Together) -> Vec<u8> {
    let (mut blobs, mut documents) = (Vec::new(), Vec::new());
    let (mut list, mut entries) = (Vec::new(), Vec::new());
    let path = |content: &[u8]| format!("blobs/sha256/{}", &digest::of(content)[7..]);
    let descriptor = |media_type: &str, content: &[u8]| json!({"mediaType": media_type, "digest": digest::of(content), "size": content.len()});
    for (name, layers) in images {
        let config = config(layers, name);
        let stored: Vec<Vec<u8>> = layers
            .iter()
            .map(|layer| if together.is_compressed { gzip(layer) } else { layer.clone() })
            .collect();
        let ending = if together.is_compressed { "+gzip" } else { "" };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{ending}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": stored.iter().map(|layer| descriptor(&media_type, layer)).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit_once(':').unwrap().1,
        });
        entries.push(entry);
        list.push(json!({
            "Config": path(&config), "RepoTags": [name],
            "Layers": stored.iter().map(|layer| path(layer)).collect::<Vec<_>>(),
        }));
        documents.extend([config, manifest].map(|content| (path(&content), content)));
        blobs.extend(stored.into_iter().map(|content| (path(&content), content)));
    }
    let index = json!({"schemaVersion": 2, "manifests": entries});
    for (name, content) in [("index.json", index), ("manifest.json", json!(list))] {
        documents.push((name.to_owned(), content.to_string().into_bytes()));
    }
    let files = if together.names_first { [documents, blobs] } else { [blobs, documents] };
    tar(&files.concat())
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, content).unwrap();
    gzip.finish().unwrap()
}

/// What `docker save` writes from engine 25 on, with a blob in each layer's place and under its own digest, or under
/// another blob's.
pub(crate) fn saved_as(layers: &[Vec<u8>], blobs: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let config = config(layers, "as");
    let path = |content: &[u8]| format!("blobs/sha256/{}", &digest::of(content)[7..]);
    let paths: Vec<String> = blobs.iter().map(|(named, _)| path(named)).collect();
    let list = json!([{"Config": path(&config), "RepoTags": ["app:v1"], "Layers": paths}]);
    let mut files: Vec<(String, Vec<u8>)> =
        paths.into_iter().zip(blobs.iter().map(|(_, content)| content.clone())).collect();
    files.push((path(&config), config));
    files.push(("manifest.json".to_owned(), list.to_string().into_bytes()));
    tar(&files)
}

/// What crane and jib write: layers in gzip, whose names say nothing. They should be those of the configuration.
pub(crate) fn saved_compressed(configured: &[Vec<u8>], layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(configured, "compressed");
    let mut files = vec![("config.json".to_owned(), config)];
    let mut paths = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        paths.push(format!("{number}.tar.gz"));
        files.push((paths[number].clone(), gzip(layer)));
    }
    let list = json!([{"Config": "config.json", "RepoTags": ["app:v1"], "Layers": paths}]);
    files.push(("manifest.json".to_owned(), list.to_string().into_bytes()));
    tar(&files)
}

/// What `docker save` wrote before: a folder a layer, of names that say nothing, and a link for a repeated layer.
pub(crate) fn saved_classically(layers: &[Vec<u8>], note: &str) -> Vec<u8> {
    let config = config(layers, note);
    let name = format!("{}.json", &digest::of(&config)[7..]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut paths: Vec<String> = Vec::new();
    let append = |builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).unwrap();
    };
    for (number, layer) in layers.iter().enumerate() {
        let path = format!("{:064x}/layer.tar", number + 1);
        if let Some(same) = layers[..number].iter().rposition(|other| other == layer) {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, &path, format!("../{}", paths[same])).unwrap();
        } else {
            append(&mut builder, &path, layer);
        }
        paths.push(path);
    }
    append(&mut builder, &name, &config);
    let list = json!([{"Config": name, "RepoTags": ["app:v1"], "Layers": paths}]);
    append(&mut builder, "manifest.json", list.to_string().as_bytes());
    builder.into_inner().unwrap()
}

/// An OCI layout with an index of two platforms and an attestation; the digest of the index.
pub(crate) fn layout(folder: &Path, layers: &[Vec<u8>]) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let store = |media_type: &str, content: &[u8]| {
        let digest = digest::of(content);
        fs::write(blobs.join(&digest[7..]), content).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    };
    let manifest = |platform: &str, layers: &[Vec<u8>]| {
        let config = store("application/vnd.oci.image.config.v1+json", &config(layers, platform));
        let layers: Vec<Value> =
            layers.iter().map(|layer| store("application/vnd.oci.image.layer.v1.tar", layer)).collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let body = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
        let mut entry = store(media_type, body.to_string().as_bytes());
        entry["platform"] = json!({"os": "linux", "architecture": platform});
        entry
    };
    let manifests = [manifest("amd64", layers), manifest("arm64", &layers[1..]), manifest("unknown", &[])];
    let media_type = "application/vnd.oci.image.index.v1+json";
    let body = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    let root = store(media_type, body.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    digest::of(body.to_string().as_bytes())
}

/// The archive of a folder.
pub(crate) fn archive(folder: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", folder).unwrap();
    builder.into_inner().unwrap()
}
