//! The request messages of `/resources/v3alpha/actions` (proto/zitadel/resources/action/v3alpha, read in source), and
//! the words for searches.

use super::super::fields::{REST_ASYNC, REST_CALL, REST_WEBHOOK, SearchNames};
use crate::wire::proto::{Field, Kind, Message};

const NAME: Field = Field::new("name", "name", Kind::String);
const TIMEOUT: Field = Field::new("timeout", "timeout", Kind::Duration);
const ENDPOINT: Field = Field::new("endpoint", "endpoint", Kind::String);

/// The body of a create.
pub(super) static TARGET: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.Target",
    fields: &[NAME, REST_WEBHOOK, REST_CALL, REST_ASYNC, TIMEOUT, ENDPOINT],
};

/// The body of an update.
pub(super) static PATCH: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.PatchTarget",
    fields: &[
        NAME,
        REST_WEBHOOK,
        REST_CALL,
        REST_ASYNC,
        TIMEOUT,
        ENDPOINT,
        Field::new("expirationSigningKey", "expiration_signing_key", Kind::Duration),
    ],
};

/// The body of an update before v2.66.0, which brought the signing keys.
pub(super) static PATCH_WITHOUT_KEYS: Message = Message { full_name: PATCH.full_name, fields: TARGET.fields };

const PAGING: Message = Message {
    full_name: "zitadel.resources.object.v3alpha.SearchQuery",
    fields: &[
        Field::new("offset", "offset", Kind::Uint64),
        Field::new("limit", "limit", Kind::Uint32),
        Field::new("desc", "desc", Kind::Bool),
    ],
};

/// No more than these, unlike all other generations: names of others are unknown, so they mean EQUALS (observed).
const METHODS: &[&str] = &[
    "TEXT_FILTER_METHOD_EQUALS",
    "TEXT_FILTER_METHOD_EQUALS_IGNORE_CASE",
    "TEXT_FILTER_METHOD_STARTS_WITH",
    "TEXT_FILTER_METHOD_STARTS_WITH_IGNORE_CASE",
    "TEXT_FILTER_METHOD_CONTAINS",
];

const BY_NAME: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.TargetNameFilter",
    fields: &[
        Field::new("targetName", "target_name", Kind::String),
        Field::new("method", "method", Kind::Enum(METHODS)),
    ],
};

const BY_IDS: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.InTargetIDsFilter",
    fields: &[Field::new("targetIds", "target_ids", Kind::String).repeated()],
};

const FILTER: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.TargetSearchFilter",
    fields: &[
        Field::new("targetNameFilter", "target_name_filter", Kind::Message(&BY_NAME)).oneof("filter"),
        Field::new("inTargetIdsFilter", "in_target_ids_filter", Kind::Message(&BY_IDS)).oneof("filter"),
    ],
};

const COLUMNS: &[&str] = &[
    "TARGET_FIELD_NAME_UNSPECIFIED",
    "TARGET_FIELD_NAME_ID",
    "TARGET_FIELD_NAME_CREATED_DATE",
    "TARGET_FIELD_NAME_CHANGED_DATE",
    "TARGET_FIELD_NAME_NAME",
    "TARGET_FIELD_NAME_TARGET_TYPE",
    "TARGET_FIELD_NAME_URL",
    "TARGET_FIELD_NAME_TIMEOUT",
    "TARGET_FIELD_NAME_INTERRUPT_ON_ERROR",
];

/// A search: the filters are the body, the rest are URL parameters.
pub(super) static SEARCH: Message = Message {
    full_name: "zitadel.resources.action.v3alpha.SearchTargetsRequest",
    fields: &[
        Field::new("query", "query", Kind::Message(&PAGING)),
        Field::new("sortingColumn", "sorting_column", Kind::Enum(COLUMNS)),
        Field::new("filters", "filters", Kind::Message(&FILTER)).repeated(),
    ],
};

pub(super) const SEARCH_NAMES: SearchNames = SearchNames {
    list: "filters",
    list_path: "SearchTargetsRequest.Filters",
    filter: "TargetSearchFilter",
    filter_oneof: "Filter",
    by_name: "targetNameFilter",
    by_name_type: "TargetNameFilter",
    by_ids: "inTargetIdsFilter",
    methods: METHODS.len(),
};
