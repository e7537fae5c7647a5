//! What the recorder did between the recorded exchanges, by the name of the exchange that follows: the targets that an
//! exchange presupposes, and the users behind the placeholders of the `authorization` header.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zitadel_stand_in::{Effect, Op, Role, StandIn, TargetEdit, TargetKind, Times};

use crate::compare::{Pairs, is_id};
use crate::oauth::Accounts;
use crate::recording::Exchange;
use crate::support::{Request, address, send};

/// The header value behind a placeholder; `None` = no header.
#[derive(Default)]
pub struct Tokens {
    known: HashMap<String, String>,
}

impl Tokens {
    pub fn header(&mut self, server: &StandIn, accounts: &Accounts, exchange: &Exchange) -> Option<String> {
        let placeholder = exchange.request.authorization();
        if let Some(header) = accounts.header(exchange) {
            return Some(header);
        }
        let fixed = match placeholder {
            "none" => return None,
            "valid" => format!("Bearer {}", server.token()),
            "wrong" => "Bearer garbage".to_owned(),
            "wrong (scheme written \"bearer\")" => format!("bearer {}", server.token()),
            "wrong (empty)" => "Bearer ".to_owned(),
            "wrong (basic)" => "Basic eDp5".to_owned(),
            "wrong (unsigned JWT)" => "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.".to_owned(),
            _ => String::new(),
        };
        if !fixed.is_empty() {
            return Some(fixed);
        }
        let issue = || issue(server, placeholder);
        Some(format!("Bearer {}", self.known.entry(placeholder.to_owned()).or_insert_with(issue)))
    }
}

fn issue(server: &StandIn, placeholder: &str) -> String {
    let hour = SignedDuration::from_hours(1);
    match placeholder {
        "valid (user without any role)" => server.issue_token(Role::None),
        "valid (ORG_OWNER only)" => server.issue_token(Role::OrgOwner),
        "valid (IAM_OWNER_VIEWER)" => server.issue_token(Role::IamOwnerViewer),
        "valid (second IAM_OWNER)" => server.issue_token(Role::IamOwner),
        "valid (expires in 3 s)" => server.issue_token_until(Role::IamOwner, Timestamp::now() + hour),
        "expired" => server.issue_token_until(Role::IamOwner, Timestamp::now() - hour),
        "valid (role removed)" => {
            let token = server.issue_token(Role::IamOwner);
            server.set_role(&token, Role::None);
            token
        }
        "revoked" => {
            let token = server.issue_token(Role::IamOwner);
            server.revoke_token(&token);
            token
        }
        "valid (user deactivated)" => {
            let token = server.issue_token(Role::IamOwner);
            server.deactivate_user(&server.user_of(&token).unwrap());
            token
        }
        "valid (user deleted)" => {
            let token = server.issue_token(Role::IamOwner);
            server.remove_user(&server.user_of(&token).unwrap());
            token
        }
        other => panic!("unknown authorization {other:?}"),
    }
}

/// Arranges what the exchange presupposes.
pub async fn before(server: &StandIn, pairs: &mut Pairs, exchange: &Exchange) {
    let recorded = exchange.request.path.rsplit('/').next().filter(|id| is_id(id)).unwrap_or_default();
    if let Some((name, edit)) = presupposed(&exchange.name) {
        let own = server.external_create(name, edit);
        // The path names the target just created, unless it is about one that is known already.
        if !recorded.is_empty() && pairs.own(recorded).is_none() {
            assert!(pairs.bind(recorded, &own));
        }
    }
    trail(server, exchange);
    match exchange.name.as_str() {
        // The recorder had seen it, so it is still shown when the delete is not.
        "delete-existing" => {
            let read = Request::new("GET", &pairs.translate(&exchange.request.path)).header("host", "localhost");
            let shown = send(address(server), &read.bearer(&server.token())).await.unwrap().unwrap();
            assert_eq!(shown.status, 200, "{}", shown.body);
        }
        "update-name-freed-by-delete" => delete_named(server, "rec-taken"),
        "update-deleted-id" => delete_named(server, "rec-gone"),
        "list-empty-instance" | "delete-create" | "auth-iam-owner-viewer-list" => delete_all(server),
        "list-empty-object" => create_rows(server, pairs, &exchange.response.body),
        "list-120-default" => {
            delete_all(server);
            for number in 0..120 {
                server.external_create(&format!("rec-many-{number:03}"), target(TargetKind::Async, false, 1));
            }
        }
        "lost-target-get" => {
            server.fault(Op::Create, Effect::Ghost, Times::ONCE);
            let name = if exchange.request.path.starts_with("/v3alpha/") { "perf-par-3-105" } else { "perf-par-2-69" };
            let body = serde_json::json!({
                "name": name, "restAsync": {}, "timeout": "10s", "endpoint": "https://203.0.113.10/hook",
            });
            let (targets, _) = exchange.request.path.rsplit_once('/').unwrap();
            let create = Request::new("POST", targets).bearer(&server.token()).header("host", "localhost");
            let created = send(address(server), &create.body(&body.to_string())).await.unwrap().unwrap().json();
            let id = created.get("id").unwrap_or(&created["details"]["id"]);
            assert!(pairs.bind(recorded, id.as_str().unwrap()));
        }
        _ => {}
    }
}

