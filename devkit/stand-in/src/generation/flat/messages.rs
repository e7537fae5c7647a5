//! The request messages of `/v2beta/actions` and `/v2/actions` (proto/zitadel/action/v2beta and v2, read in source),
//! which differ in the name of the package and in payload types, and the words for searches.

use super::super::fields::{REST_ASYNC, REST_CALL, REST_WEBHOOK, SearchNames};
use crate::wire::proto::{Field, Kind, Message};

pub(in super::super) const PAYLOAD_TYPES: [&str; 4] =
    ["PAYLOAD_TYPE_UNSPECIFIED", "PAYLOAD_TYPE_JSON", "PAYLOAD_TYPE_JWT", "PAYLOAD_TYPE_JWE"];

/// The request messages of one package.
pub(in super::super) struct Messages {
    pub(in super::super) create: &'static Message,
    pub(in super::super) update: &'static Message,
    pub(in super::super) list: &'static Message,
}

const NAME: Field = Field::new("name", "name", Kind::String);
const TIMEOUT: Field = Field::new("timeout", "timeout", Kind::Duration);
const ENDPOINT: Field = Field::new("endpoint", "endpoint", Kind::String);
const EXPIRATION: Field = Field::new("expirationSigningKey", "expiration_signing_key", Kind::Duration);
const PAYLOAD_TYPE: Field = Field::new("payloadType", "payload_type", Kind::Enum(&PAYLOAD_TYPES));

const METHODS: &[&str] = &[
    "TEXT_FILTER_METHOD_EQUALS",
    "TEXT_FILTER_METHOD_EQUALS_IGNORE_CASE",
    "TEXT_FILTER_METHOD_STARTS_WITH",
    "TEXT_FILTER_METHOD_STARTS_WITH_IGNORE_CASE",
    "TEXT_FILTER_METHOD_CONTAINS",
    "TEXT_FILTER_METHOD_CONTAINS_IGNORE_CASE",
    "TEXT_FILTER_METHOD_ENDS_WITH",
    "TEXT_FILTER_METHOD_ENDS_WITH_IGNORE_CASE",
];

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

const PAGING: Message = Message {
    full_name: "PaginationRequest",
    fields: &[
        Field::new("offset", "offset", Kind::Uint64),
        Field::new("limit", "limit", Kind::Uint32),
        Field::new("asc", "asc", Kind::Bool),
    ],
};

const BY_NAME: Message = Message {
    full_name: "TargetNameFilter",
    fields: &[
        Field::new("targetName", "target_name", Kind::String),
        Field::new("method", "method", Kind::Enum(METHODS)),
    ],
};

const BY_IDS: Message = Message {
    full_name: "InTargetIDsFilter",
    fields: &[Field::new("targetIds", "target_ids", Kind::String).repeated()],
};

macro_rules! messages {
    ($package:literal, [$($payload_type:expr),*]) => {
        Messages {
            create: &Message {
                full_name: concat!($package, ".CreateTargetRequest"),
                fields: &[NAME, REST_WEBHOOK, REST_CALL, REST_ASYNC, TIMEOUT, ENDPOINT $(, $payload_type)*],
            },
            update: &Message {
                full_name: concat!($package, ".UpdateTargetRequest"),
                fields: &[NAME, REST_WEBHOOK, REST_CALL, REST_ASYNC, TIMEOUT, ENDPOINT, EXPIRATION $(, $payload_type)*],
            },
            list: &Message {
                full_name: concat!($package, ".ListTargetsRequest"),
                fields: &[
                    Field::new("pagination", "pagination", Kind::Message(&PAGING)),
                    Field::new("sortingColumn", "sorting_column", Kind::Enum(COLUMNS)),
                    Field::new("filters", "filters", Kind::Message(&Message {
                        full_name: concat!($package, ".TargetSearchFilter"),
                        fields: &[
                            Field::new("targetNameFilter", "target_name_filter", Kind::Message(&BY_NAME))
                                .oneof("filter"),
                            Field::new("inTargetIdsFilter", "in_target_ids_filter", Kind::Message(&BY_IDS))
                                .oneof("filter"),
                        ],
                    }))
                    .repeated(),
                ],
            },
        }
    };
}

pub(in super::super) static V2BETA: Messages = messages!("zitadel.action.v2beta", []);
pub(in super::super) static V2: Messages = messages!("zitadel.action.v2", [PAYLOAD_TYPE]);

pub(super) const SEARCH_NAMES: SearchNames = SearchNames {
    list: "filters",
    list_path: "ListTargetsRequest.Filters",
    filter: "TargetSearchFilter",
    filter_oneof: "Filter",
    by_name: "targetNameFilter",
    by_name_type: "TargetNameFilter",
    by_ids: "inTargetIdsFilter",
    methods: METHODS.len(),
};

/// The flag `actions` is gone, and the stand-in has no other: whatever is sent is an unknown field.
pub(in super::super) static FEATURES: Message =
    Message { full_name: "zitadel.feature.v2.SetInstanceFeaturesRequest", fields: &[] };
