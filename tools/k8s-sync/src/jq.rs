//! Path expressions of jq: which places of an object they mean.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use serde_json::Value;

/// A place in an object: each word is a key or an index.
pub(crate) type Place = Vec<String>;

type Compiled = Filter<data::JustLut<Val>>;

/// Says what is wrong with an expression that jq does not read.
pub(crate) fn check(path: &str) -> Result<(), String> {
    compile(path).map(drop)
}

/// The places that a path expression means, whether or not anything is there.
pub(crate) fn places(path: &str, object: &Value) -> Result<Vec<Place>, String> {
    let filter = compile(path)?;
    let wrong = |error: &dyn std::fmt::Display| format!("`{path}`: {error}");
    let input = read::parse_single(object.to_string().as_bytes()).map_err(|error| wrong(&error))?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let mut places = Vec::new();
    for found in filter.id.run((context, input)).map(unwrap_valr) {
        let found = found.map_err(|error| wrong(&error))?.to_string();
        let words: Vec<Value> = serde_json::from_str(&found).map_err(|error| wrong(&error))?;
        let word = |word: &Value| match word {
            Value::String(key) => Some(key.clone()),
            Value::Number(index) => Some(index.to_string()),
            // A slice, which is no place of its own.
            _ => None,
        };
        places.extend(words.iter().map(word).collect::<Option<Place>>());
    }
    Ok(places)
}

fn compile(path: &str) -> Result<Compiled, String> {
    // On a line of its own, so that a comment in it ends.
    let code = format!("path({path}\n)");
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let wrong = |problem: String| format!("`{path}` is not an expression of jq: {problem}");
    let modules = Loader::new(definitions)
        .load(&arena, File { code: &code, path: () })
        .map_err(|_| wrong("it can't be parsed".to_owned()))?;
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let unknown = errors.iter().flat_map(|(_, errors)| errors).map(|(name, _)| (*name).to_owned());
        wrong(format!("it has no {}", unknown.collect::<Vec<_>>().join(", ")))
    })
}
