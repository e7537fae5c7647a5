//! The domain core that all generations share: the event store with its write models, the commands that append to it,
//! the projection that reads show, and the users. Nothing here knows a wire shape.

pub(crate) mod clock;
pub(crate) mod command;
pub(crate) mod endpoint;
pub(crate) mod projection;
pub(crate) mod query;
pub(crate) mod store;
pub(crate) mod system_users;
pub(crate) mod users;
pub(crate) mod window;
