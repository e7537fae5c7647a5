//! Connections, as far as they are decided without I/O: what stands between a Target and its connection, what a
//! connection's status says, and when a connection that is being deleted may go.
//!
//! Pure, as the rest of the room: the shell reads Secrets and calls ZITADEL, and tells what came of it.

use jiff::Timestamp;

use super::facts::Connection;
use super::known::{Known, reported, shared, well};
use super::status::in_time;
use super::{Note, NoteKind, Retry, Verdict};
use crate::api::condition::{ConditionType, Health, also, conditions, find};
use crate::api::connection::{ConnectionKind, ConnectionRef, ConnectionReport};
use crate::api::reason::Reason;
use crate::api::target::ConnectionStatus;
use crate::zitadel::Error;

/// Most users that a message names.
const NAMED: usize = 3;

/// Why a Target has no connection to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The Target names none, and the operator has none of its own.
    NoDefault,
    /// There is none of this name.
    Missing(ConnectionRef),
    /// No connection of this kind can be read.
    Unread(ConnectionKind),
    /// It is being deleted, and takes nothing new.
    Going(ConnectionRef),
    /// It does not allow the Target's namespace.
    Foreign(ConnectionRef),
    /// The operator's own does not.
    Reserved,
    /// It (the operator's own, if none is named) does not let the Target's namespace take over existing targets.
    NotAdopting(Option<ConnectionRef>),
    /// The operator refuses the connection's own spec.
    Refused(ConnectionRef, String),
}

impl Obstacle {
    /// The label.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoDefault | Self::Missing(_) | Self::Unread(_) | Self::Going(_) => Reason::ConnectionNotFound,
            Self::Foreign(_) | Self::Reserved | Self::NotAdopting(_) | Self::Refused(..) => {
                Reason::ConnectionNotAllowed
            }
        }
    }

    /// What the user should know and do. It tells no more of a connection than that it exists.
    #[must_use]
    pub fn advice(&self) -> String {
        let shown = |reference: &ConnectionRef| format!("{} {}", reference.kind.as_str(), reference.name);
        match self {
            Self::NoDefault => "this operator has no default connection: name one in spec.connectionRef, or give the \
                                operator one (--zitadel-url and a credential; zitadel.url in its chart)"
                .to_owned(),
            Self::Missing(reference) if reference.kind == ConnectionKind::Connection => {
                format!("there is no {} in this namespace: create it, or correct spec.connectionRef", shown(reference))
            }
            Self::Missing(reference) => {
                format!("there is no {}: create it, or correct spec.connectionRef", shown(reference))
            }
            Self::Unread(kind) => format!(
                "{}s cannot be read: their definition is not installed, or the operator may not list and watch them, or was \
                 started for some namespaces only",
                kind.as_str()
            ),
            Self::Going(reference) => {
                format!("the {} is being deleted and takes no new Target: choose another one", shown(reference))
            }
            Self::Foreign(reference) => format!(
                "the {} does not allow this namespace: an administrator can add it to its spec.allowedNamespaces",
                shown(reference)
            ),
            Self::Reserved => "the operator's default connection does not allow this namespace: an administrator can add it to \
                               --allowed-namespaces (zitadel.allowedNamespaces in its chart), or name another connection in \
                               spec.connectionRef"
                .to_owned(),
            Self::NotAdopting(Some(reference)) => format!(
                "spec.externalId takes over an existing target, which the {} does not allow this namespace: an administrator \
                 can add it to its spec.adoption.allowedNamespaces",
                shown(reference)
            ),
            Self::NotAdopting(None) => "spec.externalId takes over an existing target, which the operator's default connection \
                                        does not allow this namespace: an administrator can add it to \
                                        --adoption-namespaces (zitadel.adoption.allowedNamespaces in its chart)"
                .to_owned(),
            Self::Refused(reference, why) => format!("the {} is refused: {why}", shown(reference)),
        }
    }
}

impl Verdict {
    /// The id was learned by a Connection that is not in use any more.
    #[must_use]
    pub fn hearsay() -> Self {
        let text = "the target was recorded by another Connection, and what a Connection's server says counts for that \
                    Connection alone; nothing is touched: set spec.connectionRef back, or delete this object with \
                    deletionPolicy Retain and create it anew with externalId";
        Self::stalled(Reason::InstanceChanged, text.to_owned())
    }

