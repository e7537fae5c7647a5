//! The request messages of `/v3alpha` (proto/zitadel/action/v3alpha, read in source), and the words for searches.

use super::super::fields::{REST_ASYNC, REST_CALL, REST_WEBHOOK, SearchNames};
use crate::wire::proto::{Field, Kind, Message};

pub(super) static CREATE: Message = Message {
    full_name: "zitadel.action.v3alpha.CreateTargetRequest",
    fields: &[
        Field::new("name", "name", Kind::String),
        REST_WEBHOOK,
        REST_CALL,
        REST_ASYNC,
        Field::new("timeout", "timeout", Kind::Duration),
        Field::new("endpoint", "endpoint", Kind::String),
    ],
};

pub(super) static UPDATE: Message =
    Message { full_name: "zitadel.action.v3alpha.UpdateTargetRequest", fields: CREATE.fields };

const PAGING: Message = Message {
    full_name: "zitadel.object.v2beta.ListQuery",
    fields: &[
        Field::new("offset", "offset", Kind::Uint64),
        Field::new("limit", "limit", Kind::Uint32),
        Field::new("asc", "asc", Kind::Bool),
    ],
};

const BY_NAME: Message = Message {
    full_name: "zitadel.action.v3alpha.TargetNameQuery",
    fields: &[
        Field::new("targetName", "target_name", Kind::String),
        Field::new(
            "method",
            "method",
            Kind::Enum(&[
                "TEXT_QUERY_METHOD_EQUALS",
                "TEXT_QUERY_METHOD_EQUALS_IGNORE_CASE",
                "TEXT_QUERY_METHOD_STARTS_WITH",
                "TEXT_QUERY_METHOD_STARTS_WITH_IGNORE_CASE",
                "TEXT_QUERY_METHOD_CONTAINS",
                "TEXT_QUERY_METHOD_CONTAINS_IGNORE_CASE",
                "TEXT_QUERY_METHOD_ENDS_WITH",
                "TEXT_QUERY_METHOD_ENDS_WITH_IGNORE_CASE",
            ]),
        ),
    ],
};

const BY_IDS: Message = Message {
    full_name: "zitadel.action.v3alpha.InTargetIDsQuery",
    fields: &[Field::new("targetIds", "target_ids", Kind::String).repeated()],
};

const QUERY: Message = Message {
    full_name: "zitadel.action.v3alpha.TargetSearchQuery",
    fields: &[
        Field::new("targetNameQuery", "target_name_query", Kind::Message(&BY_NAME)).oneof("query"),
        Field::new("inTargetIdsQuery", "in_target_ids_query", Kind::Message(&BY_IDS)).oneof("query"),
    ],
};

const COLUMNS: &[&str] = &[
    "FIELD_NAME_UNSPECIFIED",
    "FIELD_NAME_ID",
    "FIELD_NAME_CREATION_DATE",
    "FIELD_NAME_CHANGE_DATE",
    "FIELD_NAME_NAME",
    "FIELD_NAME_TARGET_TYPE",
    "FIELD_NAME_URL",
    "FIELD_NAME_TIMEOUT",
    "FIELD_NAME_ASYNC",
    "FIELD_NAME_INTERRUPT_ON_ERROR",
];

pub(super) static LIST: Message = Message {
    full_name: "zitadel.action.v3alpha.ListTargetsRequest",
    fields: &[
        Field::new("query", "query", Kind::Message(&PAGING)),
        Field::new("sortingColumn", "sorting_column", Kind::Enum(COLUMNS)),
        Field::new("queries", "queries", Kind::Message(&QUERY)).repeated(),
    ],
};

pub(super) const SEARCH_NAMES: SearchNames = SearchNames {
    list: "queries",
    list_path: "ListTargetsRequest.Queries",
    filter: "TargetSearchQuery",
    filter_oneof: "Query",
    by_name: "targetNameQuery",
    by_name_type: "TargetNameQuery",
    by_ids: "inTargetIdsQuery",
    methods: 8,
};
