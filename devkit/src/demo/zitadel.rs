//! The ZITADEL of the demo: the stand-in in this process, or a real instance that the user names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use zitadel_stand_in::{Generation, Options, StandIn};

use super::Arguments;
use crate::host::write_private;
use crate::progress::Step;

/// A generation of the Actions API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Api {
    #[default]
    #[value(name = "v3alpha")]
    V3Alpha,
    #[value(name = "resources/v3alpha")]
    ResourcesV3Alpha,
    #[value(name = "v2beta")]
    V2Beta,
    V2,
}

impl Api {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V3Alpha => "v3alpha",
            Self::ResourcesV3Alpha => "resources/v3alpha",
            Self::V2Beta => "v2beta",
            Self::V2 => "v2",
        }
    }

    /// The call that lists targets.
    pub(super) fn search_path(self) -> &'static str {
        match self {
            Self::V3Alpha => "/v3alpha/targets/search",
            Self::ResourcesV3Alpha => "/resources/v3alpha/actions/targets/_search",
            // As the stand-in has it; on v4 it is without the underscore.
            Self::V2Beta => "/v2beta/actions/targets/_search",
            Self::V2 => "/v2/actions/targets/search",
        }
    }

    fn generation(self) -> Generation {
        match self {
            Self::V3Alpha => Generation::V3Alpha,
            Self::ResourcesV3Alpha => Generation::ResourcesV3Alpha,
            Self::V2Beta => Generation::V2Beta,
            Self::V2 => Generation::V2,
        }
    }
}

/// Where the operator's calls go.
#[derive(Debug)]
pub(super) enum Zitadel {
    /// Held for its life: the server ends when it is dropped.
    StandIn {
        server: StandIn,
        access: Access,
    },
    Real {
        access: Access,
    },
}

/// What one needs to call it.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) url: String,
    pub(super) token_file: PathBuf,
    pub(super) api: Api,
}

impl Zitadel {
    /// `dir` takes the token of the stand-in.
    pub(super) async fn start(arguments: &Arguments, dir: &Path) -> Result<Self> {
        let api = arguments.zitadel_api;
        if let (Some(url), Some(file)) = (&arguments.zitadel_url, &arguments.zitadel_token_file) {
            let url = url.trim_end_matches('/').to_owned();
            let token_file = std::path::absolute(file)?;
            return Ok(Self::Real { access: Access { url, token_file, api } });
        }
        let step = Step::start("starting the ZITADEL stand-in");
        let options = Options { generation: api.generation(), ..Options::default() };
        let server = StandIn::start(options).await.context("starting the ZITADEL stand-in")?;
        let token_file = dir.join("zitadel-token");
        write_private(&token_file, &server.token())?;
        let url = server.url();
        step.done(&format!("ZITADEL stand-in ({}) answers at {url}", api.name()));
        Ok(Self::StandIn { server, access: Access { url, token_file, api } })
    }

    pub(super) fn access(&self) -> &Access {
        match self {
            Self::StandIn { access, .. } | Self::Real { access } => access,
        }
    }

    /// Tells the operator where ZITADEL is.
    pub(super) fn configure(&self, operator: &mut Command) {
        let Access { url, token_file, api } = self.access();
        operator.args(["--zitadel-url", url, "--zitadel-api", api.name(), "--zitadel-token-file"]).arg(token_file);
        // Credentials of another kind that happen to be in the user's environment, and settings for a real instance.
        for other in [
            "ZITADEL_KEY_FILE",
            "ZITADEL_CLIENT_ID_FILE",
            "ZITADEL_CLIENT_SECRET_FILE",
            "ZITADEL_SYSTEM_USER",
            "ZITADEL_SYSTEM_USER_KEY_FILE",
        ] {
            operator.env_remove(other);
        }
        if matches!(self, Self::StandIn { .. }) {
            operator.env_remove("ZITADEL_HOST").env_remove("ZITADEL_CA_FILE");
        }
    }
}
