//! Errors that teach: what is there when nothing was found, and what was found when it was too much.

use std::collections::BTreeSet;

use serde_json::json;
use step::{Failure, FailureKind};

use crate::actions::has_actions;
use crate::finder::{images_of, owner_of};
use crate::images::{Image, Owner, Place};
use crate::patch::{Hit, Request, Source};
use crate::position::{Position, Positions};
use crate::refusal::{Located, Refusal};
use crate::select::{Target, Value, Where};
use crate::template::{image_lines, owner};
use crate::yaml::{Document, Expanded, Granit};

/// More than these are not listed.
const MOST_LISTED: usize = 20;

/// Nothing fits the target.
pub fn nothing_found(target: &Target, sources: &[Source], request: &Request) -> Failure {
    let mut there = There::default();
    for source in sources {
        if let Err(located) = there.look(source, request) {
            return Failure::from(located);
        }
    }
    let files: Vec<&str> = sources.iter().take(3).map(|source| source.name.as_str()).collect();
    let more = if sources.len() > 3 { " …" } else { "" };
    let message = format!("no {} in {}{more}", wanted(target), files.join(", "));
    let nearest = there.nearest(target);
    let mut hint = nearest.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let mut refusal = json!({ "type": "noMatch", "nearest": nearest, "there": there.images });
    if !there.images.is_empty() {
        hint.push_str("there are: ");
        hint.push_str(&listed(&there.images));
    } else if request.scope.is_narrow() && !there.objects.is_empty() {
        hint.push_str("--kind, --name and --doc leave no image; there are: ");
        hint.push_str(&listed(&there.objects));
        refusal["objects"] = json!(there.objects);
    } else {
        hint.push_str("there are no images at all");
    }
    Failure::message(FailureKind::Input, step::printable(&message))
        .hint(step::printable(&hint))
        .with("refusal", refusal)
}

/// Images of several repositories fit a target that means one.
pub fn several_found(target: &Target, hits: &[&Hit]) -> Failure {
    let places: Vec<String> = hits.iter().map(|hit| format!("{} ({})", hit.place, hit.now)).collect();
    let message = format!("{} means {} images: {}", wanted(target), hits.len(), listed(&places));
    Failure::message(FailureKind::Input, step::printable(&message))
        .hint("narrow it by --kind, --name or --doc, or set them --all")
        .with("refusal", json!({ "type": "severalMatches", "there": places }))
}

fn listed(images: &[String]) -> String {
    let more = if images.len() > MOST_LISTED { "; …" } else { "" };
    let first = &images[..images.len().min(MOST_LISTED)];
    format!("{}{more}", first.join("; "))
}

fn wanted(target: &Target) -> String {
    match (&target.place, &target.value) {
        (Where::Repository, Value::Image(image)) => format!("image of {}", image.repository()),
        (Where::Repository, Value::Text(text)) => format!("image {text}"),
        (Where::Container(name), _) => format!("container `{name}`"),
        (Where::Policy(policy), _) => format!("value marked with the image policy `{policy}`"),
        (Where::At(path), _) => format!("value at {path}"),
    }
}

/// The objects of a document: those of a list, one by one.
fn objects_of<'d>(document: &'d Document<'_>) -> impl Iterator<Item = Owner<'d>> {
    let items = document.get(Document::ROOT, "items").map(|items| document.items(items).collect::<Vec<_>>());
    let objects = items.filter(|items| !items.is_empty()).unwrap_or_else(|| vec![Document::ROOT]);
    objects.into_iter().map(|object| owner_of(document, object))
}

/// What the files have.
#[derive(Default)]
struct There {
    images: Vec<String>,
    /// All objects, in whatever scope.
    objects: Vec<String>,
    names: BTreeSet<String>,
    repositories: BTreeSet<String>,
}

impl There {
    fn look(&mut self, source: &Source, request: &Request) -> Result<(), Located> {
        let file = &source.name;
        let located = |position, refusal| Located { file: file.clone(), position, refusal };
        let text = std::str::from_utf8(&source.bytes)
            .map_err(|_| located(Position { line: 1, column: 1 }, Refusal::NotUtf8))?;
        let positions = Positions::of(text, 1);
        let documents = match Document::read_all::<Granit<'_>>(text) {
            Ok(documents) => documents,
            Err(_) if has_actions(text) => {
                self.objects.push(format!("{file} {}", owner(text)).trim_end().to_owned());
                self.add_lines(file, text, &positions);
                return Ok(());
            }
            Err(error) => return Err(located(positions.at(error.offset), Refusal::Syntax(error.message))),
        };
        for (number, document) in documents.iter().enumerate() {
            self.objects.extend(
                objects_of(document)
                    .map(|object| format!("{file} document {number} {object}").trim_end().to_owned()),
            );
            if request.scope.has_document(number) {
                let expanded = Expanded::of(document).unwrap_or_else(|| Expanded::unchanged(document));
                let document = expanded.document();
                for image in images_of(document).iter().filter(|image| request.scope.has(&image.owner)) {
                    let start = document.node(image.node()).bytes.start;
                    self.add(document, image, &format!("{file}:{}", positions.at(start)));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, document: &Document<'_>, image: &Image<'_>, place: &str) {
        self.names.extend(image.name.map(ToOwned::to_owned));
        self.repositories.extend(image.repository(document).map(|own| own.repository()));
        let text = match image.place {
            Place::Absent(_) => "no image key".to_owned(),
            _ => image.text(document),
        };
        self.images.push(format!("{place} {image} ({text})"));
    }

    fn add_lines(&mut self, file: &str, template: &str, positions: &Positions<'_>) {
        for line in image_lines(template) {
            self.names.extend(line.name.map(ToOwned::to_owned));
            self.repositories.extend(line.repository().map(|own| own.repository()));
            let position = positions.at(line.bytes.start);
            self.images.push(format!("{file}:{position} {} ({})", line.name.unwrap_or("image"), line.value));
        }
    }

    fn nearest(&self, target: &Target) -> Option<&str> {
        let (wanted, names) = match (&target.place, &target.value) {
            (Where::Container(name) | Where::Policy(name), _) => (name.clone(), &self.names),
            (Where::Repository, Value::Image(image)) => (image.repository(), &self.repositories),
            _ => return None,
        };
        let near = |name: &&String| strsim::jaro_winkler(name, &wanted);
        let best = names.iter().max_by(|a, b| near(a).total_cmp(&near(b)))?;
        (near(&best) > 0.75).then_some(best)
    }
}
