//! The operator's binary: TLS provider first, then whatever the arguments say.

use std::process::ExitCode;

fn main() -> ExitCode {
    // kube and reqwest share one provider; without this, whichever comes first panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    zitadel_actions_operator::cli::main()
}
