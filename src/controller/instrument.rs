//! What metrics are told of the caches, the watches and the connections.
//!
//! Only hands over; what it means is said in `ops::metrics`. May import `ops`.

use std::sync::{Arc, Weak};

use kube::Resource;

use crate::controller::connections::connection::{ConnectionKey, LiveConnection};
use crate::controller::target::context::Context;
use crate::ops::metrics::{Connection, PerTarget, Sources};

/// Has metrics look at the caches of this process whenever somebody asks.
pub fn show(context: &Arc<Context>, per_target: PerTarget) {
    let (cache, registry) = (Arc::downgrade(context), Arc::downgrade(context));
    context.metrics().look_at(Sources {
        targets: Box::new(move |take| {
            let Some(context) = Weak::upgrade(&cache) else { return };
            for object in context.targets() {
                if context.scope().selects(&*object) {
                    take(object.meta(), object.0.as_ref().ok());
                }
            }
        }),
        connections: Box::new(move || {
            Weak::upgrade(&registry).map(|context| connections(&context)).unwrap_or_default()
        }),
        per_target,
    });
}

/// Who stands by only knows of connections; the leader uses them, and tells.
fn connections(context: &Context) -> Vec<Connection> {
    if !context.scope().leadership.leads() {
        return Vec::new();
    }
    let told = |(key, live): (ConnectionKey, Result<Arc<LiveConnection>, String>)| match live {
        Ok(live) => {
            let client = live.health.client();
            let (expires, shared) = (client.credential_expires(), client.stranger().is_some());
            let observed = live.observation.last();
            Connection { name: key.to_string(), up: live.health.up(), expires, observed, shared }
        }
        Err(_) => Connection { name: key.to_string(), up: Some(false), expires: None, observed: None, shared: false },
    };
    context.registry().all().into_iter().map(told).collect()
}
