//! The behaviour suite on a real server: where it is and what proves us is read from the operator's own variables.
//!
//! `ZITADEL_URL=… ZITADEL_TOKEN_FILE=… cargo test --test it real_server -- --nocapture`. All that it creates has a name
//! that begins with the run's id, and nothing else is touched; at the end, also after a failure, those targets are
//! deleted. Without the variables nothing is run. The suite itself is proved here on stand-ins that it takes for real
//! servers.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use devkit::supervisor::Signal;
use jiff::Timestamp;
use zitadel_actions_operator::zitadel::auth::{ClientAuth, Credential, Source};
use zitadel_actions_operator::zitadel::events::EventQuery;
use zitadel_actions_operator::zitadel::transport::{Proxy, Settings};
use zitadel_actions_operator::zitadel::{ApiChoice, Client};
use zitadel_stand_in::{Generation, Options, StandIn, TargetEdit};

use crate::behaviours::{Behaviour, Cell, Line, behave, matrix};
use crate::cluster::plane;
use crate::scene::{Real, Scene};
use crate::world::{Setup, World, log};

/// The operator's variables that say which server is meant, and how it is reached.
const VARIABLES: [&str; 9] = [
    "ZITADEL_URL",
    "ZITADEL_HOST",
    "ZITADEL_CA_FILE",
    "ZITADEL_API",
    "ZITADEL_TOKEN_FILE",
    "ZITADEL_KEY_FILE",
    "ZITADEL_CLIENT_ID_FILE",
    "ZITADEL_CLIENT_SECRET_FILE",
    "ZITADEL_CLIENT_AUTH",
];
const SWITCHES: [&str; 2] = ["ZITADEL_USE_PROXY", "ZITADEL_ALLOW_HTTP"];

/// Requests a second of the suite's own client. ZITADEL Cloud bans an address above 50, and the operator sends too.
const RATE: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// A real server and one credential for it.
struct Server {
    variables: BTreeMap<String, String>,
    kind: &'static str,
    credential: Credential,
}

