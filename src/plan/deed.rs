//! What a pass did, in one word for logs and traces.
//!
//! A note says what came of it; of a failure, only the steps say what was tried. May import `api` and the rest of `plan`.

use super::{NoteKind, Release, Step};

/// What a pass did about the target in ZITADEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deed {
    /// Nothing: it looked.
    #[default]
    None,
    /// Create it.
    Create,
    /// Find the one that an earlier create has made.
    Recover,
    /// Take an existing one over.
    Adopt,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
    /// Leave it there and let the object go.
    Retain,
}

impl Deed {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Create => "create",
            Self::Recover => "recover",
            Self::Adopt => "adopt",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Retain => "retain",
        }
    }

    /// What has been done, or tried, once this step is begun as well. An empty update is a question.
    #[must_use]
    pub const fn with(self, step: &Step) -> Self {
        match step {
            Step::Create(_) => Self::Create,
            Step::Update { .. } => Self::Update,
            Step::Delete(_) => Self::Delete,
            _ => self,
        }
    }

    /// What a note is about; a failure is about what was tried last.
    #[must_use]
    pub const fn told(self, kind: NoteKind) -> Self {
        match kind {
            NoteKind::Created => Self::Create,
            NoteKind::Recovered => Self::Recover,
            NoteKind::Adopted => Self::Adopt,
            NoteKind::Updated | NoteKind::DriftCorrected => Self::Update,
            NoteKind::Failed(_) => self,
        }
    }
}

impl From<Release> for Deed {
    fn from(release: Release) -> Self {
        match release {
            Release::Deleted => Self::Delete,
            Release::Retained => Self::Retain,
            Release::NothingRemote => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;

    #[test]
    fn a_failure_is_of_what_was_tried_last() {
        let id = || "1".parse().unwrap();
        let steps = [Step::Read(id()), Step::Delete(id()), Step::Probe(id())];
        let deed = steps.iter().fold(Deed::default(), Deed::with);
        assert_eq!(deed.told(NoteKind::Failed(Reason::PermissionDenied)), Deed::Delete);
        assert_eq!(Deed::default().told(NoteKind::Failed(Reason::NameTaken)), Deed::None);
    }

    #[test]
    fn a_note_says_more_than_the_steps() {
        assert_eq!(Deed::Update.told(NoteKind::Adopted), Deed::Adopt);
        assert_eq!(Deed::None.told(NoteKind::Recovered), Deed::Recover);
    }
}
