//! The default connection: the flags that say where ZITADEL is and what to prove oneself with.
//!
//! Files are named here and read later, for every call: they may be missing at start and change at any time.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use url::Url;

use crate::zitadel::ApiChoice;
use crate::zitadel::auth::{ClientAuth, Credential, Source};
use crate::zitadel::transport::{Proxy, RATE, Settings};

#[derive(Debug, Args)]
pub(super) struct ZitadelArgs {
    /// Where ZITADEL answers: scheme, host and port only, such as `https://auth.example.com`
    #[arg(long, env = "ZITADEL_URL", value_name = "URL", value_parser = origin, requires = "credential")]
    zitadel_url: Option<Url>,

    /// External domain of the instance, when the URL is an in-cluster address; sent as Host
    #[arg(long, env = "ZITADEL_HOST", value_name = "HOST", value_parser = host, requires = "zitadel_url")]
    zitadel_host: Option<http::HeaderValue>,

    /// PEM file with the certificate authorities to trust instead of the system's
    #[arg(long, env = "ZITADEL_CA_FILE", value_name = "FILE", requires = "zitadel_url")]
    zitadel_ca_file: Option<PathBuf>,

    /// Generation of the Actions API: auto (the newest that the server has), v3alpha (ZITADEL 2.52 to 2.58),
    /// resources/v3alpha (2.59 to 2.71), v2beta (3) or v2 (4)
    #[arg(long, env = "ZITADEL_API", value_name = "API", default_value_t = ApiChoice::Auto)]
    zitadel_api: ApiChoice,

    #[command(flatten)]
    credential: CredentialArgs,

    /// File with the client secret that belongs to the client id
    #[arg(long, env = "ZITADEL_CLIENT_SECRET_FILE", value_name = "FILE", requires = "client_id")]
    zitadel_client_secret_file: Option<PathBuf>,

    /// File with the RSA private key of the system user, in PEM form; may be replaced at any time
    #[arg(long, env = "ZITADEL_SYSTEM_USER_KEY_FILE", value_name = "FILE", requires = "system_user")]
    zitadel_system_user_key_file: Option<PathBuf>,

    /// How client id and secret are sent: basic (a header) or post (in the form)
    #[arg(long, env = "ZITADEL_CLIENT_AUTH", value_name = "WAY", default_value = "basic")]
    zitadel_client_auth: ClientAuth,

    /// Go by the proxies that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name; otherwise they are ignored
    #[arg(long, env = "ZITADEL_USE_PROXY")]
    zitadel_use_proxy: bool,

    /// Allow http to other hosts than loopback: the token then crosses the network in the clear
    #[arg(long, env = "ZITADEL_ALLOW_HTTP")]
    zitadel_allow_http: bool,

    /// Longest time for one call to ZITADEL, in seconds; creates and updates get three times as much, up to 45
    #[arg(long, env = "ZITADEL_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=60))]
    zitadel_timeout: u64,
}

/// One of these with a URL; each belongs to a service account with the role `IAM_OWNER`.
#[derive(Debug, Args)]
#[group(id = "credential", requires = "zitadel_url", multiple = false)]
struct CredentialArgs {
    /// File with a personal access token of a service account with the role `IAM_OWNER`; may be replaced at any time
    #[arg(long = "zitadel-token-file", env = "ZITADEL_TOKEN_FILE", value_name = "FILE")]
    token: Option<PathBuf>,

    /// JSON key file of a service account, as ZITADEL issues it; may be replaced at any time
    #[arg(long = "zitadel-key-file", env = "ZITADEL_KEY_FILE", value_name = "FILE")]
    key: Option<PathBuf>,