impl Server {
    /// The server that variables name, or what is missing.
    fn of(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let known = |name: &str| VARIABLES.contains(&name) || SWITCHES.contains(&name);
        let given = variables.into_iter().filter(|(name, value)| known(name) && !value.is_empty());
        let variables: BTreeMap<String, String> = given.collect();
        let file = |name: &str| variables.get(name).map(|path| Source::File(PathBuf::from(path)));
        let (id, secret) = (file("ZITADEL_CLIENT_ID_FILE"), file("ZITADEL_CLIENT_SECRET_FILE"));
        let (kind, credential) = match (file("ZITADEL_TOKEN_FILE"), file("ZITADEL_KEY_FILE"), id, secret) {
            (Some(token), None, None, None) => ("token", Credential::PersonalAccessToken(token)),
            (None, Some(key), None, None) => ("jwt", Credential::PrivateKeyJwt(key)),
            (None, None, Some(id), Some(secret)) => {
                let method =
                    variables.get("ZITADEL_CLIENT_AUTH").map_or(Ok(ClientAuth::default()), |way| way.parse())?;
                ("client", Credential::ClientCredentials { id, secret, method })
            }
            _ => {
                return Err("set one of ZITADEL_TOKEN_FILE, ZITADEL_KEY_FILE, or ZITADEL_CLIENT_ID_FILE with \
                            ZITADEL_CLIENT_SECRET_FILE"
                    .to_owned());
            }
        };
        if !variables.contains_key("ZITADEL_URL") {
            return Err("set ZITADEL_URL".to_owned());
        }
        Ok(Self { variables, kind, credential })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn api(&self) -> ApiChoice {
        self.get("ZITADEL_API")
            .map_or_else(ApiChoice::default, |api| api.parse().expect("ZITADEL_API names a generation"))
    }

    /// Whether a switch is on, by the words that the operator takes for it.
    fn is_on(&self, switch: &str) -> bool {
        self.get(switch)
            .is_some_and(|value| matches!(value.to_lowercase().as_str(), "true" | "t" | "yes" | "y" | "on" | "1"))
    }

    /// The client that looks, plays the somebody else, and cleans up.
    fn client(&self) -> Client {
        let proxy = if self.is_on("ZITADEL_USE_PROXY") { Proxy::Environment } else { Proxy::None };
        let settings = Settings {
            url: self.variables["ZITADEL_URL"].parse().expect("ZITADEL_URL is a URL"),
            host: self.get("ZITADEL_HOST").map(|host| host.parse().expect("ZITADEL_HOST is a host name")),
            ca: self.get("ZITADEL_CA_FILE").map(|path| Source::File(PathBuf::from(path))),
            proxy,
            credential: self.credential.clone(),
            rate: RATE,
            timeout: Duration::from_secs(10),
        };
        Client::new(self.api(), settings, Box::new(|_, _, _| ()))
    }

    /// A world whose operator is sent to this server instead of the world's stand-in.
    fn setup(&self) -> Setup {
        let flag = |name: &str| format!("--{}", name.to_lowercase().replace('_', "-"));
        let valued = self.variables.iter().filter(|(name, _)| VARIABLES.contains(&name.as_str()));
        let mut setup = Setup::new(Generation::V2).flag("--zitadel-api", &self.api().to_string());
        setup = setup.flag("--zitadel-timeout", "10").without_operator();
        setup.flags.extend(valued.map(|(name, value)| format!("{}={value}", flag(name))));
        setup.flags.extend(SWITCHES.into_iter().filter(|name| self.is_on(name)).map(flag));
        setup.system_authorities = true;
        setup
    }

    /// What must never be in a log.
    fn secrets(&self) -> Vec<String> {
        let files = ["ZITADEL_TOKEN_FILE", "ZITADEL_CLIENT_SECRET_FILE"].into_iter().filter_map(|name| self.get(name));
        files.map(|path| read_to_string(path).expect("the credential can be read").trim().to_owned()).collect()
    }
}

/// What a run did.
struct Report {
    line: Line,
    /// How many targets the clean-up deleted.
    cleaned: usize,
}

/// Runs behaviours on a server, and leaves nothing of them there.
async fn suite(server: &Server, behaviours: &[Behaviour]) -> Report {
    let run = format!("it-{:x}-{:x}", Timestamp::now().as_microsecond(), std::process::id());
    println!("run {run}: the names of all its targets begin with this");
    let world = World::with(server.setup()).await;
    let client = server.client();
    let identity = client.connect().await.expect("the server answers, and the credential is good");
    client.events(&EventQuery::Last).await.expect("the credential may read events");
    let since = client.latest().expect("a client that may read events knows a date");
    let api = identity.api.to_string();
    let head = format!("{api} {}", server.kind);
    let real = Some(Real { client, identity, since });
    let scene = Arc::new(Scene { world, run, api, real });
    scene.world.start_operator(&[]).await;

    let mut cells = behave(&scene, behaviours).await;
    end_operator(&scene).await;
    let scene = Arc::into_inner(scene).expect("the behaviours have ended");
    let real = scene.real.expect("the server is real");
    let cleaned = real.clean_up(&scene.world, &scene.run).await;

    let text = log(&scene.world.operator());
    assert!(!server.secrets().iter().any(|secret| text.contains(secret)), "the credential is in the operator's log");
    if !cells.contains(&Cell::Failed) && tokio::spawn(scene.world.finish()).await.is_err() {
        cells.fill(Cell::Failed);
    }
    Report { line: Line { head, cells }, cleaned }
}

/// Ends the operator, so that it creates no more: gently, so that a create under way is not left to chance.
async fn end_operator(scene: &Arc<Scene>) {
    let shared = Arc::clone(scene);
    let ended = tokio::spawn(async move { shared.world.terminate(&shared.world.operator()).await }).await;
    if ended.is_err() {
        let operator = scene.world.operator();
        // It may be dead already: then there is nothing to signal.
        let _ = plane().supervisor().signal(&operator, Signal::Kill);
        scene
            .world
            .until("the operator is dead", || async { plane().supervisor().exit_code(&operator).is_some() })
            .await;
    }
}

#[tokio::test]
async fn every_behaviour_on_a_real_server() {
    let named = |name: &str| std::env::var_os(name).is_some();
    let credentials = ["ZITADEL_TOKEN_FILE", "ZITADEL_KEY_FILE", "ZITADEL_CLIENT_ID_FILE"];
    if !named("ZITADEL_URL") || !credentials.into_iter().any(named) {
        println!("not run on a real server: ZITADEL_URL and a credential variable are not set");
        return;
    }
    let server = Server::of(std::env::vars()).expect("the variables go together");
    let Report { line, cleaned } = suite(&server, &Behaviour::ALL).await;
    let good = line.is_good();
    let matrix = matrix(&Behaviour::ALL, &[line]);
    println!("{matrix}\n{cleaned} targets were left to be deleted at the end, and were");
    assert!(good, "\n{matrix}");
}

/// A stand-in in the place of a real server: a read side that is late, and targets of somebody else, one of them of
/// another run.
async fn like_a_real_one(generation: Generation) -> StandIn {
    // The first call installs what TLS needs.
    crate::cluster::client().await;
    let zitadel = StandIn::start(Options::new(generation)).await.expect("the stand-in starts");
    for foreign in ["hook", "It-hook", "it-0-0-hook"] {
        zitadel.external_create(foreign, TargetEdit::default());
    }
    zitadel.set_projection_lag(Duration::from_millis(300));
    zitadel
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Runs behaviours with a fresh credential; afterwards nothing but the foreign targets is there, and they are untouched.
async fn assert_leaves_nothing(zitadel: &StandIn, kind: &str, behaviours: &[Behaviour]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let url = zitadel.url();
    let server = match kind {
        "token" => variables(&[("ZITADEL_URL", &url), ("ZITADEL_TOKEN_FILE", &put("token", &zitadel.token()))]),
        "jwt" => variables(&[("ZITADEL_URL", &url), ("ZITADEL_KEY_FILE", &put("key", &zitadel.machine_key()))]),
        _ => {
            let (id, secret) = zitadel.client_credentials();
            let (id, secret) = (put("id", &id), put("secret", &secret));
            variables(&[
                ("ZITADEL_URL", &url),
                ("ZITADEL_CLIENT_ID_FILE", &id),
                ("ZITADEL_CLIENT_SECRET_FILE", &secret),
            ])
        }
    };
    let before = zitadel.targets();
    let report = suite(&Server::of(server).unwrap(), behaviours).await;
    assert_eq!(report.line.head.split(' ').next_back(), Some(kind));
    assert_eq!(zitadel.targets(), before, "what was there is there as it was, and nothing else\n{}", zitadel.dump());
    report
}

#[tokio::test]
async fn the_suite_leaves_nothing_on_a_server_that_it_takes_for_real() {
    let runs = [(Generation::V3Alpha, "client"), (Generation::V2Beta, "jwt"), (Generation::V2, "token")];
    let runs = runs.map(|(generation, kind)| {
        tokio::spawn(async move {
            let zitadel = like_a_real_one(generation).await;
            assert_leaves_nothing(&zitadel, kind, &Behaviour::ALL).await
        })
    });
    let reports = futures::future::join_all(runs).await.into_iter().map(|report| report.expect("a run that is good"));
    let (lines, cleaned): (Vec<_>, Vec<_>) = reports.map(|report| (report.line, report.cleaned)).unzip();
    println!("{}", matrix(&Behaviour::ALL, &lines));
    for line in &lines {
        let expected = Behaviour::ALL.map(|behaviour| match behaviour {
            Behaviour::LostAnswer => Cell::NotRun,
            _ => Cell::Passed,
        });
        assert_eq!(line.cells, expected, "{}", line.head);
    }
    assert_eq!(cleaned, [3, 3, 3], "somebody's, the one under the free name, and the one that was kept");
}

/// The second create fails at once: there is an object of that name.
#[tokio::test]
async fn the_suite_leaves_nothing_after_a_failure() {
    let zitadel = like_a_real_one(Generation::V2).await;
    let order = [Behaviour::Create, Behaviour::Retain, Behaviour::Create, Behaviour::Delete];
    let report = assert_leaves_nothing(&zitadel, "token", &order).await;
    assert_eq!(report.line.cells, [Cell::Passed, Cell::Passed, Cell::Failed, Cell::NotRun]);
    assert!(!report.line.is_good());
    assert_eq!(report.cleaned, 2, "the hook and the one that was kept");
}

#[test]
fn a_server_is_named_by_its_url_and_one_credential() {
    let (url, token, key) = (("ZITADEL_URL", "https://a"), ("ZITADEL_TOKEN_FILE", "/t"), ("ZITADEL_KEY_FILE", "/k"));
    let (id, secret) = (("ZITADEL_CLIENT_ID_FILE", "/i"), ("ZITADEL_CLIENT_SECRET_FILE", "/s"));
    let kind = |pairs: &[(&str, &str)]| Server::of(variables(pairs)).map(|server| server.kind).ok();
    assert_eq!(kind(&[url, token]), Some("token"));
    assert_eq!(kind(&[url, key, ("ZITADEL_TOKEN_FILE", "")]), Some("jwt"));
    assert_eq!(kind(&[url, id, secret]), Some("client"));
    for wrong in [&[url] as &[_], &[token], &[url, id], &[url, token, key], &[url, token, secret]] {
        assert_eq!(kind(wrong), None, "{wrong:?}");
    }
}
