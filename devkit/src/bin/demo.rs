//! `cargo demo`, see [`devkit::demo`].

use clap::Parser as _;
use devkit::demo::{Arguments, run};

#[tokio::main]
async fn main() {
    let code = run(Arguments::parse()).await;
    // Not a return: that would wait for blocking work which a Ctrl-C has made pointless.
    std::process::exit(code)
}
