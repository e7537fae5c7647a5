//! `export`: the targets of an instance as manifests that adopt them.
//!
//! What is printed depends on nothing but the targets, so that two exports can be compared: sorted, without dates and
//! without secrets, and each under a name that no other target can change. What the definitions would refuse is left
//! out and told. May import `api` and `zitadel`.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::check::judge::{Judge, Verdict};
use super::zitadel::ZitadelArgs;
use crate::api::names::Timeout;
use crate::api::{GROUP, VERSION};
use crate::zitadel::transport::Settings;
use crate::zitadel::{Client, Kind, OnError, PayloadType, RemoteTarget};

/// Longest part of a name that comes from the target's own.
const SLUG: usize = 63;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    zitadel: ZitadelArgs,

    /// Namespace to write into every manifest; without it, kubectl's own decides
    #[arg(long, value_name = "NAME", value_parser = super::namespace)]
    namespace: Option<String>,

    /// Connection to write into every manifest, such as Connection/zitadel or ClusterConnection/zitadel; without it, the
    /// operator's default connection
    #[arg(long, value_name = "KIND/NAME", value_parser = reference)]
    connection_ref: Option<Value>,
}

fn reference(text: &str) -> Result<Value, String> {
    match text.split_once('/') {
        Some((kind @ ("Connection" | "ClusterConnection"), name)) if !name.is_empty() && !name.contains('/') => {
            Ok(json!({"kind": kind, "name": name}))
        }
        _ => Err("write Connection/NAME or ClusterConnection/NAME".to_owned()),
    }
}

impl Export {
    /// What the client needs.
    ///
    /// # Errors
    /// One line about what is missing or does not go together.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let none = "error: say which ZITADEL to read: --zitadel-url and a credential such as --zitadel-token-file (see --help)";
        self.zitadel.settings()?.ok_or_else(|| none.to_owned())
    }

    /// Reads the instance and prints.
    ///
    /// # Errors
    /// When ZITADEL cannot be read, or standard output is closed.
    pub(super) fn run(&self, settings: Settings) -> anyhow::Result<()> {
        let client = Client::new(self.zitadel.api(), settings, Box::new(|_, _, _| {}));
        let read = async {
            client.connect().await?;
            client.list().await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let targets = runtime.block_on(read).with_context(|| format!("cannot read the targets of {}", client.url()))?;
        let (manifests, left_out) = self.manifests(targets)?;
        let mut out = std::io::stdout().lock();
        for manifest in &manifests {
            write!(out, "---\n{}", serde_saphyr::to_string(manifest)?)?;
        }
        out.flush()?;
        let mut told = std::io::stderr().lock();
        for line in &left_out {
            writeln!(told, "left out: {line}")?;
        }
        writeln!(told, "{} targets exported, {} left out", manifests.len(), left_out.len())?;
        Ok(())
    }

    /// The manifests in their order, and a line about each target that there can be none for.
    fn manifests(&self, mut targets: Vec<RemoteTarget>) -> anyhow::Result<(Vec<Value>, Vec<String>)> {
        let judge = Judge::new()?;
        targets.sort_by(|a, b| a.id.cmp(&b.id));
        // A page that shifted while the list was read shows a target twice.
        targets.dedup_by(|a, b| a.id == b.id);
        let mut named: Vec<_> = names(&targets).into_iter().zip(&targets).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut manifests, mut left_out) = (Vec::new(), Vec::new());
        for (name, target) in named {
            let why = match self.manifest(&name, target) {
                Ok(manifest) => match judge.judge(&manifest)? {
                    Verdict::Judged(flaws) if flaws.is_empty() => {
                        manifests.push(manifest);
                        continue;
                    }
                    Verdict::Judged(flaws) => {
                        let told: Vec<_> =
                            flaws.iter().map(|flaw| format!("{}: {}", flaw.field(), flaw.message)).collect();
                        told.join("; ")
                    }
                    Verdict::Skipped => "this version has no kind for it".to_owned(),
                },
                Err(why) => why,
            };
            left_out.push(format!("{} {}: {why}", target.id, printable(&target.name)));
        }
        Ok((manifests, left_out))
    }

    fn manifest(&self, name: &str, target: &RemoteTarget) -> Result<Value, String> {
        let mut metadata = Map::from_iter([("name".to_owned(), json!(name))]);
        if let Some(namespace) = &self.namespace {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        let mut spec = Map::from_iter([
            ("name".to_owned(), json!(target.name)),
            ("timeout".to_owned(), json!(timeout(target)?)),
            ("endpoint".to_owned(), json!(target.endpoint)),
            ("externalId".to_owned(), json!(target.id.as_str())),
        ]);
        let interrupting = |on_error: OnError| json!({"interruptOnError": on_error == OnError::Interrupt});
        let (field, value) = match target.kind.ok_or("its kind is one that this version does not know")? {
            Kind::Webhook(on_error) => ("restWebhook", interrupting(on_error)),
            Kind::Call(on_error) => ("restCall", interrupting(on_error)),
            Kind::Async => ("restAsync", json!({})),
        };
        spec.insert(field.to_owned(), value);
        let payload = target.payload_type.ok_or("its payload type is one that this version does not know")?;
        let payload = match payload {
            PayloadType::Json => None,
            PayloadType::Jwt => Some("JWT"),
            PayloadType::Jwe => Some("JWE"),
        };
        spec.extend(payload.map(|word| ("payloadType".to_owned(), json!(word))));
        spec.extend(self.connection_ref.clone().map(|reference| ("connectionRef".to_owned(), reference)));
        let api = format!("{GROUP}/{VERSION}");
        Ok(json!({"apiVersion": api, "kind": "Target", "metadata": metadata, "spec": spec}))
    }
}

