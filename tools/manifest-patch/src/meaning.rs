//! What a second parser (`serde_yaml`, of libyaml's line as Kubernetes' own) takes a text for.
//!
//! `serde_yaml::Value` has no room for integers of more than 64 bits, which manifests may have, so the values are of a
//! type of our own.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer that is below zero or not too large for this.
    Integer(i128),
    /// An integer that is larger.
    Large(u128),
    /// A number with a fraction or an exponent, by its bits: one that is not a number equals itself here.
    Float(u64),
    /// A string.
    Text(String),
    /// A sequence.
    Sequence(Vec<Self>),
    /// A mapping, in its order.
    Mapping(Vec<(Self, Self)>),
    /// A value with a tag that is not YAML's own.
    Tagged(String, Box<Self>),
}

impl Meaning {
    /// The documents of a text. Reading stops at the first error: behind one, `serde_yaml` repeats it for ever.
    pub fn read_all(text: &str) -> Result<Vec<Self>, String> {
        // It counts a byte order mark as a column, and then finds the first key indented.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = without_surrogates(text);
        let mut values = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            values.push(Self::deserialize(document).map_err(|error| error.to_string())?);
        }
        Ok(values)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value at the end of a way of ordinals.
    pub fn descend(&mut self, ordinals: &[usize]) -> Option<&mut Self> {
        let mut value = self;
        for &ordinal in ordinals {
            while let Self::Tagged(_, tagged) = value {
                value = tagged;
            }
            value = match value {
                Self::Sequence(items) => items.get_mut(ordinal)?,
                Self::Mapping(entries) => &mut entries.get_mut(ordinal)?.1,
                _ => return None,
            };
        }
        Some(value)
    }
}

/// The text with each character that JSON writes as two surrogates in itself: libyaml takes no surrogates.
fn without_surrogates(text: &str) -> Cow<'_, str> {
    let is_high = |at: usize| matches!(text.as_bytes().get(at + 2), Some(b'd' | b'D'));
    if !text.match_indices("\\u").any(|(at, _)| is_high(at)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = if let Some(character) = pair(rest) {
            out.push(character);
            PAIR
        } else {
            // A backslash and what it escapes stay together.
            let taken = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..taken]);
            taken
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// How long two escapes of four digits are.
const PAIR: usize = 12;

/// The character that the text begins with as two escapes.
fn pair(text: &str) -> Option<char> {
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix("\\u")?, 16).ok();
    let units = [unit(text.get(..PAIR / 2)?)?, unit(text.get(PAIR / 2..PAIR)?)?];
    let mut characters = char::decode_utf16(units);
    let character = characters.next()?.ok()?;
    characters.next().is_none().then_some(character)
}

impl<'de> Deserialize<'de> for Meaning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Meaning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Meaning, E> {
        Ok(Meaning::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Meaning, E> {
        Ok(Meaning::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Meaning, D::Error> {
        Meaning::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Meaning, E> {
        Ok(Meaning::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Meaning, E> {
        Ok(Meaning::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Meaning, E> {
        Ok(Meaning::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Meaning, E> {
        Ok(Meaning::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Meaning, E> {
        Ok(i128::try_from(value).map_or(Meaning::Large(value), Meaning::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Meaning, E> {
        Ok(Meaning::Float(value.to_bits()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Meaning, E> {
        Ok(Meaning::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Meaning, E> {
        Ok(Meaning::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Meaning, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Meaning::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Meaning, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Meaning::Mapping(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Meaning, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        Ok(Meaning::Tagged(tag, Box::new(content.newtype_variant()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Meaning {
        Meaning::read_all(text).unwrap().remove(0)
    }

    #[test]
    fn large_integers_are_told_apart() {
        let large = "340282366920938463463374607431768211455";
        assert_eq!(one(large), Meaning::Large(u128::MAX));
        assert_eq!(one("18446744073709551616"), Meaning::Integer(1 << 64));
        assert_ne!(one("-18446744073709551616"), one("-18446744073709551617"));
        assert_eq!(one(".nan"), one(".nan"));
        assert_eq!(one("!t 1"), Meaning::Tagged("t".to_owned(), Box::new(Meaning::Integer(1))));
    }

    #[test]
    fn surrogates_are_read_in_pairs() {
        assert_eq!(one(r#""\ud83d\uDE80 x""#), Meaning::Text("🚀 x".to_owned()));
        assert_eq!(one(r#""\\ud83d\\ude80 \u00e9""#), Meaning::Text(r"\ud83d\ude80 é".to_owned()));
        for broken in [r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\ude80\ud83d""#] {
            assert!(Meaning::read_all(broken).is_err(), "{broken}");
        }
    }
}
