//! Local control plane and demo for `zitadel-actions-operator`; nothing here is part of a release.
//!
//! [`control_plane`] is a real etcd and kube-apiserver without any container engine, [`supervisor`] makes sure that
//! no program outlives the process that wanted it, [`proxy`] stands between a program under test and its servers,
//! [`demo`] is `cargo demo`. [`cache`] keeps what is made once, [`go`] makes programs for it from pinned Go modules,
//! and [`tools`] are the further programs that tests use. [`image`] builds the operator's image as a release does, and
//! [`node`] runs it in pods. [`host`] and [`progress`] are the small things these share: ports, random bytes, waiting,
//! and telling a person what is going on.

pub mod cache;
pub mod control_plane;
pub mod demo;
pub mod go;
pub mod host;
pub mod image;
pub mod node;
pub mod progress;
pub mod proxy;
pub mod supervisor;
pub mod tools;
