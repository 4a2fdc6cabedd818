//! Which layer is which in an export of docker's classic store.
//!
//! Engines before 25 name the folder of each layer by an id of the image format of 2014, and write the folders
//! in the order of these ids. The id of every layer but the top one follows from the diff ids alone
//! (moby `image/v1/imagev1.go`, `CreateID`), so a layer is known before its first byte.

use crate::digest;

/// The container configuration of an image that never had one, as Go writes it.
const NO_CONFIGURATION: &str = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#;

/// The folders of all layers but the top one, each with its diff id.
pub(super) fn folders(diff_ids: &[String]) -> Vec<(String, String)> {
    let below_the_top = diff_ids.len().saturating_sub(1);
    let mut parent = String::new();
    let mut folders = Vec::with_capacity(below_the_top);
    let below = &diff_ids[..below_the_top];
    for (diff_id, chain) in below.iter().zip(digest::chain_ids(below)) {
        let parent_field = if parent.is_empty() { String::new() } else { format!(r#","parent":"{parent}""#) };
        let image = format!(
            r#"{{"container_config":{NO_CONFIGURATION},"created":"1970-01-01T00:00:00Z","layer_id":"{chain}"{parent_field}}}"#
        );
        parent = digest::of(image.as_bytes());
        folders.push((parent.trim_start_matches("sha256:").to_owned(), diff_id.clone()));
    }
    folders
}
