//! The resource types: what a user writes and reads in the cluster.
//!
//! Serde, schemars and CEL only: no I/O, no async, nothing of ZITADEL's wire formats. Everything else in the
//! crate may import this room; it imports none of the others. `names` and `reason` are free of Kubernetes types,
//! so that the REST client may share them.

pub mod claim;
pub mod condition;
pub mod connection;
pub mod crd;
pub mod names;
pub mod reason;
pub mod target;

/// API group of every resource of this operator.
pub const GROUP: &str = "zitadel-actions.dev";
/// The one served version. It evolves additively; see design notes in `docs/decisions/`.
pub const VERSION: &str = "v1alpha1";
/// Finalizer that keeps a Target until its remote target is gone (or retained).
pub const FINALIZER: &str = "zitadel-actions.dev/target";
/// Finalizer that keeps a Connection or ClusterConnection while Targets still need it.
pub const CONNECTION_FINALIZER: &str = "zitadel-actions.dev/connection";
/// Annotation that records the intent to create, before the create call is sent. See [`claim::Claim`].
pub const CLAIM_ANNOTATION: &str = "zitadel-actions.dev/create-claim";
/// Annotation with which a user asks for one pass; its value is echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_ANNOTATION: &str = "zitadel-actions.dev/reconcile-requested-at";
/// Field manager of every write of this operator: it owns `status`, the finalizer and the claim, never `spec`.
pub const FIELD_MANAGER: &str = "zitadel-actions-operator";
