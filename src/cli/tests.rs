//! The command line: what is accepted, and what a refusal says.

use super::*;
use rstest::rstest;

#[rstest]
#[case("", Some(vec![]))]
#[case("a", Some(vec!["a"]))]
#[case("b, a,,b,", Some(vec!["a", "b"]))]
#[case("A", None)]
#[case("a/b", None)]
fn namespaces(#[case] given: &str, #[case] watched: Option<Vec<&str>>) {
    let all = ["x", "run", "--zitadel-url=https://a", "--zitadel-token-file=/t", "--watch-namespaces", given];
    let parsed = Cli::try_parse_from(all).ok().map(|cli| match cli.command {
        Command::Run(run) => run.scope.namespaces(),
        _ => panic!("another command"),
    });
    assert_eq!(parsed, watched.map(|names| names.into_iter().map(str::to_owned).collect()));
}

fn parse(arguments: &[&str]) -> Result<Option<Settings>, String> {
    let all = std::iter::once("zitadel-actions-operator").chain(arguments.iter().copied());
    match Cli::try_parse_from(with_default_command(all.map(str::to_owned).collect())) {
        Ok(Cli { command: Command::Run(run) }) => run.settings(),
        Ok(_) => Err("another command".into()),
        Err(error) => Err(one_line(&error.to_string())),
    }
}

#[rstest]
#[case(&["--zitadel-url", "https://a.example.com", "--zitadel-token-file", "/t"], None)]
#[case(&["run", "--zitadel-url", "http://127.0.0.1:8080/", "--zitadel-token-file", "/t"], None)]
#[case(&["--zitadel-url", "http://[::1]:1", "--zitadel-token-file", "/t"], None)]
#[case(&["--zitadel-url", "http://zitadel:8080", "--zitadel-token-file", "/t", "--zitadel-allow-http"], None)]
#[case(&["--zitadel-url", "http://zitadel:8080", "--zitadel-token-file", "/t"], Some("must be https"))]
#[case(&["--zitadel-url", "auth.example.com", "--zitadel-token-file", "/t"], Some("'--zitadel-url"))]
#[case(&["--zitadel-url", "https://a/b", "--zitadel-token-file", "/t"], Some("scheme, host and port only"))]
#[case(&["--zitadel-url", "https://u:p@a", "--zitadel-token-file", "/t"], Some("scheme, host and port only"))]
#[case(&[], None)]
#[case(&["--admin-addr", "127.0.0.1:8081"], None)]
#[case(&["--admin-addr", "[::1]:0"], None)]
#[case(&["--admin-addr", "0.0.0.0:8081"], Some("only a loopback address"))]
#[case(&["--leader-elect-lease-duration", "10"], Some("renew deadline must be shorter"))]
#[case(&["--leader-elect-retry-period", "10"], Some("retry period must be shorter"))]
#[case(&["--watch-label-selector", "a b"], Some("is no requirement"))]
#[case(&["--otlp-endpoint", "http://c:4318/otlp", "--traces-sampler", "traceidratio", "--traces-sampler-arg", "0.5"], None)]
#[case(&["--otlp-endpoint", "", "--traces-sampler", "xray"], None)]
#[case(&["--otlp-endpoint", "collector:4317"], Some("an http or https URL"))]
#[case(&["--otlp-endpoint", "http://u:p@c"], Some("host, port and path only"))]
#[case(&["--otlp-endpoint", "http://c", "--traces-sampler", "xray"], Some("--traces-sampler"))]
#[case(&["--otlp-endpoint", "http://c", "--traces-sampler", "traceidratio", "--traces-sampler-arg", "2"], Some("from 0 to 1"))]
#[case(&["--zitadel-url", "https://a"], Some("--zitadel-token-file"))]
#[case(&["--zitadel-token-file", "/t"], Some("--zitadel-url"))]
#[case(&["--zitadel-host", "a"], Some("--zitadel-url"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-key-file", "/k"], None)]
#[case(&["--zitadel-url", "https://a", "--zitadel-client-id-file", "/i", "--zitadel-client-secret-file", "/s"], None)]
#[case(&["--zitadel-url", "https://a", "--zitadel-client-id-file", "/i"], Some("--zitadel-client-secret-file"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-client-secret-file", "/s"], Some("--zitadel-client-id-file"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-key-file", "/k", "--zitadel-token-file", "/t"], Some("cannot be used with"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-client-secret-file", "/s"], Some("--zitadel-client-"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-system-user", "admin-client", "--zitadel-system-user-key-file", "/k"], None)]
#[case(&["--zitadel-url", "https://a", "--zitadel-system-user", "admin-client"], Some("--zitadel-system-user-key-file"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-system-user-key-file", "/k"], Some("--zitadel-system-user"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-system-user", "a", "--zitadel-system-user-key-file", "/k", "--zitadel-token-file", "/t"], Some("cannot be used with"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-client-auth", "jwt"], Some("basic or post"))]
#[case(&["--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-api", "v1"], Some("v2beta or v2"))]
#[case(&["--frobnicate"], Some("--frobnicate"))]
#[case(&["frobnicate"], Some("frobnicate"))]
fn arguments(#[case] given: &[&str], #[case] complaint: Option<&str>) {
    match (parse(given), complaint) {
        (Ok(_), None) => {}
        (Err(said), Some(expected)) => {
            assert!(said.contains(expected), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        (result, _) => panic!("{result:?}"),
    }
}