    /// File with the client id of a service account (its user name); may be replaced at any time
    #[arg(
        long = "zitadel-client-id-file",
        env = "ZITADEL_CLIENT_ID_FILE",
        value_name = "FILE",
        requires = "zitadel_client_secret_file"
    )]
    client_id: Option<PathBuf>,

    /// Name of a system user of ZITADEL (`SystemAPIUsers` in its configuration), which signs its own tokens
    #[arg(
        long = "zitadel-system-user",
        env = "ZITADEL_SYSTEM_USER",
        value_name = "NAME",
        requires = "zitadel_system_user_key_file"
    )]
    system_user: Option<String>,
}

fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; write scheme, host and port, such as https://auth.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("write an http or https URL, such as https://auth.example.com".to_owned());
    }
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !plain || !url.username().is_empty() || url.password().is_some() {
        return Err("write scheme, host and port only".to_owned());
    }
    Ok(url)
}

fn host(text: &str) -> Result<http::HeaderValue, String> {
    let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let value = http::HeaderValue::from_str(text).ok().filter(|_| valid);
    value.ok_or_else(|| "write a host name, such as auth.example.com".to_owned())
}

impl ZitadelArgs {
    /// Where requests of the default connection go.
    pub(super) const fn url(&self) -> Option<&Url> {
        self.zitadel_url.as_ref()
    }

    /// The generation that is asked for.
    pub(super) const fn api(&self) -> ApiChoice {
        self.zitadel_api
    }

    /// Longest time for one call.
    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.zitadel_timeout)
    }

    /// Whether http is allowed to other hosts than loopback.
    pub(super) const fn allows_http(&self) -> bool {
        self.zitadel_allow_http
    }

    /// The way to all connections.
    pub(super) const fn proxy(&self) -> Proxy {
        if self.zitadel_use_proxy { Proxy::Environment } else { Proxy::None }
    }

    /// The files whose change may mend the connection.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let CredentialArgs { token, key, client_id, system_user: _ } = &self.credential;
        let (secret, system_key) = (&self.zitadel_client_secret_file, &self.zitadel_system_user_key_file);
        let files = [&self.zitadel_ca_file, token, key, client_id, secret, system_key];
        files.into_iter().flatten().cloned().collect()
    }

    fn credential(&self) -> Result<Credential, String> {
        let CredentialArgs { token, key, client_id, system_user } = &self.credential;
        let source = |file: &PathBuf| Source::File(file.clone());
        let client = (client_id, &self.zitadel_client_secret_file);
        let system = (system_user, &self.zitadel_system_user_key_file);
        match (token, key, client, system) {
            (Some(file), None, (None, None), (None, None)) => Ok(Credential::PersonalAccessToken(source(file))),
            (None, Some(file), (None, None), (None, None)) => Ok(Credential::PrivateKeyJwt(source(file))),
            (None, None, (None, None), (Some(name), Some(file))) => {
                Ok(Credential::SystemUser { name: name.clone(), key: source(file) })
            }
            (None, None, (Some(id), Some(secret)), (None, None)) => Ok(Credential::ClientCredentials {
                id: source(id),
                secret: source(secret),
                method: self.zitadel_client_auth,
            }),
            _ => Err("error: give one of --zitadel-token-file, --zitadel-key-file, --zitadel-client-id-file with \
                      --zitadel-client-secret-file, or --zitadel-system-user with --zitadel-system-user-key-file (see \
                      --help)"
                .to_owned()),
        }
    }

    /// What the client of the default connection needs, if there is one.
    ///
    /// # Errors
    /// One line about what does not go together.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let Some(url) = &self.zitadel_url else { return Ok(None) };
        let loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() == "http" && !loopback && !self.zitadel_allow_http {
            return Err("error: --zitadel-url must be https, or the token would cross the network in the clear; \
                        --zitadel-allow-http allows it (see --help)"
                .to_owned());
        }
        Ok(Some(Settings {
            url: url.clone(),
            host: self.zitadel_host.clone(),
            ca: self.zitadel_ca_file.clone().map(Source::File),
            proxy: self.proxy(),
            credential: self.credential()?,
            rate: RATE,
            timeout: self.timeout(),
        }))
    }
}
