//! JSON read as it streams by: objects whose members are handed on one by one.
//!
//! `serde_json` keeps the nesting below 128 by itself; [`Guarded`] keeps strings short.

use std::fmt;
use std::io::{self, BufReader, Read};

use memchr::memchr2;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::error::ReportError;
use crate::input::Input;

/// The longest string of a report: a path, a name, a source map.
const MAX_STRING: usize = 16 * 1024 * 1024;

/// Takes the members of an object in the order in which they come.
pub(super) trait Members {
    /// Takes the value of one member from `map`.
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    /// Called after the last member.
    fn end(&mut self) {}
}

/// Reads a report that is one object.
pub(super) fn read(input: Input, members: &mut impl Members) -> Result<(), ReportError> {
    let guarded = Guarded { input, string: 0, in_string: false, escaped: false };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 * 1024, guarded));
    Object(members).deserialize(&mut json)?;
    Ok(json.end()?)
}

/// An object, as a seed.
pub(super) struct Object<'a, M>(pub(super) &'a mut M);

impl<'de, M: Members> DeserializeSeed<'de> for Object<'_, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, M: Members> Visitor<'de> for Object<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.0.member(&key, &mut map)?;
        }
        self.0.end();
        Ok(())
    }
}

/// An array of objects of one kind, as a seed.
pub(super) struct Objects<'a, M>(pub(super) &'a mut M);

impl<'de, M: Members> DeserializeSeed<'de> for Objects<'_, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, M: Members> Visitor<'de> for Objects<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Object(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// An array whose items are handed on one by one, as a seed.
pub(super) struct Items<T, F>(F, std::marker::PhantomData<T>);

impl<T, F: FnMut(T) -> Result<(), String>> Items<T, F> {
    pub(super) fn each(take: F) -> Self {
        Self(take, std::marker::PhantomData)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), String>> DeserializeSeed<'de> for Items<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), String>> Visitor<'de> for Items<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Passes over a value that is of no interest.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

/// How often something was hit: a number, or a mark for what is no code (`null`, `"ignored"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hits(pub(super) Option<bool>);

impl<'de> Deserialize<'de> for Hits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Hits;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hits or null")
            }

            fn visit_u64<E: Error>(self, hits: u64) -> Result<Hits, E> {
                Ok(Hits(Some(hits > 0)))
            }

            fn visit_i64<E: Error>(self, hits: i64) -> Result<Hits, E> {
                Ok(Hits(Some(hits > 0)))
            }

            fn visit_f64<E: Error>(self, hits: f64) -> Result<Hits, E> {
                Ok(Hits(Some(hits > 0.0)))
            }

            fn visit_bool<E: Error>(self, hit: bool) -> Result<Hits, E> {
                Ok(Hits(Some(hit)))
            }

            fn visit_unit<E: Error>(self) -> Result<Hits, E> {
                Ok(Hits(None))
            }

            fn visit_str<E: Error>(self, _mark: &str) -> Result<Hits, E> {
                Ok(Hits(None))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// The bytes of a JSON text, as long as no string in it is longer than any real one.
struct Guarded {
    input: Input,
    string: usize,
    in_string: bool,
    escaped: bool,
}

impl Read for Guarded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        let mut rest = &out[..read];
        if self.escaped && !rest.is_empty() {
            self.escaped = false;
            rest = &rest[1..];
        }
        while let Some(at) = memchr2(b'"', b'\\', rest) {
            self.string += at;
            if rest[at] == b'"' {
                self.in_string = !self.in_string;
                self.string = 0;
                rest = &rest[at + 1..];
            } else {
                self.escaped = rest.len() == at + 1;
                rest = rest.get(at + 2..).unwrap_or_default();
            }
        }
        self.string = if self.in_string { self.string + rest.len() } else { 0 };
        if self.string > MAX_STRING {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("a string is longer than {MAX_STRING} bytes before byte {}", self.input.offset()),
            ));
        }
        Ok(read)
    }
}
