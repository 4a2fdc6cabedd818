//! Errors that teach: what is there when nothing was found, and what was found when it was too much.

use std::collections::BTreeSet;

use step::{Failure, FailureKind};

use crate::images::{Image, Place, images_of};
use crate::patch::{Hit, Request, Source};
use crate::refusal::{Located, Refusal};
use crate::select::{Target, Value, Where};
use crate::template::{image_lines, is_template};
use crate::yaml::{Document, Granit};

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
    let mut hint = there.nearest(target).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    if there.images.is_empty() {
        hint.push_str("there are no images at all, as far as the options let see");
    } else {
        hint.push_str("there are: ");
        hint.push_str(&there.images.iter().take(MOST_LISTED).cloned().collect::<Vec<_>>().join("; "));
        if there.images.len() > MOST_LISTED {
            hint.push_str("; …");
        }
    }
    Failure::message(FailureKind::Input, message).hint(hint)
}

/// Images of several repositories fit a target that means one.
pub fn several_found(target: &Target, hits: &[&Hit]) -> Failure {
    let places: Vec<String> =
        hits.iter().take(MOST_LISTED).map(|hit| format!("{} ({})", hit.place, hit.now)).collect();
    let message = format!("{} means {} images: {}", wanted(target), hits.len(), places.join("; "));
    Failure::message(FailureKind::Input, message)
        .hint("narrow it by --kind, --name or --doc, or set them --all")
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

/// What the files have.
#[derive(Default)]
struct There {
    images: Vec<String>,
    names: BTreeSet<String>,
    repositories: BTreeSet<String>,
}

impl There {
    fn look(&mut self, source: &Source, request: &Request) -> Result<(), Located> {
        let at = |line: usize, column: usize, refusal: Refusal| Located {
            file: source.name.clone(),
            line,
            column,
            refusal,
        };
        let text = std::str::from_utf8(&source.bytes).map_err(|_| at(1, 1, Refusal::NotUtf8))?;
        let documents = match Document::read_all::<Granit<'_>>(text) {
            Ok(documents) => documents,
            Err(_) if is_template(text) => {
                self.add_lines(text);
                return Ok(());
            }
            Err(error) => {
                let before = &text[..text.floor_char_boundary(error.offset)];
                let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
                let line = before.matches('\n').count() + 1;
                return Err(at(line, column, Refusal::Syntax(error.message)));
            }
        };
        for (number, document) in documents.iter().enumerate() {
            if request.scope.has_document(number) {
                for image in images_of(document) {
                    if request.scope.has(&image.owner) && self.images.len() <= MOST_LISTED {
                        self.add(document, &image);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, document: &Document<'_>, image: &Image<'_>) {
        self.names.extend(image.name.map(ToOwned::to_owned));
        self.repositories.extend(image.repository(document).map(|own| own.repository()));
        let text = match image.place {
            Place::Absent(_) => "no image key".to_owned(),
            _ => image.text(document),
        };
        self.images.push(format!("{image} ({text})"));
    }

    fn add_lines(&mut self, template: &str) {
        for line in image_lines(template).into_iter().take(MOST_LISTED) {
            self.names.extend(line.name.map(ToOwned::to_owned));
            self.repositories.extend(line.repository().map(|own| own.repository()));
            self.images.push(format!("{} ({})", line.name.unwrap_or("image"), line.value));
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
