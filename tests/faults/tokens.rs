//! F25: the token endpoint refuses or fails while targets are made, changed and deleted.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use zitadel_stand_in::{AssertionRefusal, Effect, Function, Generation, Op, Times};

use crate::arena::Arena;
use crate::judge::{judge, posts, settled};
use crate::path::Path;
use crate::report::{Suite, trial};
use crate::world::webhook;

/// Tokens have to be asked for again all the time.
const LIFETIME: Duration = Duration::from_secs(2);
/// How many token requests meet the trouble before it is over.
const REQUESTS: usize = 3;

/// What is wrong with the token endpoint.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The key was removed: the assertion is refused in this way, and a new key helps.
    KeyRemoved(AssertionRefusal),
    /// An execution of this function fails.
    Function(Function),
    /// It answers so, whatever it is asked.
    Status(u16, &'static str),
}

const TROUBLES: [(Trouble, &str); 6] = [
    (Trouble::KeyRemoved(AssertionRefusal::ServerError), "500 server_error for a key that was removed"),
    (Trouble::KeyRemoved(AssertionRefusal::InvalidGrant), "400 invalid_grant for a key that was removed"),
    (Trouble::Function(Function::PreUserinfo), "function/preuserinfo fails"),
    (Trouble::Function(Function::PreAccessToken), "function/preaccesstoken fails"),
    (Trouble::Status(503, ""), "503"),
    (Trouble::Status(400, r#"{"error":"invalid_grant","error_description":"invalid assertion"}"#), "400 for a while"),
];

fn put_key(arena: &Arena) -> String {
    let key = arena.zitadel.machine_key();
    let (file, fresh) = (arena.dir.path().join("key.json"), arena.dir.path().join("key.json.fresh"));
    std::fs::write(&fresh, &key).unwrap();
    std::fs::rename(fresh, file).unwrap();
    let parsed: Value = serde_json::from_str(&key).unwrap();
    parsed["keyId"].as_str().unwrap().to_owned()
}

impl Trouble {
    /// Whether it can be done without a token in this trouble: it is asked for with another scope.
    const fn is_avoided(self) -> bool {
        matches!(self, Self::Function(Function::PreUserinfo))
    }

    fn begin(self, arena: &Arena, key: &str) {
        match self {
            Self::KeyRemoved(refusal) => {
                arena.zitadel.set_assertion_refusal(refusal);
                arena.zitadel.remove_key(key);
            }
            Self::Function(function) => {
                arena.zitadel.set_jwt_access_tokens(&arena.zitadel.user_id(), function == Function::PreAccessToken);
                arena.zitadel.set_failing_functions(&[function]);
            }
            Self::Status(status, body) => {
                let body = (!body.is_empty()).then(|| body.to_owned());
                arena.zitadel.fault(Op::Token, Effect::Status(status, body), Times::Always);
            }
        }
        arena.zitadel.revoke_tokens();
    }

    fn end(self, arena: &Arena) {
        match self {
            Self::KeyRemoved(_) => drop(put_key(arena)),
            Self::Function(_) => arena.zitadel.set_failing_functions(&[]),
            Self::Status(..) => arena.zitadel.clear_faults(),
        }
    }
}

/// What is done without a token is nothing, and what is done with one is done once.
async fn troubled(path: Path, trouble: Trouble, generation: Generation) {
    let arena = Arena::new(generation).await;
    let key = put_key(&arena);
    arena.zitadel.set_token_lifetime(LIFETIME);
    arena.start_with(&[&format!("--zitadel-key-file={}", arena.dir.path().join("key.json").display())]).await;
    if path != Path::Create {
        arena.create("hook", webhook()).await;
        settled(&arena).await;
    }
    let events = arena.zitadel.events().len();
    trouble.begin(&arena, &key);
    let asked = arena.zitadel.token_requests();
    path.act(&arena).await;
    arena.until("it is met", || async { arena.zitadel.token_requests() > asked }).await;
    if !trouble.is_avoided() {
        arena.until("it is met again", || async { arena.zitadel.token_requests() >= asked + REQUESTS }).await;
        assert_eq!(
            arena.zitadel.events().len(),
            events,
            "something was done without a token\n{}",
            arena.explain().await
        );
        trouble.end(&arena);
    }
    arena.until("the path is done", || path.done(&arena)).await;
    judge(&arena, path.creates()).await;
    assert_eq!(posts(&arena), path.creates(), "{}", arena.explain().await);
    arena.close().await;
}

async fn token_endpoint() -> Result<(), Failed> {
    let mut suite = Suite::new("F25");
    for (trouble, label) in TROUBLES {
        suite.line(format!("F25 the token endpoint: {label}"));
        for path in [Path::Create, Path::Update, Path::Rename, Path::Delete] {
            if let Trouble::Function(_) = trouble {
                // Older servers run no functions.
                suite.case(format!("v2 {path:?}"), troubled(path, trouble, Generation::V2));
            } else {
                suite.alternate(&format!("{path:?}"), move |generation| troubled(path, trouble, generation));
            }
        }
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_token_endpoint", token_endpoint)]
}
