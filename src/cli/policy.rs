//! What the namespaces of the cluster may do with the default connection.

use std::sync::Arc;

use clap::Args;
use kube::core::Selector;

use super::scope::selector;
use crate::api::connection::AllowedNamespaces;
use crate::plan::policy::{Grants, Policy};

/// Stands for every namespace.
const ALL: &str = "*";

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    /// Namespaces whose Targets may use the default connection, separated by commas; * and the default is all
    #[arg(long, env = "ALLOWED_NAMESPACES", value_name = "NAMES", value_delimiter = ',', value_parser = namespace)]
    allowed_namespaces: Vec<String>,

    /// Labels of further namespaces that may, as for `kubectl get -l`
    #[arg(long, env = "ALLOWED_NAMESPACE_SELECTOR", value_name = "SELECTOR", default_value = "", value_parser = selector)]
    allowed_namespace_selector: Selector,

    /// Namespaces whose Targets may take over existing targets by the default connection (externalId), separated by commas;
    /// * is all, and the default the operator's own
    #[arg(long, env = "ADOPTION_NAMESPACES", value_name = "NAMES", value_delimiter = ',', value_parser = namespace)]
    adoption_namespaces: Vec<String>,

    /// Labels of further namespaces that may, as for `kubectl get -l`
    #[arg(long, env = "ADOPTION_NAMESPACE_SELECTOR", value_name = "SELECTOR", default_value = "", value_parser = selector)]
    adoption_namespace_selector: Selector,

    /// Namespaces that may bind Executions by the default connection, separated by commas; * is all, and the default the
    /// operator's own. Without effect yet: there are no Executions in this version
    #[arg(long, env = "EXECUTION_NAMESPACES", value_name = "NAMES", value_delimiter = ',', value_parser = namespace)]
    execution_namespaces: Vec<String>,

    /// Labels of further namespaces that may, as for `kubectl get -l`
    #[arg(long, env = "EXECUTION_NAMESPACE_SELECTOR", value_name = "SELECTOR", default_value = "", value_parser = selector)]
    execution_namespace_selector: Selector,
}

impl PolicyArgs {
    /// The policy of an operator in the namespace `home`.
    pub(super) fn policy(&self, home: &str) -> Policy {
        let own = || AllowedNamespaces { names: vec![home.to_owned()], selector: None };
        Policy::Granted(Arc::new(Grants {
            using: allowed(&self.allowed_namespaces, &self.allowed_namespace_selector)
                .unwrap_or_else(AllowedNamespaces::all),
            adopting: allowed(&self.adoption_namespaces, &self.adoption_namespace_selector).unwrap_or_else(own),
            executing: allowed(&self.execution_namespaces, &self.execution_namespace_selector).unwrap_or_else(own),
        }))
    }
}

/// The namespaces that two flags allow; nothing if both are empty, as an empty variable is no variable.
fn allowed(names: &[String], selector: &Selector) -> Option<AllowedNamespaces> {
    if names.iter().any(|name| name == ALL) {
        return Some(AllowedNamespaces::all());
    }
    let names: Vec<String> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    // To Kubernetes an empty selector selects everything; here it is the one that was not given.
    let selector = (!selector.selects_all()).then(|| selector.clone().into());
    (!names.is_empty() || selector.is_some()).then_some(AllowedNamespaces { names, selector })
}

fn namespace(text: &str) -> Result<String, String> {
    if text.trim() == ALL { Ok(ALL.to_owned()) } else { super::namespace(text) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;
    use crate::plan::Adoption;
    use crate::plan::policy::Access;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    const NOT: Access = Access::NotAllowed;
    const USES: Access = Access::Allowed(Adoption::NotAllowed);
    const ADOPTS: Access = Access::Allowed(Adoption::Allowed);

    #[rstest]
    #[case(&[], [ADOPTS, USES, USES])]
    #[case(&["--allowed-namespaces", "", "--adoption-namespaces", ","], [ADOPTS, USES, USES])]
    #[case(&["--allowed-namespaces", "home, a"], [ADOPTS, USES, NOT])]
    #[case(&["--allowed-namespaces", "a", "--adoption-namespaces", "a,b"], [NOT, ADOPTS, NOT])]
    #[case(&["--adoption-namespaces", "*"], [ADOPTS, ADOPTS, ADOPTS])]
    #[case(&["--adoption-namespace-selector", "team in (a)"], [USES, ADOPTS, USES])]
    #[case(&["--adoption-namespace-selector", "team", "--adoption-namespaces", "home"], [ADOPTS, ADOPTS, USES])]
    #[case(&["--allowed-namespace-selector", "team=a"], [NOT, USES, NOT])]
    fn who_may_do_what(#[case] given: &[&str], #[case] expected: [Access; 3]) {
        let parsed = Cli::try_parse_from(["operator"].iter().chain(given)).unwrap();
        let policy = parsed.policy.policy("home");
        let access = |namespace: &str| {
            let labels = if namespace == "a" { vec![("team".to_owned(), "a".to_owned())] } else { vec![] };
            policy.access(namespace, Some(&labels.into_iter().collect()))
        };
        assert_eq!(["home", "a", "b"].map(access), expected);
    }

    #[test]
    fn names_and_selectors_are_checked() {
        for given in
            [["--allowed-namespaces", "A"], ["--adoption-namespaces", "a/b"], ["--execution-namespace-selector", "a b"]]
        {
            assert!(Cli::try_parse_from(["operator"].iter().chain(&given)).is_err(), "{given:?}");
        }
    }
}
