//! What a user may do: by role, by token, while the server runs, on every generation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use serde_json::{Value, json};
use support::oauth::{KeyFile, access_token, by_key};
use support::{Request, address, send};
use zitadel_stand_in::{Generation, Options, Role, StandIn};

const EVENTS: (&str, &str) = ("POST", "/admin/v1/events/_search");
const INSTANCE: (&str, &str) = ("GET", "/admin/v1/instances/me");
const ME: (&str, &str) = ("GET", "/auth/v1/users/me");

/// Each generation with a search of its targets.
const ALL: [(Generation, &str); 4] = [
    (Generation::V3Alpha, "/v3alpha/targets/search"),
    (Generation::ResourcesV3Alpha, "/resources/v3alpha/actions/targets/_search"),
    (Generation::V2Beta, "/v2beta/actions/targets/_search"),
    (Generation::V2, "/v2/actions/targets/search"),
];

/// Status and error id.
async fn ask(server: &StandIn, token: &str, (method, path): (&str, &str)) -> (u16, Value) {
    let answer = send(address(server), &Request::new(method, path).bearer(token)).await.unwrap().unwrap();
    (answer.status, answer.json()["details"][0]["id"].clone())
}

fn granted() -> (u16, Value) {
    (200, Value::Null)
}

fn denied() -> (u16, Value) {
    (403, json!("AUTH-5mWD2"))
}

fn no_membership() -> (u16, Value) {
    (404, json!("AUTHZ-cdgFk"))
}

#[tokio::test]
async fn a_role_is_taken_and_given_back_while_the_server_runs() {
    for (generation, search) in ALL {
        let server = StandIn::start(Options::new(generation)).await.unwrap();
        let (user, token, search) = (server.user_id(), server.token(), ("POST", search));
        for (role, expected) in [
            (Role::OrgOwner, denied()),
            (Role::None, no_membership()),
            (Role::IamOwnerViewer, granted()),
            (Role::IamOwner, granted()),
        ] {
            server.set_user_role(&user, role);
            for call in [search, EVENTS, INSTANCE] {
                assert_eq!(ask(&server, &token, call).await, expected, "{role:?} {call:?} on {generation}");
            }
            assert_eq!(ask(&server, &token, ME).await, granted(), "{role:?} on {generation}: the token is good");
        }
    }
}

#[tokio::test]
async fn a_viewer_reads_and_does_not_write() {
    for (generation, search) in ALL {
        let server = StandIn::start(Options::new(generation)).await.unwrap();
        let token = server.issue_token(Role::IamOwnerViewer);
        let (targets, _) = search.rsplit_once('/').unwrap();
        assert_eq!(ask(&server, &token, ("POST", search)).await, granted(), "{generation}");
        assert_eq!(ask(&server, &token, EVENTS).await, granted(), "{generation}");
        assert_eq!(ask(&server, &token, ("POST", targets)).await, denied(), "{generation}");
        let path = format!("{targets}/1");
        assert_eq!(ask(&server, &token, ("DELETE", &path)).await, denied(), "{generation}");
        assert_eq!(server.targets().len(), 0);
    }
}

#[tokio::test]
async fn events_alone_can_be_out_of_reach() {
    for (generation, search) in ALL {
        let server = StandIn::start(Options::new(generation)).await.unwrap();
        let (user, token) = (server.user_id(), server.token());
        server.set_events_readable(&user, false);
        assert_eq!(ask(&server, &token, EVENTS).await, denied(), "{generation}");
        assert_eq!(ask(&server, &token, ("POST", search)).await, granted(), "{generation}");
        assert_eq!(ask(&server, &token, INSTANCE).await, granted(), "{generation}");
        let other = server.issue_token(Role::IamOwner);
        assert_eq!(ask(&server, &other, EVENTS).await, granted(), "{generation}: it is a matter of the user");
        server.set_events_readable(&user, true);
        assert_eq!(ask(&server, &token, EVENTS).await, granted(), "{generation}");
    }
}

#[tokio::test]
async fn a_role_is_the_users_not_the_tokens() {
    let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    let user = server.add_user(Role::IamOwner);
    let key = KeyFile::parse(&server.machine_key_of(&user, None));
    let (first, second) = (access_token(&by_key(&server, &key).await), access_token(&by_key(&server, &key).await));
    assert_eq!(server.user_of(&first), Some(user));
    server.set_role(&first, Role::None);
    assert_eq!(ask(&server, &second, INSTANCE).await, no_membership());
    assert_eq!(ask(&server, &server.token(), INSTANCE).await, granted());
}
