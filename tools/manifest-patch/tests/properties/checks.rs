//! What holds of every edit of every text.

use image_reference::ImageReference;
use manifest_patch::finder::images_of;
use manifest_patch::gate::Answer;
use manifest_patch::images::Place;
use manifest_patch::patch::{Outcome, Request, Source, patch_all};
use manifest_patch::refusal::Refusal;
use manifest_patch::select::{Target, Value, Where};
use manifest_patch::yaml::{Document, Granit};

use crate::saphyr::Saphyr;

pub(crate) fn target(place: Where, image: &str) -> Target {
    Target { place, value: Value::Image(image.parse().unwrap()) }
}

pub(crate) fn patch(text: &str, targets: Vec<Target>) -> Result<(Outcome, String), Refusal> {
    let sources = [Source { name: "test".to_owned(), bytes: text.as_bytes().to_vec() }];
    let request = Request { targets, ..Request::default() };
    let outcome = patch_all(&sources, &request, None).map_err(|located| located.refusal)?.remove(0);
    let after = String::from_utf8(outcome.apply(text.as_bytes())).unwrap();
    Ok((outcome, after))
}

/// The images of a text that are written as one scalar and are references.
pub(crate) fn whole_images(text: &str) -> Vec<ImageReference> {
    let documents = Document::read_all::<Granit<'_>>(text).unwrap_or_default();
    let mut images: Vec<ImageReference> = Vec::new();
    for document in &documents {
        for image in images_of(document) {
            let Place::Whole(node) = image.place else { continue };
            let reference =
                document.text_of(node).and_then(|text| text.trim_end().parse::<ImageReference>().ok());
            if let Some(reference) = reference
                && !images.iter().any(|other| other.same_repository(&reference))
            {
                images.push(reference);
            }
        }
    }
    images
}

/// Edits one image, and edits it back. Panics where the result is not what it must be; refusals are
/// returned, since they are answers too.
pub(crate) fn edit_and_back(text: &str, image: &ImageReference, new_tag: &str) -> Result<usize, Refusal> {
    let new = format!("{}:{new_tag}", image.repository());
    let (outcome, after) = patch(text, vec![target(Where::Repository, &new)])?;
    let whole: Vec<_> = outcome.changes.iter().collect();
    let grown: isize =
        whole.iter().map(|change| change.text.len().cast_signed() - change.bytes.len().cast_signed()).sum();
    assert_eq!(
        after.len().cast_signed() - text.len().cast_signed(),
        grown,
        "the length differs by the values'"
    );
    same_events(&after);
    let mut answer = Answer::default();
    answer.compare_texts("test", text, &after);
    assert!(answer.only_images(), "{:?}\nbefore: {text:?}\nafter: {after:?}", answer.others);
    assert_eq!(answer.images.len(), whole.len(), "verify finds the same changes");
    // Back to what each value was; they may have had different tags.
    let mut back = after.clone();
    for change in whole.iter().rev() {
        let shift: isize = whole
            .iter()
            .take_while(|other| other.bytes.start < change.bytes.start)
            .map(|other| other.text.len().cast_signed() - other.bytes.len().cast_signed())
            .sum();
        let start = change.bytes.start.checked_add_signed(shift).unwrap();
        assert_eq!(&after[start..start + change.text.len()], change.text);
        back.replace_range(start..start + change.text.len(), &text[change.bytes.clone()]);
    }
    assert_eq!(back, text);
    let olds: std::collections::BTreeSet<&str> = whole.iter().map(|change| change.old.as_str()).collect();
    // Where all had one value, the tool itself brings the original back, byte for byte.
    let is_image = olds.first().is_some_and(|old| old.parse::<ImageReference>().is_ok());
    let plain = whole.iter().all(|change| {
        let old = &text[change.bytes.clone()];
        // The tool quotes what may be read as another type, and with a tag, or by luck, was not.
        let before = text[..change.bytes.start].split_whitespace().next_back();
        let tagged = before.is_some_and(|word| word.starts_with('!'));
        let is_word = change.old.starts_with(|c: char| c.is_ascii_alphabetic());
        !tagged && is_word && (old == change.old || old.trim_matches(['"', '\'']) == change.old)
    });
    if let (1, true, true, Some(old)) = (olds.len(), is_image, plain, olds.first()) {
        let (_, restored) = patch(&after, vec![target(Where::Repository, old)])?;
        assert_eq!(restored, text, "editing back must give the original");
    }
    Ok(whole.len())
}

/// Both parsers read the same events, styles and values.
pub(crate) fn same_events(text: &str) {
    let granit = Document::read_all::<Granit<'_>>(text);
    let saphyr = Document::read_all::<Saphyr<'_>>(text);
    let (Ok(granit), Ok(saphyr)) = (granit, saphyr) else { return };
    assert_eq!(granit.len(), saphyr.len());
    for (one, other) in granit.iter().zip(&saphyr) {
        let content = |document: &Document<'_>| -> Vec<_> {
            document
                .nodes()
                .iter()
                .map(|node| (format!("{:?}", node.content), node.properties.clone()))
                .collect()
        };
        assert_eq!(content(one), content(other), "{text}");
    }
}
