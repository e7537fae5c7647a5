//! Finding the instance by host as v2.59.0 and later do (docs/zitadel/observed.md section 10).

use super::{HostError, is_instance_host, without_port};
use crate::request::Request;
use crate::world::World;

/// Words of the instance lookup that changed in v4.
pub(super) const NOT_FOUND: &str = "Errors.IAM.NotFound";
pub(super) const NOT_FOUND_V4: &str = "Errors.Instance.NotFound";

/// Whether a REST call finds the instance.
pub(super) fn find(world: &World, request: &Request, not_found: &str) -> Result<(), HostError> {
    origin(world, request, None, not_found).map(|_| ())
}

/// The issuer for an OIDC call: unlike REST, OIDC paths obey `Forwarded`.
pub(super) fn issuer(world: &World, request: &Request, not_found: &str) -> Result<String, HostError> {
    origin(world, request, request.forwarded_host("forwarded"), not_found)
}

/// The origin of a request as a URL, when instance and public host belong to the instance.
fn origin(world: &World, request: &Request, forwarded: Option<&str>, not_found: &str) -> Result<String, HostError> {
    let host = request
        .header("x-zitadel-instance-host")
        .or(forwarded)
        .or_else(|| request.forwarded_host("x-zitadel-forwarded"))
        .or_else(|| request.header("x-forwarded-host"))
        .or_else(|| request.header("host"))
        .unwrap_or_default();
    let public = request.header("x-zitadel-public-host");
    let proto = request.header("x-forwarded-proto").filter(|proto| matches!(*proto, "http" | "https"));
    let scheme = proto.unwrap_or_else(|| world.scheme());
    let unknown = |id: &str, cause: String| {
        let names =
            format!("instanceDomain {}, publicHostname {}", without_port(host), without_port(public.unwrap_or(host)));
        let parent = format!("unable to get instance by domain: {names}: ID={id} Message={not_found}{cause}");
        HostError::new(&format!("&{{{host} {} {scheme}}}", public.unwrap_or_default()), &world.domain, id, parent)
    };
    if !is_instance_host(world, host) {
        return Err(unknown("QUERY-1kIjX", String::new()));
    }
    match public.filter(|public| !is_instance_host(world, public)) {
        Some(public) => {
            Err(unknown("QUERY-IuGh1", format!(" Parent=(public domain \"{}\" not trusted)", without_port(public))))
        }
        None => Ok(format!("{scheme}://{}", public.unwrap_or(host))),
    }
}
