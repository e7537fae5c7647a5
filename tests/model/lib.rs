//! The protocol, exhausted: every interleaving of replicas, crashes, lost and late answers, lagging reads, users and
//! strangers, within stated bounds, drives the planner of production. What is code and what is model, the bounds and
//! the assumptions are told in docs/correctness.md.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may; a panic in the model is a finding")]

mod action;
mod breaks;
mod cluster;
mod config;
mod convert;
mod create;
mod owner;
mod proofs;
mod properties;
mod rest;
mod shell;
mod state;
mod trouble;
mod zitadel;