    /// There is no connection to ask.
    #[must_use]
    pub fn unconnected(obstacle: &Obstacle) -> Self {
        let note = Note { kind: NoteKind::Failed(obstacle.reason()), text: obstacle.advice() };
        Self {
            health: Health::Reconciling,
            reason: obstacle.reason(),
            message: obstacle.advice(),
            retry: Retry::BackOff,
            remote: None,
            note: Some(note),
        }
    }
}

/// Whether what status records came by a namespace's own Connection that is not the one in use any more. Whoever may
/// write that Connection chose the server which said so: its word, the id included, counts nowhere else.
pub(super) fn is_hearsay(recorded: Option<&ConnectionStatus>, connection: &Connection) -> bool {
    let by = recorded.and_then(|recorded| recorded.reference.as_ref());
    by.is_some_and(|by| by.kind == ConnectionKind::Connection && connection.reference.as_ref() != Some(by))
}

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It was not asked yet, or has to be asked again.
    Due,
    /// It works.
    Up(Box<Known>),
    /// It does not.
    Down(Error),
    /// The operator refuses its spec.
    Refused(String),
}

/// A connection, as a pass over it sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Whether deletion was requested.
    pub deleting: bool,
    /// Whether our finalizer is on it.
    pub finalized: bool,
    /// The Targets (namespace/name) that need it to end well.
    pub users: &'a [String],
    /// What is known of it.
    pub look: &'a Look,
}

/// What to do with a connection next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put the finalizer on.
    Hold,
    /// Take the finalizer off: the object may go.
    Release,
    /// Ask ZITADEL.
    Ask,
    /// Write this to status.
    Report(Report),
    /// The object is none of our business any more.
    Ignore,
}

/// What status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which conditions.
    pub health: Health,
    /// Their reason.
    pub reason: Reason,
    /// Their message.
    pub message: String,
    /// What answers, if it was learned.
    pub known: Option<Box<Known>>,
    /// The text of the Event on a transition.
    pub note: String,
}

/// The next step.
#[must_use]
pub fn plan(view: &View<'_>) -> Step {
    match (view.deleting, view.finalized, view.users) {
        (true, false, _) => return Step::Ignore,
        (true, true, []) => return Step::Release,
        (true, true, users) => return Step::Report(in_use(users)),
        (false, false, _) => return Step::Hold,
        (false, true, _) => {}
    }
    match view.look {
        Look::Due => Step::Ask,
        Look::Up(known) => {
            Step::Report(Report { known: Some(known.clone()), ..report(Health::Ready, Reason::Available, well(known)) })
        }
        Look::Down(error) => Step::Report(Report {
            note: error.to_string(),
            ..report(Health::Reconciling, error.reason(), error.advice())
        }),
        Look::Refused(why) => Step::Report(report(Health::Stalled, Reason::InvalidSpec, format!("spec.{why}"))),
    }
}

fn report(health: Health, reason: Reason, message: String) -> Report {
    Report { health, reason, note: message.clone(), message, known: None }
}

/// Held back, so that the deletion of what it made can finish.
fn in_use(users: &[String]) -> Report {
    let mut named: Vec<&str> = users.iter().map(String::as_str).collect();
    named.sort_unstable();
    let more = if named.len() > NAMED { " and more" } else { "" };
    named.truncate(NAMED);
    let message = format!(
        "deletion waits: still needed by the Targets {}{more}; delete them, or give them another connection",
        named.join(", ")
    );
    // Not Reconciling: nothing is being tried, so there is no deadline either.
    report(Health::Idle, Reason::InUse, message)
}

