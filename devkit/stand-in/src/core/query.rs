//! Searches on the read side: filters, order, paging. Names of fields and methods are the generations' business.

use std::cmp::Ordering;

use super::projection::Row;
use crate::TargetKind;
use crate::wire::error::{ApiError, Code};

/// Rows per page when a search names no limit (`SystemDefaults.DefaultQueryLimit`); also where the most is less.
const DEFAULT_LIMIT: u64 = 100;
/// The most rows per page unless configured otherwise (`SystemDefaults.MaxQueryLimit`).
pub(crate) const MAX_LIMIT: u64 = 1000;

/// How many rows a page has, on v2.59.0 and later (internal/api/grpc/filter, `PaginationPbToQuery`; observed).
pub(crate) fn page_size(asked: u64, most: u64) -> Result<u64, ApiError> {
    match asked {
        0 => Ok(DEFAULT_LIMIT),
        asked if asked > most => Err(ApiError::zitadel(Code::InvalidArgument, "QUERY-4M0fs", "Limit exceeded")),
        asked => Ok(asked),
    }
}

/// How a name is compared; numbered as in every generation's enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextMethod {
    Equals,
    EqualsIgnoreCase,
    StartsWith,
    StartsWithIgnoreCase,
    Contains,
    ContainsIgnoreCase,
    EndsWith,
    EndsWithIgnoreCase,
}

impl TextMethod {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        const ALL: [TextMethod; 8] = [
            TextMethod::Equals,
            TextMethod::EqualsIgnoreCase,
            TextMethod::StartsWith,
            TextMethod::StartsWithIgnoreCase,
            TextMethod::Contains,
            TextMethod::ContainsIgnoreCase,
            TextMethod::EndsWith,
            TextMethod::EndsWithIgnoreCase,
        ];
        usize::try_from(number).ok().and_then(|number| ALL.get(number).copied())
    }

    fn matches(self, name: &str, wanted: &str) -> bool {
        let (lower_name, lower_wanted) = (name.to_lowercase(), wanted.to_lowercase());
        match self {
            Self::Equals => name == wanted,
            Self::EqualsIgnoreCase => lower_name == lower_wanted,
            Self::StartsWith => name.starts_with(wanted),
            Self::StartsWithIgnoreCase => lower_name.starts_with(&lower_wanted),
            Self::Contains => name.contains(wanted),
            Self::ContainsIgnoreCase => lower_name.contains(&lower_wanted),
            Self::EndsWith => name.ends_with(wanted),
            Self::EndsWithIgnoreCase => lower_name.ends_with(&lower_wanted),
        }
    }
}

/// A condition; several are ANDed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Name(String, TextMethod),
    Ids(Vec<String>),
}

impl Filter {
    fn matches(&self, row: &Row) -> bool {
        match self {
            Self::Name(wanted, method) => method.matches(&row.name, wanted),
            Self::Ids(ids) => ids.contains(&row.id),
        }
    }
}

/// What to sort by. The database's collation is C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Id,
    CreationDate,
    ChangeDate,
    Name,
    Kind,
    Endpoint,
    Timeout,
    Async,
    InterruptOnError,
}

impl Column {
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Self::Id => a.id.cmp(&b.id),
            Self::CreationDate => a.creation_date.cmp(&b.creation_date),
            Self::ChangeDate => a.change_date.cmp(&b.change_date),
            Self::Name => a.name.cmp(&b.name),
            Self::Kind => (a.kind as u8).cmp(&(b.kind as u8)),
            Self::Endpoint => a.endpoint.cmp(&b.endpoint),
            Self::Timeout => a.timeout.cmp(&b.timeout),
            Self::Async => (a.kind == TargetKind::Async).cmp(&(b.kind == TargetKind::Async)),
            Self::InterruptOnError => a.interrupt_on_error.cmp(&b.interrupt_on_error),
        }
    }
}

/// A search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) filters: Vec<Filter>,
    pub(crate) column: Column,
    pub(crate) ascending: bool,
    pub(crate) offset: u64,
    /// `None` = all.
    pub(crate) limit: Option<u64>,
}

/// The page, and how many rows there are over all pages: 0 when the page is empty, because the count is a window over
/// the rows of the page (observed).
pub(crate) fn search(rows: &[Row], search: &Search) -> (Vec<Row>, usize) {
    let fits = |row: &&Row| search.filters.iter().all(|filter| filter.matches(row));
    let mut found: Vec<Row> = rows.iter().filter(fits).cloned().collect();
    let total = found.len();
    found.sort_by(|a, b| {
        let order = search.column.compare(a, b);
        if search.ascending { order } else { order.reverse() }
    });
    let offset = usize::try_from(search.offset).unwrap_or(usize::MAX);
    let limit = search.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let page: Vec<Row> = found.into_iter().skip(offset).take(limit).collect();
    let total = if page.is_empty() { 0 } else { total };
    (page, total)
}