/// The timeout as a manifest writes it.
fn timeout(target: &RemoteTarget) -> Result<String, String> {
    let exact = format!("{}.{:09}s", target.timeout.as_secs(), target.timeout.subsec_nanos());
    let parsed: Timeout = exact.parse().map_err(|_| format!("a timeout of {exact} cannot be written in a manifest"))?;
    Ok(parsed.to_string())
}

/// Text of somebody else's, for a terminal.
fn printable(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let ellipsis = if short == text { "" } else { "..." };
    format!("{short:?}{ellipsis}")
}

/// A name for each target. It comes from the target alone and is the target's own where that fits; otherwise the id makes
/// it unique. So no other target, come or gone, changes it.
fn names(targets: &[RemoteTarget]) -> Vec<String> {
    let own: Vec<_> = targets.iter().map(|target| own_name(&target.name, target.id.as_str())).collect();
    let mut seen = BTreeSet::new();
    // Two can still meet: one target may be called as another is named here. The id settles it, not the order.
    let twice: BTreeSet<_> = own.iter().filter(|name| !seen.insert(*name)).cloned().collect();
    let settled = |(name, target): (String, &RemoteTarget)| {
        if twice.contains(&name) { with_id(&slug(&target.name), target.id.as_str(), "x-") } else { name }
    };
    own.into_iter().zip(targets).map(settled).collect()
}

fn own_name(name: &str, id: &str) -> String {
    let slug = slug(name);
    // ZITADEL tells names apart without regard to case.
    if slug == name.to_ascii_lowercase() && slug.len() <= SLUG { slug } else { with_id(&slug, id, "") }
}

fn with_id(slug: &str, id: &str, mark: &str) -> String {
    let id = id.to_ascii_lowercase().replace('_', "-");
    let room = SLUG.saturating_sub(id.len() + mark.len() + 1);
    let kept = slug.get(..room.min(slug.len())).unwrap_or_default().trim_end_matches('-');
    let kept = if kept.is_empty() { "target" } else { kept };
    format!("{mark}{kept}-{}", id.trim_end_matches('-'))
}

/// Lower-case letters and digits with single dashes between: what Kubernetes takes of a name.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("audit-webhook", "audit-webhook")]
    #[case("Audit-Webhook", "audit-webhook")]
    #[case("Audit Webhook", "audit-webhook-42")]
    #[case("audit--webhook", "audit-webhook-42")]
    #[case("-audit", "audit-42")]
    #[case("Über", "ber-42")]
    #[case("日本", "target-42")]
    fn a_target_keeps_its_name_where_kubernetes_takes_it(#[case] name: &str, #[case] manifest: &str) {
        assert_eq!(own_name(name, "42"), manifest);
    }

    #[test]
    fn long_names_keep_their_id() {
        let long = own_name(&"a".repeat(200), "270112345678901234");
        assert!(long.ends_with("a-270112345678901234") && long.len() <= SLUG, "{long}");
        assert_eq!(own_name(&"b".repeat(SLUG), "1"), "b".repeat(SLUG));
    }
}