/// The status after `report`. `now` is in our own clock.
#[must_use]
pub fn render(previous: &ConnectionReport, report: &Report, generation: i64, now: Timestamp) -> ConnectionReport {
    let mut status = previous.clone();
    if let Some(Known { identity, issuer, .. }) = report.known.as_deref() {
        status.api = Some(identity.api.to_string());
        status.instance.clone_from(&identity.instance);
        status.issuer.clone_from(issuer);
        status.server_version.clone_from(&identity.server_version);
        status.capabilities = Some(reported(identity.capabilities));
    }
    let health = in_time(&previous.conditions, report.health, generation, now);
    status.observed_generation = Some(generation);
    status.conditions = conditions(&previous.conditions, health, report.reason, &report.message, generation, now);
    let kind = ConditionType::AccountShared;
    match &report.known {
        Some(known) => status.conditions.extend(
            shared(known).map(|text| also(&previous.conditions, kind, "ForeignWrites", &text, generation, now)),
        ),
        // Nothing was learned: what was known stays.
        None => status.conditions.extend(find(&previous.conditions, kind).cloned()),
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zitadel::{Api, Capabilities, Identity};

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn up() -> Look {
        let identity = Identity {
            api: Api::V2,
            instance: Some("i".into()),
            user: Some("u".into()),
            server_version: Some("v4.13.1".into()),
            capabilities: Capabilities::ALL,
        };
        let issuer = Some("https://auth.example.com".into());
        Look::Up(Box::new(Known { identity, issuer, unobserved: None, stranger: None }))
    }

    fn view<'a>(look: &'a Look, users: &'a [String]) -> View<'a> {
        View { deleting: false, finalized: true, users, look }
    }

    #[test]
    fn a_connection_is_held_before_it_is_used() {
        assert_eq!(plan(&View { finalized: false, ..view(&Look::Due, &[]) }), Step::Hold);
        assert_eq!(plan(&view(&Look::Due, &[])), Step::Ask);
    }

    #[test]
    fn a_deleted_connection_waits_for_its_users_and_then_goes() {
        let users = ["a/1".to_owned(), "b/2".to_owned(), "c/3".to_owned(), "d/4".to_owned()];
        let (look, deleting) = (up(), |users| View { deleting: true, ..view(&Look::Due, users) });
        let Step::Report(report) = plan(&deleting(&users)) else { panic!("it must be held back") };
        assert_eq!((report.reason, report.health), (Reason::InUse, Health::Idle));
        assert!(report.message.contains("a/1, b/2, c/3 and more"), "{}", report.message);
        assert_eq!(plan(&deleting(&[])), Step::Release);
        assert_eq!(plan(&View { deleting: true, finalized: false, ..view(&look, &users) }), Step::Ignore);
    }

    #[test]
    fn the_report_tells_what_answers_and_keeps_it_through_an_outage() {
        let Step::Report(well) = plan(&view(&up(), &[])) else { panic!("a report") };
        let status = render(&ConnectionReport::default(), &well, 1, now());
        assert_eq!((status.api.as_deref(), status.instance.as_deref()), (Some("v2"), Some("i")));
        assert_eq!(status.issuer.as_deref(), Some("https://auth.example.com"));
        assert_eq!(render(&status, &well, 1, now()), status, "nothing moves when nothing happens");
        let down = Look::Down(Error::Connect("refused".into()));
        let Step::Report(ill) = plan(&view(&down, &[])) else { panic!("a report") };
        let after = render(&status, &ill, 1, now());
        assert_eq!(after.instance, status.instance);
        assert_eq!(find(&after.conditions, ConditionType::Reconciling).unwrap().reason, "ZitadelUnavailable");
        let late = now().checked_add(jiff::SignedDuration::from_mins(11)).unwrap();
        let late = render(&after, &ill, 1, late);
        assert_eq!(find(&late.conditions, ConditionType::Stalled).unwrap().reason, "ProgressDeadlineExceeded");
        let ready = find(&late.conditions, ConditionType::Ready).unwrap();
        assert_eq!((ready.reason.as_str(), &ready.message), ("ZitadelUnavailable", &ill.message), "the cause stays");
    }

    #[test]
    fn a_foreign_namespace_learns_nothing_but_that() {
        let reference = ConnectionRef { kind: ConnectionKind::ClusterConnection, name: "shared".into() };
        let verdict = Verdict::unconnected(&Obstacle::Foreign(reference));
        assert_eq!(verdict.reason, Reason::ConnectionNotAllowed);
        assert!(verdict.message.contains("ClusterConnection shared does not allow this namespace"));
    }

    #[test]
    fn a_refusal_names_what_an_administrator_has_to_change() {
        let shared = ConnectionRef { kind: ConnectionKind::ClusterConnection, name: "shared".into() };
        for (obstacle, named) in [
            (Obstacle::Reserved, vec!["--allowed-namespaces", "zitadel.allowedNamespaces"]),
            (Obstacle::NotAdopting(None), vec!["--adoption-namespaces", "zitadel.adoption.allowedNamespaces"]),
            (Obstacle::Foreign(shared.clone()), vec!["ClusterConnection shared", "spec.allowedNamespaces"]),
            (Obstacle::NotAdopting(Some(shared)), vec!["ClusterConnection shared", "spec.adoption.allowedNamespaces"]),
        ] {
            let verdict = Verdict::unconnected(&obstacle);
            assert_eq!((verdict.reason, verdict.health), (Reason::ConnectionNotAllowed, Health::Reconciling));
            assert!(named.iter().all(|name| verdict.message.contains(name)), "{}", verdict.message);
        }
    }
}
