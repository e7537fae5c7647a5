//! Reading answers of a server that may be hostile: straight into the shape of the call, never into generic JSON, whose
//! small elements cost a hundred times their length (1.5 GiB were seen for 16 MiB).

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most elements of one list: more than a server gives that was not told to (`MaxQueryLimit`, 1000 unless configured).
const MOST_ROWS: usize = 10_000;
/// Longest word that is kept.
const LONGEST_WORD: usize = 1024;

/// The body of an answer.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Body(Vec<u8>);

/// An answer may carry a key: its content is nobody's to show.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Body {
    /// A body, if it is JSON; else the bytes.
    pub(super) fn json(bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        match serde_json::from_slice::<IgnoredAny>(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(bytes),
        }
    }

    /// Its content in this shape; the complaint names the call's answer, never its content.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.0).map_err(|error| format!("not the expected JSON: {error}"))
    }

    /// Its content in this shape, which looks into parts of it more than once.
    pub(super) fn parse_borrowed<'de, T: Deserialize<'de>>(&'de self) -> Result<T, String> {
        serde_json::from_slice(&self.0).map_err(|error| format!("not the expected JSON: {error}"))
    }
}

#[cfg(test)]
impl From<serde_json::Value> for Body {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

/// A list of bounded length.
#[derive(Debug)]
pub(super) struct Rows<T>(pub Vec<T>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor(PhantomData))
    }
}

struct RowsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for RowsVisitor<T> {
    type Value = Rows<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST_ROWS} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element()? {
            if rows.len() == MOST_ROWS {
                return Err(A::Error::custom(format!("more than {MOST_ROWS} elements in a list")));
            }
            rows.push(row);
        }
        Ok(Rows(rows))
    }
}

/// A text of bounded length, where one is expected; anything else is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word(pub Option<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Word, E> {
        Ok(Word(Some(text).filter(|text| text.len() <= LONGEST_WORD).map(str::to_owned)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_unit<E>(self) -> Result<Word, E> {
        Ok(Word(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Word, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word(None))
    }
}

/// One object read as two: what serde's `flatten` does, without keeping every unknown field meanwhile.
#[derive(Debug)]
pub(super) struct Both<A, B>(pub A, pub B);

impl<'de, A: Deserialize<'de>, B: Deserialize<'de>> Deserialize<'de> for Both<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let first = serde_json::from_str(raw).map_err(D::Error::custom)?;
        Ok(Self(first, serde_json::from_str(raw).map_err(D::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_too_many_elements_is_no_answer() {
        let tiny = format!("[{}0]", "0,".repeat(MOST_ROWS));
        let error = Body::json(tiny.into_bytes()).unwrap().parse::<Rows<u8>>().unwrap_err();
        assert!(error.contains("more than 10000 elements"), "{error}");
    }

    #[test]
    fn a_word_is_a_short_text_or_none() {
        let word = |value: serde_json::Value| Body::from(value).parse::<Word>().unwrap().0;
        assert_eq!(word(json!("a")).as_deref(), Some("a"));
        for other in
            [json!("a".repeat(2000)), json!(1), json!(-1.5), json!(null), json!([[{}]]), json!({"a": {"b": []}})]
        {
            assert_eq!(word(other), None);
        }
    }

    #[test]
    fn what_is_said_of_a_body_is_its_length() {
        assert_eq!(format!("{:?}", Body::json(br#"{"signingKey": "x"}"#.to_vec()).unwrap()), "19 bytes");
        assert_eq!(Body::json(b"<html>".to_vec()), Err(b"<html>".to_vec()));
    }
}
