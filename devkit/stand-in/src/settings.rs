//! What servers of one generation differ in by patch release, configuration, database or the proxy in front; set at run
//! time, in force at once, until set otherwise.

use std::time::Duration;

use crate::core::query::MAX_LIMIT;
use crate::world::State;
use crate::{AssertionRefusal, DenyList, Function, StandIn};

/// Who does not see hidden events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HiddenFrom {
    /// The event store search alone.
    Search,
    /// The search and the read side, which asks the event store in the same way: the whole picture of an open
    /// transaction.
    SearchAndReads,
}

impl StandIn {
    /// From now on the event store search leaves newer events out, silently and with 200, until `show_events` (or a
    /// `restore`). Hiding again changes nothing for what is hidden already. Commands see everything: names stay taken.
    ///
    /// So do 2.x servers on PostgreSQL while an older push is still open, e.g. of a pod that lost its node:
    /// `AwaitOpenTransactions` is a filter there (`"position" < min(xact_start)`,
    /// internal/eventstore/repository/sql/crdb.go), in ListEvents and in every projection. On 3.x and 4.x it waits
    /// instead, i.e. `Effect::Latency` or `Effect::HoldReply` on `Op::Events`.
    pub fn hide_events_from_now(&self, from: HiddenFrom) {
        let mut state = self.world().state();
        let count = state.store.events.len();
        state.window.searchable.get_or_insert(count);
        if from == HiddenFrom::SearchAndReads {
            state.window.projectable.get_or_insert(count);
        }
    }

    /// The way back from `hide_events_from_now`: everything appears, with the dates of the writes.
    pub fn show_events(&self) {
        self.world().state().window.open();
        self.world().changed();
    }

    /// Events older than this, by the server's clock, vanish from the search; targets stay, and reads and commands do
    /// not notice. `None` keeps all, as at start. `AuditLogRetention`, or an instance's limit of that name
    /// (internal/query/event.go; observed on v2.58.7 and v4.13.1, also with `from` in the far past).
    pub fn set_audit_log_retention(&self, age: Option<Duration>) {
        self.world().state().window.retention = age;
    }

    /// Every event written until now vanishes from the search for good, as if the retention were exactly that long.
    pub fn forget_events_until_now(&self) {
        let mut state = self.world().state();
        state.window.forgotten = state.store.events.len();
    }

    /// The most rows per page of a search of targets (`SystemDefaults.MaxQueryLimit`, 1000 at start). A search that
    /// asks for more is refused with 400 code 3 `QUERY-4M0fs`; one that names no limit gets pages of 100 even when the
    /// most is less (observed on v2.71.19, v3.4.9, v4.13.1). The event store search has its own 1000, and `v3alpha` no
    /// limit at all.
    pub fn set_max_query_limit(&self, rows: u64) {
        self.world().state().max_query_limit = rows;
    }

    /// A proxy in front answers every path that begins so with an HTML page of this status, e.g. `/admin/` and `/auth/`
    /// with 403 or 404: the usual hardening of an ingress. The requests are in the call log. Replaces the list before;
    /// empty = nothing is hidden.
    pub fn set_hidden_paths(&self, prefixes: &[(&str, u16)]) {
        let prefixes = prefixes.iter().map(|(prefix, status)| ((*prefix).to_owned(), *status));
        self.world().state().hidden_paths = prefixes.collect();
    }

    /// The names that take this long to look up, each with all names below it; only `v2` looks the host of an endpoint
    /// up, at create and at an update that names it, before anything is written (v4.11.1 and later, `net.LookupIP`,
    /// without the time limit of the request). The request is handled after that time even when the client has gone: a
    /// name that `set_resolvable_hosts` knows is accepted and committed, any other refused with 400 code 3
    /// `COMMAND-NcJUKo` (create) or `COMMAND-jKbbu2` (update). Replaces the list before.
    pub fn set_slow_look_ups(&self, hosts: &[(&str, Duration)]) {
        let hosts = hosts.iter().map(|(host, time)| ((*host).to_owned(), *time));
        self.world().state().endpoints.slow = hosts.collect();
    }

    /// What `v2` refuses to call, `DenyList::Loopback` at start. A target made before the list was tightened stays as
    /// it is: it is shown, and updates of other fields are accepted; an update that names its endpoint, even unchanged,
    /// is refused with 400 code 3 `COMMAND-jKbbu2` (observed on a build of v4 from July 2026).
    pub fn set_deny_list(&self, list: DenyList) {
        self.world().state().endpoints.deny_list = list;
    }

    /// The version that `/admin/v1/instances/me` shows, e.g. `v4.15.3`, until the next `upgrade`. Nothing else changes
    /// with it: set what that release does differently too (`set_deny_list`, `set_assertion_refusal`).
    pub fn set_version(&self, version: &str) {
        self.world().state().version = Some(version.to_owned());
    }

    /// Whether error details are `zitadel.error.v2.ErrorDetail` with a `slug` instead of `zitadel.v1.ErrorDetail` with
    /// an `id`. So far only ids with a dot come so, and none of the Actions API has one (main branch, commit a2bf528ca,
    /// pkg/grpc/error/v2; read in source).
    pub fn set_error_slugs(&self, on: bool) {
        self.world().state().error_slugs = on;
    }

    /// How the token endpoint refuses a bad assertion.
    pub fn set_assertion_refusal(&self, refusal: AssertionRefusal) {
        self.world().state().assertion_refusal = refusal;
    }

    /// The functions whose execution has an interrupting target that cannot be reached: a token request that runs one
    /// of them is answered with 500 `server_error`; one without the scope `openid`, by a user with opaque tokens, runs
    /// none (observed on v4.13.1 and a build of v4 from July 2026; functions run from v3.0.0 on). Replaces the list
    /// before.
    pub fn set_failing_functions(&self, functions: &[Function]) {
        self.world().state().failing_functions = functions.to_vec();
    }
}

/// For the dump: what is not as at start.
pub(crate) fn describe(state: &State) -> Vec<String> {
    let State { window, endpoints, .. } = state;
    let hidden = window.searchable.map(|count| format!("events hidden from the search: after the first {count}"));
    let unseen = window.projectable.map(|count| format!("events hidden from reads: after the first {count}"));
    let forgotten = (window.forgotten > 0).then(|| format!("events forgotten: the first {}", window.forgotten));
    let retention = window.retention.map(|age| format!("events kept for {age:?}"));
    let limit = (state.max_query_limit != MAX_LIMIT).then(|| format!("rows per page: {}", state.max_query_limit));
    let paths = (!state.hidden_paths.is_empty()).then(|| format!("hidden paths: {:?}", state.hidden_paths));
    let slow = (!endpoints.slow.is_empty()).then(|| format!("slow look-ups: {:?}", endpoints.slow));
    let deny_list =
        (endpoints.deny_list != DenyList::default()).then(|| format!("deny list: {:?}", endpoints.deny_list));
    let version = state.version.as_ref().map(|version| format!("version: {version}"));
    let slugs = state.error_slugs.then(|| "errors have slugs".to_owned());
    let refusal = state.assertion_refusal;
    let refusal = (refusal != AssertionRefusal::default()).then(|| format!("bad assertions: {refusal:?}"));
    let functions =
        (!state.failing_functions.is_empty()).then(|| format!("failing functions: {:?}", state.failing_functions));
    let events = [hidden, unseen, forgotten, retention];
    let rest = [limit, paths, slow, deny_list, version, slugs, refusal, functions];
    events.into_iter().chain(rest).flatten().collect()
}
