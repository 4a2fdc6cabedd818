//! From a tag back to the commit, and what is said where there is none or several.

use crate::{Place, UNPACK_LIMIT, two_blobs_that_look_alike};

#[test]
fn verify_leads_from_a_tag_back_to_the_commit() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let full = place.done(&folder, &["rev-parse", "HEAD"]);
    let short = place.done(&folder, &["rev-parse", "--short", "HEAD"]);
    let says = |words: &[&str]| {
        let output = place.imgtag(&folder, words);
        (output.status.code(), String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    };
    let found = (Some(0), full.clone());
    let image = format!("registry.test:5000/team/app:{short}");
    for tag in [short.as_str(), &full, &image, &format!("{image}@sha256:{}", "0".repeat(64))] {
        assert_eq!(says(&["verify", tag]), found, "{tag}");
    }
    assert_eq!(says(&["--prefix", "v-", "verify", &format!("v-{short}")]), found);
    assert_eq!(says(&["verify", &format!("r.test/a:{short}-dirty")]), found);
    assert_eq!(says(&["--dirty=.wip", "verify", &format!("{short}.wip")]), found);
    let json = format!(r#"{{"schema":"imgtag/v1","tag":"{short}","commit":"{full}"}}"#);
    assert_eq!(says(&["-o", "json", "verify", &short]), (Some(0), json));
    let nothing = r#"{"schema":"imgtag/v1","tag":"0123456789","commit":null}"#.to_owned();
    assert_eq!(says(&["-o", "json", "verify", "0123456789"]), (Some(1), nothing));
    let no = (Some(1), String::new());
    let tree = place.done(&folder, &["rev-parse", "HEAD^{tree}"]);
    for tag in ["0123456789", "main", "", &tree, &format!("{short}-wip"), &format!("v-{short}")] {
        assert_eq!(says(&["verify", tag]), no, "{tag}");
    }
    let start = two_blobs_that_look_alike(&place, &folder);
    assert_eq!(says(&["verify", &start]), no);
    for wrong in [&["HEAD", "main"][..], &["--tree", "verify", &short]] {
        assert_eq!(says(wrong).0, Some(2), "{wrong:?}");
    }
    // A branch of that name can still be asked for.
    place.done(&folder, &["branch", "verify", "HEAD~1"]);
    place.same_as_git(&folder, &["verify", "refs/heads/verify"]);
}

/// What a shallow clone does not have may be before its end.
#[test]
fn verify_tells_no_from_not_here() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let url = format!("file://{}", folder.display());
    place.done(place.home.path(), &["clone", "-q", "--depth", "2", &url, "shallow"]);
    let shallow = place.path("shallow");
    let of = |revision: &str| place.done(&folder, &["rev-parse", "--short", revision]);
    let verified = |tag: &str| place.imgtag(&shallow, &["verify", tag]);
    assert_eq!(verified(&of("HEAD~1")).status.code(), Some(0));
    for tag in [of("HEAD~5"), place.done(&folder, &["rev-parse", "HEAD~5"])] {
        let output = verified(&tag);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{error}");
        assert!(error.contains(&tag) && error.contains("fetch more, in GitLab with GIT_DEPTH: 0"), "{error}");
    }
    let tree = place.done(&folder, &["rev-parse", "HEAD^{tree}"]);
    for tag in ["main", "", "v-0123456789", &tree] {
        assert_eq!(verified(tag).status.code(), Some(1), "{tag}");
    }
}

/// A terminal obeys what stands in a commit's subject.
#[test]
fn control_characters_of_subjects_are_escaped() {
    let place = Place::new();
    let folder = place.repository("r", &[]);
    let subject = "\x1b[2Jgone";
    let stream = (1..=1_000).fold(String::new(), |stream, number| {
        let message = format!("{subject} {number}\n");
        let length = message.len();
        stream
            + &format!(
                "commit refs/heads/many\ncommitter a <a@b.test> {number} +0000\ndata {length}\n{message}\n"
            )
    });
    place.fast_import(&folder, UNPACK_LIMIT, &stream);
    let ids = place.done(&folder, &["rev-list", "many"]);
    let mut seen = std::collections::HashSet::new();
    let start = ids.lines().map(|id| &id[..4]).find(|start| !seen.insert(*start)).unwrap();
    for words in [&["verify", start][..], &[start]] {
        let said = String::from_utf8(place.imgtag(&folder, words).stderr).unwrap();
        assert!(said.contains(r"\x1b[2Jgone") && !said.contains('\x1b'), "{said}");
    }
}
