//! Proxies that a test puts between a program and its servers, so that every message can be stopped, spoilt, delayed
//! or counted on its way, with no code for it in the program.
//!
//! [`HttpProxy`] understands HTTP: it knows which [`Call`] a request is and applies the [`Rule`]s set for it, such as
//! holding the answer of the second status write. [`HttpProxy::before_kubernetes`] stands before a real kube-apiserver
//! (TLS and token on the far side, plain http on ours), [`HttpProxy::before_zitadel`] before the ZITADEL stand-in.
//! [`TcpProxy`] knows bytes only: resets in the middle of an answer, half-open connections, bytes that trickle.
//! [`TlsProxy`] speaks TLS on our side, with a certificate that a client should or should not believe. All listen on
//! loopback only, each on a thread of its own, and end when they are dropped.

mod act;
mod call;
mod http;
mod kubeconfig;
mod lines;
mod rule;
mod serve;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

pub use self::act::{Act, Canned};
pub use self::call::{CLAIM, Call, FINALIZER, KubeCall, Message};
pub use self::http::HttpProxy;
pub use self::rule::{Entry, Fate, Often, Rule, RuleHandle};
pub use self::tcp::{TcpMode, TcpProxy};
pub use self::tls::{Identity, TlsProxy};
