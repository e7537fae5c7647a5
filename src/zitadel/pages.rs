//! Lists of targets, page by page, on servers with their own idea of how long a page may be.

use std::sync::PoisonError;

use super::generation::Select;
use super::{Client, Error, RemoteTarget};

/// How many rows a page is asked for. ZITADEL refuses more than `SystemDefaults.MaxQueryLimit` (1000 unless configured)
/// with 400 `QUERY-4M0fs`; without a limit it applies `DefaultQueryLimit` (100), also where the maximum is lower
/// (docs/zitadel/observed.md section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum PageSize {
    /// 1000: the most that servers allow as they come, and what v3alpha, which has no limit, is asked for.
    #[default]
    Large,
    /// 100.
    Small,
    /// As many as the server likes.
    Untold,
}

impl PageSize {
    const fn limit(self) -> Option<usize> {
        match self {
            Self::Large => Some(1000),
            Self::Small => Some(100),
            Self::Untold => None,
        }
    }

    const fn smaller(self) -> Option<Self> {
        match self {
            Self::Large => Some(Self::Small),
            Self::Small => Some(Self::Untold),
            Self::Untold => None,
        }
    }

    /// Whether a page with so many rows is the last one.
    const fn is_last(self, rows: usize) -> bool {
        match self.limit() {
            Some(limit) => rows < limit,
            None => rows == 0,
        }
    }
}

impl Client {
    /// Reads all targets from the read side, as many a call as the server allows. A row that moves between pages while
    /// they are read may be missing or doubled: the list raises suspicion, it proves nothing.
    ///
    /// # Errors
    /// Of the first page that fails.
    pub async fn list(&self) -> Result<Vec<RemoteTarget>, Error> {
        let mut all = Vec::new();
        loop {
            let size = *self.page.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = match self.rows(&Select::Page { offset: all.len(), limit: size.limit() }).await {
                Err(error) if error.is_page_too_large() => match size.smaller() {
                    Some(smaller) => {
                        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = smaller;
                        continue;
                    }
                    None => return Err(error),
                },
                rows => rows?,
            };
            self.note(rows.iter().map(|row| row.version.changed));
            let last = size.is_last(rows.len());
            all.extend(rows);
            if last {
                return Ok(all);
            }
        }
    }
}
