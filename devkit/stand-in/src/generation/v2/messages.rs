//! The request messages of `/v2/actions` (proto/zitadel/action/v2, read in source), and the words for searches.

use super::super::fields::{REST_ASYNC, REST_CALL, REST_WEBHOOK, SearchNames};
use crate::wire::proto::{Field, Kind, Message};

pub(super) const PAYLOAD_TYPES: [&str; 4] =
    ["PAYLOAD_TYPE_UNSPECIFIED", "PAYLOAD_TYPE_JSON", "PAYLOAD_TYPE_JWT", "PAYLOAD_TYPE_JWE"];

pub(super) static CREATE: Message = Message {
    full_name: "zitadel.action.v2.CreateTargetRequest",
    fields: &[
        Field::new("name", "name", Kind::String),
        REST_WEBHOOK,
        REST_CALL,
        REST_ASYNC,
        Field::new("timeout", "timeout", Kind::Duration),
        Field::new("endpoint", "endpoint", Kind::String),
        Field::new("payloadType", "payload_type", Kind::Enum(&PAYLOAD_TYPES)),
    ],
};

pub(super) static UPDATE: Message = Message {
    full_name: "zitadel.action.v2.UpdateTargetRequest",
    fields: &[
        Field::new("name", "name", Kind::String),
        REST_WEBHOOK,
        REST_CALL,
        REST_ASYNC,
        Field::new("timeout", "timeout", Kind::Duration),
        Field::new("endpoint", "endpoint", Kind::String),
        Field::new("expirationSigningKey", "expiration_signing_key", Kind::Duration),
        Field::new("payloadType", "payload_type", Kind::Enum(&PAYLOAD_TYPES)),
    ],
};

const PAGING: Message = Message {
    full_name: "zitadel.filter.v2.PaginationRequest",
    fields: &[
        Field::new("offset", "offset", Kind::Uint64),
        Field::new("limit", "limit", Kind::Uint32),
        Field::new("asc", "asc", Kind::Bool),
    ],
};

const BY_NAME: Message = Message {
    full_name: "zitadel.action.v2.TargetNameFilter",
    fields: &[
        Field::new("targetName", "target_name", Kind::String),
        Field::new(
            "method",
            "method",
            Kind::Enum(&[
                "TEXT_FILTER_METHOD_EQUALS",
                "TEXT_FILTER_METHOD_EQUALS_IGNORE_CASE",
                "TEXT_FILTER_METHOD_STARTS_WITH",
                "TEXT_FILTER_METHOD_STARTS_WITH_IGNORE_CASE",
                "TEXT_FILTER_METHOD_CONTAINS",
                "TEXT_FILTER_METHOD_CONTAINS_IGNORE_CASE",
                "TEXT_FILTER_METHOD_ENDS_WITH",
                "TEXT_FILTER_METHOD_ENDS_WITH_IGNORE_CASE",
            ]),
        ),
    ],
};

const BY_IDS: Message = Message {
    full_name: "zitadel.action.v2.InTargetIDsFilter",
    fields: &[Field::new("targetIds", "target_ids", Kind::String).repeated()],
};

const FILTER: Message = Message {
    full_name: "zitadel.action.v2.TargetSearchFilter",
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

pub(super) static LIST: Message = Message {
    full_name: "zitadel.action.v2.ListTargetsRequest",
    fields: &[
        Field::new("pagination", "pagination", Kind::Message(&PAGING)),
        Field::new("sortingColumn", "sorting_column", Kind::Enum(COLUMNS)),
        Field::new("filters", "filters", Kind::Message(&FILTER)).repeated(),
    ],
};

pub(super) const SEARCH_NAMES: SearchNames = SearchNames {
    list: "filters",
    list_path: "ListTargetsRequest.Filters",
    filter: "TargetSearchFilter",
    filter_oneof: "Filter",
    by_name: "targetNameFilter",
    by_name_type: "TargetNameFilter",
    by_ids: "inTargetIdsFilter",
    methods: 8,
};

/// The flag `actions` is gone, and the stand-in has no other: whatever is sent is an unknown field.
pub(super) static FEATURES: Message =
    Message { full_name: "zitadel.feature.v2.SetInstanceFeaturesRequest", fields: &[] };
