//! Compares an answer with the recorded one. Values that are random on every server (ids, dates, keys, the generated
//! domain) are paired at first sight; later the same recorded value must meet the same own value and the other way
//! round, so referential equality is checked.

use std::collections::HashMap;

use serde_json::Value;

/// Pairs of recorded and own random values.
#[derive(Default)]
pub struct Pairs {
    own: HashMap<String, String>,
    recorded: HashMap<String, String>,
}

impl Pairs {
    /// True when the two may be the same value.
    pub fn bind(&mut self, recorded: &str, own: &str) -> bool {
        let known = self.own.entry(recorded.to_owned()).or_insert_with(|| own.to_owned()).clone();
        let back = self.recorded.entry(own.to_owned()).or_insert_with(|| recorded.to_owned()).clone();
        known == own && back == recorded
    }

    /// Replaces every recorded id in a path or a body by the own one.
    pub fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, own) in self.own.iter().filter(|(recorded, _)| is_id(recorded)) {
            text = text.replace(recorded.as_str(), own);
        }
        text
    }

    /// The own value for a recorded one.
    pub fn own(&self, recorded: &str) -> Option<&str> {
        self.own.get(recorded).map(String::as_str)
    }
}

/// 18 digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 18 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    text.ends_with('Z') && text.contains('T') && text.parse::<jiff::Timestamp>().is_ok() && !text.starts_with("0001-")
}

fn is_generated_domain(text: &str) -> bool {
    text.starts_with("zitadel-") && text.ends_with(".localhost") && text.len() == "zitadel-abcdef.localhost".len()
}

/// Compares two bodies and returns what differs, one line each, with its place. `truncated_from`: the recorder kept
/// only the first rows of a longer list and wrote down its length.
pub fn compare(pairs: &mut Pairs, recorded: &Value, own: &Value, truncated_from: Option<usize>) -> Vec<String> {
    let mut comparison = Comparison { pairs, truncated_from, differences: Vec::new() };
    comparison.value("", recorded, own);
    comparison.differences
}

struct Comparison<'a> {
    pairs: &'a mut Pairs,
    truncated_from: Option<usize>,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn value(&mut self, place: &str, recorded: &Value, own: &Value) {
        match (recorded, own) {
            (Value::Object(left), Value::Object(right)) => {
                for (key, value) in left {
                    match right.get(key) {
                        Some(other) => self.value(&format!("{place}.{key}"), value, other),
                        None => self.differs(format!("{place}.{key} is missing, recorded {value}")),
                    }
                }
                for key in right.keys().filter(|key| !left.contains_key(*key)) {
                    self.differs(format!("{place}.{key} is too much: {}", right[key]));
                }
            }
            (Value::Array(left), Value::Array(right)) => {
                let expected = self.truncated_from.filter(|_| left.len() == 3).unwrap_or(left.len());
                if right.len() != expected {
                    self.differs(format!("{place} has {} elements, recorded {expected}", right.len()));
                }
                for (at, (value, other)) in left.iter().zip(right).enumerate() {
                    self.value(&format!("{place}[{at}]"), value, other);
                }
            }
            (Value::String(left), Value::String(right)) => self.string(place, left, right),
            _ if recorded == own => {}
            _ => self.differs(format!("{place} is {own}, recorded {recorded}")),
        }
    }

    fn string(&mut self, place: &str, recorded: &str, own: &str) {
        if recorded == "<signingKey>" {
            if own.len() != 36 || !own.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                self.differs(format!("{place} is no signing key: {own:?}"));
            }
            return;
        }
        if recorded == "<token>" {
            if own.is_empty() {
                self.differs(format!("{place} is no token"));
            }
            return;
        }
        // protobuf-go picks one of two spaces for its errors when it is built, so that nobody relies on them.
        let recorded = recorded.replacen("proto:\u{a0}", "proto: ", 1);
        let recorded = recorded.as_str();
        let random = [is_id, is_date, is_generated_domain].into_iter().any(|kind| kind(recorded) && kind(own));
        let same = if random { self.pairs.bind(recorded, own) } else { recorded == own };
        if !same {
            let known = self.pairs.own(recorded).map(|own| format!(", paired with {own}")).unwrap_or_default();
            self.differs(format!("{place} is {own:?}, recorded {recorded:?}{known}"));
        }
    }

    fn differs(&mut self, text: String) {
        self.differences.push(text);
    }
}

#[test]
fn what_differs_is_found() {
    let recorded = serde_json::json!({"id": "400000000000000001", "name": "a", "rows": [1, 2], "key": "<signingKey>"});
    let key = "k".repeat(36);
    let own = serde_json::json!({"id": "500000000000000001", "name": "a", "rows": [1, 2], "key": key});
    let pairs = &mut Pairs::default();
    assert_eq!(compare(pairs, &recorded, &own, None), Vec::<String>::new());
    for (field, value) in [
        ("id", "500000000000000002".into()),
        ("name", 1.into()),
        ("rows", serde_json::json!([1])),
        ("key", "short".into()),
    ] {
        let mut other = own.clone();
        other[field] = value;
        assert_eq!(compare(pairs, &recorded, &other, None).len(), 1, "{field}");
    }
    assert_eq!(compare(pairs, &recorded, &serde_json::json!({"more": 1}), None).len(), 5);
}

#[test]
fn pairs_hold_both_ways() {
    let pairs = &mut Pairs::default();
    assert!(pairs.bind("a", "x") && pairs.bind("b", "y") && pairs.bind("a", "x"));
    assert!(!pairs.bind("a", "y") && !pairs.bind("c", "x"));
}
