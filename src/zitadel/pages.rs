//! Lists of targets, page by page, on servers with their own idea of how long a page may be.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::generation::{Mount, Select};
use super::{Client, Error, RemoteTarget, TargetId};

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

/// The first page of the list that every connection begins with: the first proof reads it anyhow.
#[derive(Debug, Default)]
pub(super) enum FirstPage {
    /// Not tried yet.
    #[default]
    Unread,
    Read {
        asked: Instant,
        rows: Vec<RemoteTarget>,
    },
    /// It was used, or is of no use any more.
    Spent,
}

/// Most memory that one list may need: some 80 000 targets.
const MOST_BYTES: usize = 24 << 20;
/// Longest time for one list.
const LONGEST_LIST: Duration = Duration::from_mins(2);

/// About what a row needs in memory.
fn size_of_row(row: &RemoteTarget) -> usize {
    size_of::<RemoteTarget>() + 2 * row.id.as_str().len() + row.name.len() + row.endpoint.len()
}

/// A list that is given up. Servers do not do that; something that answers in their place may.
pub(super) fn endless(what: &str) -> Error {
    Error::Unreadable { status: 200, what: format!("a list that is given up: {what}") }
}

/// How old a first page may be to begin a list.
const YOUNG: Duration = Duration::from_secs(5);

impl Client {
    /// Finds out which generation the server has, and that it lists targets for us.
    ///
    /// Where any generation will do, the first try goes to the newest one at once; one that is not served, or does not
    /// work, is looked into the long way.
    pub(super) async fn prove_list(&self) -> Result<Mount, Error> {
        let first = std::mem::replace(&mut *self.first_page(), FirstPage::Spent);
        if !matches!(first, FirstPage::Unread) {
            let mount = self.look().await?;
            return self.rows(&Select::First).await.map(|_| mount);
        }
        if let Some(newest) = self.newest_of_many() {
            self.believe(newest);
            if self.read_first_page().await.is_ok() {
                return Ok(newest);
            }
        }
        let mount = self.look().await?;
        self.read_first_page().await.map(|()| mount)
    }

    async fn read_first_page(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let (_, rows) = self.page_at(0).await?;
        self.note(rows.iter().map(|row| row.version.changed));
        *self.first_page() = FirstPage::Read { asked, rows };
        Ok(())
    }

    /// Reads all targets from the read side, as many a call as the server allows. A row that moves between pages while
    /// they are read may be missing or doubled: the list raises suspicion, it proves nothing.
    ///
    /// # Errors
    /// Of the first page that fails.
    pub async fn list(&self) -> Result<Vec<RemoteTarget>, Error> {
        self.list_after(Vec::new()).await
    }

    /// The same, and when it was begun: a moment ago, if the proof of the connection has just read the first page.
    ///
    /// # Errors
    /// See [`Self::list`].
    pub async fn list_from_proof(&self) -> Result<(Instant, Vec<RemoteTarget>), Error> {
        let first = std::mem::replace(&mut *self.first_page(), FirstPage::Spent);
        let (asked, rows) = match first {
            FirstPage::Read { asked, rows } if asked.elapsed() < YOUNG => (asked, rows),
            _ => {
                let asked = Instant::now();
                return Ok((asked, self.list().await?));
            }
        };
        let size = *self.page.lock().unwrap_or_else(PoisonError::into_inner);
        let all = if size.is_last(rows.len()) { rows } else { self.list_after(rows).await? };
        Ok((asked, all))
    }

    async fn list_after(&self, all: Vec<RemoteTarget>) -> Result<Vec<RemoteTarget>, Error> {
        let whole = tokio::time::timeout(LONGEST_LIST, Box::pin(self.pages_after(all)));
        whole.await.unwrap_or_else(|_| Err(endless(&format!("it takes longer than {} s", LONGEST_LIST.as_secs()))))
    }

    async fn pages_after(&self, mut all: Vec<RemoteTarget>) -> Result<Vec<RemoteTarget>, Error> {
        let mut known: HashSet<TargetId> = all.iter().map(|row| row.id.clone()).collect();
        let mut size_of_all: usize = all.iter().map(size_of_row).sum();
        loop {
            let (size, rows) = self.page_at(all.len()).await?;
            self.note(rows.iter().map(|row| row.version.changed));
            let last = size.is_last(rows.len());
            let before = known.len();
            known.extend(rows.iter().map(|row| row.id.clone()));
            size_of_all += rows.iter().map(size_of_row).sum::<usize>();
            all.extend(rows);
            if size_of_all > MOST_BYTES {
                return Err(endless(&format!("it needs more than {} MiB", MOST_BYTES >> 20)));
            }
            if last {
                return Ok(all);
            }
            if known.len() == before {
                return Err(endless("a page shows nothing that the pages before it have not shown"));
            }
        }
    }

    /// One page, as large as the server allows.
    async fn page_at(&self, offset: usize) -> Result<(PageSize, Vec<RemoteTarget>), Error> {
        loop {
            let size = *self.page.lock().unwrap_or_else(PoisonError::into_inner);
            match self.rows(&Select::Page { offset, limit: size.limit() }).await {
                Err(error) if error.is_page_too_large() => {
                    let smaller = size.smaller().ok_or(error)?;
                    *self.page.lock().unwrap_or_else(PoisonError::into_inner) = smaller;
                }
                rows => return rows.map(|rows| (size, rows)),
            }
        }
    }

    fn first_page(&self) -> MutexGuard<'_, FirstPage> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
