//! YAML (and so JSON) with the line of every field.
//!
//! Reads as `kubectl` does: documents end at a line that begins with `---`, and words are those of YAML 1.1, where
//! `yes` is true and `010` is eight. No knowledge of what the documents mean.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    /// What it says; never null.
    pub value: Value,
    /// Line of each field, by JSON pointer.
    pub lines: BTreeMap<String, u64>,
}

/// A document that cannot be read.
#[derive(Debug)]
pub(super) struct Broken {
    /// Where.
    pub line: u64,
    /// Why.
    pub message: String,
}

/// The documents of a file. Empty ones are left out.
pub(super) fn documents(text: &str) -> Vec<Result<Document, Broken>> {
    chunks(text).into_iter().filter_map(|(first, chunk)| document(&chunk, first).transpose()).collect()
}

/// The text between separators, with the number of lines before it.
fn chunks(text: &str) -> Vec<(u64, String)> {
    let mut chunks = vec![(0, String::new())];
    for (number, line) in (0..).zip(text.lines()) {
        if line.starts_with("---") {
            chunks.push((number, String::new()));
        }
        if let Some((_, chunk)) = chunks.last_mut() {
            chunk.push_str(line);
            chunk.push('\n');
        }
    }
    chunks
}

fn document(chunk: &str, before: u64) -> Result<Option<Document>, Broken> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(chunk, options).map_err(|error| Broken {
        line: before + error.location().map_or(1, |location| location.line()),
        message: one_line(&error.without_snippet().to_string()),
    })?;
    let mut lines = BTreeMap::new();
    let value = flatten(root.value, before + root.referenced.line(), before, &mut String::new(), &mut lines);
    Ok((!value.is_null()).then_some(Document { value, lines }))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The value without its lines; those go into `lines`.
fn flatten(node: Node, line: u64, before: u64, at: &mut String, lines: &mut BTreeMap<String, u64>) -> Value {
    lines.insert(at.clone(), line);
    let end = at.len();
    match node {
        Node::Leaf(value) => value,
        Node::List(items) => {
            let flat = |(index, item): (usize, Spanned<Node>)| {
                *at = step(&at[..end], &index.to_string());
                flatten(item.value, before + item.referenced.line(), before, at, lines)
            };
            Value::Array(items.into_iter().enumerate().map(flat).collect())
        }
        Node::Map(fields) => {
            let mut map = Map::new();
            for (key, field) in fields {
                *at = step(&at[..end], &key.value);
                let value = flatten(field.value, before + key.referenced.line(), before, at, lines);
                map.insert(key.value, value);
            }
            Value::Object(map)
        }
    }
}

/// A JSON pointer, one step further.
pub(super) fn step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A value whose children know where they are.
#[derive(Debug)]
enum Node {
    Leaf(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("the number is not finite"))?;
        Ok(Node::Leaf(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_has_the_line_of_its_key() {
        let text = "# first\na:\n  b: yes\n  c:\n  - 010\n  - {d/e: x}\n---\n---\nf: |\n  y\ng: *none\n---\nh: 1\n";
        let all = documents(text);
        let first = all[0].as_ref().unwrap();
        assert_eq!(first.value, json!({"a": {"b": true, "c": [8, {"d/e": "x"}]}}));
        for (pointer, line) in [("/a", 2), ("/a/b", 3), ("/a/c", 4), ("/a/c/0", 5), ("/a/c/1/d~1e", 6)] {
            assert_eq!(first.lines[pointer], line, "{pointer}");
        }
        let broken = all[1].as_ref().unwrap_err();
        assert_eq!(broken.line, 11, "{broken:?}");
        let last = all[2].as_ref().unwrap();
        assert_eq!((&last.value, last.lines["/h"]), (&json!({"h": 1}), 13));
        assert_eq!(all.len(), 3, "the empty document is none");
    }

    #[test]
    fn json_is_yaml_and_a_field_written_twice_is_none() {
        let all = documents("{\n\t\"a\": {\n\t\t\"b\": null\n\t}\n}\n");
        assert_eq!(all[0].as_ref().unwrap().lines["/a/b"], 3);
        assert!(documents("a: 1\na: 2\n")[0].as_ref().is_err_and(|broken| broken.line == 2));
    }
}
