//! Image references as they are given: on the command line, or one a line as imgpush prints them.

use std::collections::HashSet;
use std::io::Read;

use image_reference::{ImageReference, ReferenceError};
use step::{Failure, FailureKind, ResultExt, split_userinfo, url_without_credentials};

/// The references, each once; `-` stands for those on stdin.
pub fn read(given: &[String], mut stdin: impl Read) -> Result<Vec<ImageReference>, Failure> {
    let mut images = Vec::new();
    for image in given {
        if image == "-" {
            let mut text = String::new();
            let read = stdin.read_to_string(&mut text);
            read.or_fail_with(FailureKind::Input, || "can't read references from stdin")?;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                images.push(parse(line.trim(), FailureKind::Input, format!("stdin:{}", number + 1))?);
            }
            if images.is_empty() {
                return Err(Failure::message(FailureKind::Input, "stdin has no image reference").hint(
                    "did the step before, e.g. imgpush, fail? `set -o pipefail` stops a script there",
                ));
            }
        } else {
            images.push(parse(image, FailureKind::Usage, "--image".to_owned())?);
        }
    }
    let mut known = HashSet::new();
    images.retain(|image| known.insert(image.clone()));
    Ok(images)
}

/// A reference. What was given for one may be a URL, with a password that no error may show.
pub fn parse(text: &str, kind: FailureKind, place: String) -> Result<ImageReference, Failure> {
    text.parse().map_err(|error: ReferenceError| {
        let is_digest = |text: &str| text.starts_with("sha256:") || text.starts_with("sha512:");
        let has_digest = text.rsplit_once('@').is_some_and(|(_, digest)| is_digest(digest));
        let shown = match text.contains("://") {
            true => url_without_credentials(text),
            false if has_digest => text.to_owned(),
            false => split_userinfo(text).1.to_owned(),
        };
        if shown == text && !text.contains("://") {
            return Failure::new(kind, error).context(place);
        }
        let message = format!("{place}: `{shown}` is given as a URL, not as an image reference");
        let hint = "a reference is REGISTRY/REPOSITORY:TAG@DIGEST, without a scheme, a user and a password";
        Failure::message(kind, message).hint(hint)
    })
}

/// Which of two images of one repository a container should get can't be told.
pub fn refuse_same_repository(images: &[ImageReference]) -> Result<(), Failure> {
    for (number, image) in images.iter().enumerate() {
        if let Some(other) = images[..number].iter().find(|other| other.same_repository(image)) {
            let message = format!("{other} and {image} are of one repository");
            return Err(
                Failure::message(FailureKind::Usage, message).hint("NAME=REF gives each container its image")
            );
        }
    }
    Ok(())
}
