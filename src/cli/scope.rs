//! Which Targets this operator cares for: namespaces and a label selector, so that several operators can share the work.

use clap::Args;
use kube::core::{Expression, Selector};

#[derive(Debug, Args)]
pub(super) struct ScopeArgs {
    /// Namespaces to watch, separated by commas; all by default
    #[arg(long, env = "WATCH_NAMESPACES", value_name = "NAMES", value_delimiter = ',', value_parser = super::namespace)]
    watch_namespaces: Vec<String>,

    /// Labels that a Target needs to be cared for, as for `kubectl get -l`; every Target by default
    #[arg(long, env = "WATCH_LABEL_SELECTOR", value_name = "SELECTOR", default_value = "", value_parser = selector)]
    watch_label_selector: Selector,
}

impl ScopeArgs {
    /// The namespaces to watch, each once: two watches of one would run two passes over the same object at a time.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let named: std::collections::BTreeSet<_> =
            self.watch_namespaces.iter().filter(|name| !name.is_empty()).collect();
        named.into_iter().cloned().collect()
    }

    /// The labels that a Target needs.
    pub(super) fn labels(&self) -> Selector {
        self.watch_label_selector.clone()
    }
}

/// A label selector as kubectl reads it: `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`,
/// separated by commas.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    let mut selector = Selector::default();
    for requirement in requirements(text) {
        let parsed = expression(requirement.trim()).ok_or_else(|| {
            format!("{requirement:?} is no requirement; write key=value, key!=value, key, !key, key in (a,b) or key notin (a,b)")
        })?;
        selector.extend([parsed]);
    }
    Ok(selector)
}

/// The text between commas that stand in no parentheses; nothing of an empty text.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    if text.trim().is_empty() { Vec::new() } else { parts.collect() }
}

fn expression(text: &str) -> Option<Expression> {
    if let Some((key, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = values.split(',').map(|value| label(value.trim())).collect::<Option<_>>()?;
        let (key, operator) = key.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Expression::In(name(key.trim())?, values)),
            "notin" => Some(Expression::NotIn(name(key.trim())?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(name(key.trim())?, label(value.trim())?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(name(key.trim())?, label(value.trim())?));
    }
    match text.strip_prefix('!') {
        Some(key) => name(key.trim()).map(Expression::DoesNotExist),
        None => name(text).map(Expression::Exists),
    }
}

/// A label's key: a name, which a domain may stand before (Kubernetes: "Labels and selectors").
fn name(text: &str) -> Option<String> {
    let (domain, name) = text.rsplit_once('/').map_or((None, text), |(domain, name)| (Some(domain), name));
    let domain = domain.is_none_or(|domain| {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        !domain.is_empty() && domain.len() <= 253 && domain.bytes().all(valid)
    });
    (domain && !name.is_empty()).then(|| label(name)).flatten().map(|_| text.to_owned())
}

/// A label's value; may be empty.
fn label(text: &str) -> Option<String> {
    let valid = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let ends = [text.bytes().next(), text.bytes().last()];
    let ends = ends.into_iter().flatten().all(|b| b.is_ascii_alphanumeric());
    (valid && ends && text.len() <= 63).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "")]
    #[case("team=identity", "team=identity")]
    #[case("team == identity, !legacy", "team=identity,!legacy")]
    #[case("example.com/shard in (a, b),tier", "example.com/shard in (a,b),tier")]
    #[case("shard notin (a)", "shard notin (a)")]
    #[case("shard!=a", "shard!=a")]
    #[case("shard=", "shard=")]
    fn selectors(#[case] given: &str, #[case] read: &str) {
        assert_eq!(selector(given).unwrap().to_string(), read);
    }

    #[rstest]
    #[case("a b")]
    #[case("=a")]
    #[case("shard in a,b")]
    #[case("shard in (a")]
    #[case("shard of (a)")]
    #[case("shard=a;b")]
    #[case("shard=-a")]
    #[case("a,,b")]
    #[case("/a")]
    fn no_selectors(#[case] given: &str) {
        assert!(selector(given).unwrap_err().contains("is no requirement"));
    }
}
