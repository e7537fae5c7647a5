//! What to try while the demo runs, ready to be copied.

use std::env;

use super::sample::Sample;
use super::zitadel::{Access, Zitadel};
use crate::control_plane::ControlPlane;

pub(super) fn text(plane: &ControlPlane, zitadel: &Zitadel, sample: &Sample) -> String {
    let Access { url, token_file, api } = zitadel.access();
    let (path, token_file, name) = (api.search_path(), token_file.display(), &sample.name);
    let kubeconfig = plane.kubeconfig().display();
    let alias =
        if on_path("kubectl") { String::new() } else { format!("  alias kubectl={}\n", plane.kubectl().display()) };
    format!(
        "
Try it in another terminal; Ctrl-C here ends the demo and leaves nothing behind.
  export KUBECONFIG={kubeconfig}
{alias}Change the manifest, and SEQUENCE goes up:
  kubectl patch target {name} --type=merge -p '{{\"spec\":{{\"timeout\":\"20s\"}}}}' && sleep 1 && kubectl get targets -o wide
What ZITADEL holds:
  curl -s -w '\\n' -H \"Authorization: Bearer $(cat {token_file})\" -d '{{}}' {url}{path}
Conditions and events; then delete it, in ZITADEL too:
  kubectl describe target {name}
  kubectl delete target {name}"
    )
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
