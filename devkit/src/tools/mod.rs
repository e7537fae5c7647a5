//! Programs that only some tests use, each installed into the [`cache`](crate::cache) when the first test asks for it:
//! one file for each tool, which says where it comes from, how it is pinned and what it costs.

pub mod argocd;
pub mod kstatus;
