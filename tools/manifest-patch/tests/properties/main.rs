//! Properties of edits, over generated and damaged manifests.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]
#![allow(clippy::format_push_string, reason = "a generator reads better so")]

mod checks;
mod generate;
mod hard_cases;
mod saphyr;

use std::time::{Duration, Instant};

use checks::{edit_and_back, patch, same_events, target, whole_images};
use generate::{Random, manifest};
use manifest_patch::refusal::Refusal;
use manifest_patch::select::Where;

#[test]
fn an_edit_and_its_reverse_give_the_original() {
    let mut edits = 0;
    for seed in 1..=80 {
        let text = manifest(&mut Random::new(seed));
        same_events(&text);
        let images = whole_images(&text);
        assert!(!images.is_empty(), "{text}");
        for image in images {
            for tag in ["v2", "1.10", "a-much-longer-tag_than.before"] {
                let changed = edit_and_back(&text, &image, tag);
                edits += changed.unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}\n{text}"));
            }
        }
    }
    assert!(edits > 500, "{edits}");
}

#[test]
fn a_second_run_changes_nothing() {
    for seed in 1..=60 {
        let text = manifest(&mut Random::new(seed));
        for name in ["c0", "c1"] {
            let Ok((_, once)) = patch(&text, vec![target(Where::Container(name.to_owned()), "new.test/x:2")])
            else {
                continue;
            };
            let (outcome, twice) =
                patch(&once, vec![target(Where::Container(name.to_owned()), "new.test/x:2")]).unwrap();
            assert_eq!(once, twice);
            assert!(outcome.changes.is_empty());
        }
    }
}

/// Damages 300 manifests, or as many as fit into `MANIFEST_PATCH_FUZZ_SECONDS`.
#[test]
fn damaged_manifests_are_edited_rightly_or_refused() {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the tool")]
    let seconds =
        std::env::var("MANIFEST_PATCH_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut edited, mut refused) = (0_u64, 0_u64);
    for seed in 7_000_001.. {
        if seed > 7_000_300 && Instant::now() >= end {
            break;
        }
        let mut random = Random::new(seed);
        let text = damage(&manifest(&mut random), &mut random);
        for image in whole_images(&text) {
            match edit_and_back(&text, &image, "v2") {
                Ok(_) => edited += 1,
                Err(Refusal::Verification(what)) => panic!("seed {seed}: {what}\n{text}"),
                Err(_) => refused += 1,
            }
        }
        // Names find places that hold no reference at all.
        match patch(&text, vec![target(Where::Container("c0".to_owned()), "new.test/x:1.10")]) {
            Err(Refusal::Verification(what)) => panic!("seed {seed}: {what}\n{text}"),
            Err(_) => refused += 1,
            Ok(_) => edited += 1,
        }
    }
    assert!(edited > 100 && refused > 10, "{edited} edited, {refused} refused");
}

/// Bytes removed, doubled, swapped or put in: the characters that mean something to YAML.
fn damage(text: &str, random: &mut Random) -> String {
    const MEANING: [&str; 24] = [
        ":", "- ", "#", " #", "'", "\"", "{", "}", "[", "]", ",", "&a ", "*a", "!x ", "|", ">", "\t", "\r",
        "\n", "  ", "<<: *a\n", "%", "\u{85}", "é",
    ];
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(characters.len().max(1));
        match random.below(4) {
            0 if at < characters.len() => drop(characters.remove(at)),
            1 if at < characters.len() => characters.insert(at, characters[at]),
            2 if at + 1 < characters.len() => characters.swap(at, at + 1),
            _ => {
                let put = random.pick(&MEANING);
                let at = at.min(characters.len());
                characters.splice(at..at, put.chars());
            }
        }
    }
    characters.into_iter().collect()
}