/// What is read at once after a write was sometimes there and sometimes not: the reads trail when the recorder's did.
fn trail(server: &StandIn, exchange: &Exchange) {
    let status = exchange.response.status;
    let trails = match exchange.name.as_str() {
        "feature-enabled-create-immediately" => status == 400,
        "delete-get-immediately" => status == 200,
        "lag-get-0s" => status == 404,
        name => name.starts_with("get-") && name.ends_with("-immediately") && status == 404,
    };
    if trails && !exchange.name.starts_with("feature-") {
        // The flag trails too, but the recorder set it long ago.
        server.set_actions_feature(true);
    }
    server.set_projection_lag(if trails { Duration::from_hours(1) } else { Duration::ZERO });
}

/// A target that was created just before the exchange.
fn presupposed(name: &str) -> Option<(&'static str, TargetEdit)> {
    use TargetKind::{Call, Webhook};
    Some(match name {
        "update-base-get" => ("rec-upd", target(Webhook, false, 10)),
        "update-name-taken" => ("rec-taken", target(Webhook, false, 10)),
        "update-deleted-id" => ("rec-gone", target(Webhook, false, 10)),
        "update-ioe-restwebhook-created-true-to-false" => ("rec-ioe-restWebhook", target(Webhook, true, 10)),
        "update-ioe-restwebhook-created-false-to-true" => ("rec-ioe-f-restWebhook", target(Webhook, false, 10)),
        "update-ioe-restwebhook-created-true-other-field" => ("rec-ioe-x-restWebhook", target(Webhook, true, 10)),
        "update-ioe-restwebhook-created-true-change-type-to-restcall-false" => {
            ("rec-ioe-y-restWebhook", target(Webhook, true, 10))
        }
        "update-ioe-restcall-created-true-to-false" => ("rec-ioe-restCall", target(Call, true, 10)),
        "update-ioe-restcall-created-false-to-true" => ("rec-ioe-f-restCall", target(Call, false, 10)),
        "update-ioe-restcall-created-true-other-field" => ("rec-ioe-x-restCall", target(Call, true, 10)),
        "update-ioe-restcall-created-true-change-type-to-restwebhook-false" => {
            ("rec-ioe-y-restCall", target(Call, true, 10))
        }
        "update-ioe-created-true-set-true" => ("rec-ioe-noop", target(Webhook, true, 10)),
        "update-ioe-created-true-to-async" => ("rec-ioe-async", target(Webhook, true, 10)),
        "signing-key-field-ignored" | "signing-key-rotate-0s" => ("rec-sign", target(Webhook, false, 10)),
        "update-payload-json" => ("rec-pt", target(Webhook, false, 10)),
        "inuse-delete-target" => ("rec-in-use-1", target(Webhook, false, 10)),
        "inuse-delete-last-target" => ("rec-in-use-2", target(Webhook, false, 10)),
        "self-block-get-target-no-interrupt" => {
            let edit = TargetEdit { timeout: Some(Duration::from_millis(500)), ..target(Call, true, 0) };
            ("rec-dead", TargetEdit { endpoint: Some("http://203.0.113.10:9/".to_owned()), ..edit })
        }
        // Created over a Connect path, which is not replayed, and listed later.
        "v2beta-create" => ("rec-connect", target(Webhook, false, 10)),
        _ => return None,
    })
}

fn target(kind: TargetKind, interrupt_on_error: bool, seconds: u64) -> TargetEdit {
    TargetEdit {
        kind: Some(kind),
        interrupt_on_error: Some(interrupt_on_error),
        timeout: Some(Duration::from_secs(seconds)),
        endpoint: Some("https://203.0.113.10/hook".to_owned()),
        ..TargetEdit::default()
    }
}

fn delete_named(server: &StandIn, name: &str) {
    let targets = server.targets();
    let target = targets.iter().find(|target| target.name == name).unwrap();
    server.external_delete(&target.id);
}

fn delete_all(server: &StandIn) {
    for target in server.targets() {
        server.external_delete(&target.id);
    }
}

/// Creates what a recorded list shows, oldest first: ids grow.
fn create_rows(server: &StandIn, pairs: &mut Pairs, list: &Value) {
    let rows = list.get("result").or_else(|| list.get("targets")).and_then(Value::as_array).unwrap();
    let id = |row: &Value| {
        let id = row.get("targetId").or_else(|| row.get("id")).unwrap_or(&row["details"]["id"]);
        id.as_str().unwrap().to_owned()
    };
    let mut rows: Vec<&Value> = rows.iter().collect();
    rows.sort_by_key(|row| id(row));
    for listed in rows {
        let row = listed.get("config").unwrap_or(listed);
        let kind = if row.get("restWebhook").is_some() {
            TargetKind::Webhook
        } else if row.get("restCall").is_some() {
            TargetKind::Call
        } else {
            TargetKind::Async
        };
        let seconds = row["timeout"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        let edit = TargetEdit {
            endpoint: row["endpoint"].as_str().map(str::to_owned),
            ..target(kind, kind == TargetKind::Webhook, seconds)
        };
        let own = server.external_create(row["name"].as_str().unwrap(), edit);
        assert!(pairs.bind(&id(listed), &own));
    }
}
