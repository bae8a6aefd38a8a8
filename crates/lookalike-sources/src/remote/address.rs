//! From an address to its store, with the credentials and settings of the environment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::error::SourceError;
use crate::open::refuse;

/// A place in an object store.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The address before an object's path: `s3://bucket`.
    pub(super) root: String,
    pub(super) path: Path,
    /// It ends in `/`, and so cannot be an object.
    pub(super) is_folder: bool,
}

impl Address {
    /// An object's address, as people write it.
    pub(super) fn of(&self, path: &Path) -> String {
        format!("{}/{path}", self.root)
    }
}

/// `s3://bucket/path` as `s3://bucket` and `path`.
pub(super) fn split(spec: &str) -> (&str, &str) {
    let begin = spec.find("://").map_or(0, |scheme| scheme + 3);
    match spec[begin..].find('/') {
        Some(slash) => (&spec[..begin + slash], &spec[begin + slash + 1..]),
        None => (spec, ""),
    }
}

/// Makes the store that an address begins with; nothing is sent yet.
pub(super) fn parse(
    spec: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Address, SourceError> {
    let (root, rest) = split(spec);
    let scheme = root.split("://").next().unwrap_or_default();
    let web = matches!(scheme, "http" | "https");
    if web && rest.contains(['?', '#']) {
        let reason = "addresses with ? or # are not supported; give the plain address of a file";
        return Err(refuse(spec, reason));
    }
    let allows_http = environment.get("AWS_ALLOW_HTTP").is_some_and(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "1" | "yes" | "on"
        )
    });
    if scheme == "http" && !allows_http {
        let reason =
            "http is not encrypted; use https, or set AWS_ALLOW_HTTP=true if you trust the network";
        return Err(refuse(spec, reason));
    }
    let path = match web {
        true => Path::from_url_path(rest),
        false => Path::parse(rest.trim_end_matches('/')),
    };
    let path = path.map_err(|error| {
        refuse(
            spec,
            format!("its path cannot be that of an object: {error}"),
        )
    })?;
    install_cryptography();
    let store = build(scheme, root, environment, allows_http)
        .ok_or_else(|| {
            let reason = "addresses begin with s3://, gs://, az:// or https://";
            refuse(spec, reason)
        })?
        .map_err(|error| {
            let reason = format!("{error}; look at the settings in the environment");
            refuse(spec, reason)
        })?;
    Ok(Address {
        store,
        root: root.to_owned(),
        path,
        is_folder: rest.is_empty() || rest.ends_with('/'),
    })
}

fn build(
    scheme: &str,
    root: &str,
    environment: &BTreeMap<String, String>,
    allows_http: bool,
) -> Option<object_store::Result<Arc<dyn ObjectStore>>> {
    let options = ClientOptions::new().with_timeout(Duration::from_secs(120));
    let retry = RetryConfig {
        max_retries: 4,
        retry_timeout: Duration::from_secs(60),
        ..RetryConfig::default()
    };
    // As the builders' own `from_env` does, for an environment that was given.
    let settings = |prefix: &'static str| {
        let own = environment
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix));
        own.map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
    };
    fn shared<S: ObjectStore>(
        store: object_store::Result<S>,
    ) -> object_store::Result<Arc<dyn ObjectStore>> {
        store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
    }
    Some(match scheme {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::new().with_client_options(options);
            for (key, value) in settings("AWS_") {
                if let Ok(key) = key.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            shared(builder.with_retry(retry).with_url(root).build())
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::new().with_client_options(options);
            if let Some(path) = environment.get("SERVICE_ACCOUNT") {
                builder = builder.with_service_account_path(path);
            }
            for (key, value) in settings("GOOGLE_") {
                if let Ok(key) = key.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            shared(builder.with_retry(retry).with_url(root).build())
        }
        "az" | "azure" | "abfs" | "abfss" => {
            let mut builder = MicrosoftAzureBuilder::new().with_client_options(options);
            for (key, value) in settings("AZURE_") {
                if let Ok(key) = key.parse() {
                    builder = builder.with_config(key, value);
                }
            }
            shared(builder.with_retry(retry).with_url(root).build())
        }
        "http" | "https" => {
            let options = options.with_allow_http(allows_http);
            let builder = HttpBuilder::new()
                .with_url(root)
                .with_client_options(options);
            shared(builder.with_retry(retry).build())
        }
        _ => return None,
    })
}

/// TLS needs one provider of cryptography in the process: ring, unless there is one already.
fn install_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been quicker; its provider does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: &str) -> String {
        match parse(spec, &BTreeMap::new()) {
            Ok(_) => panic!("{spec} was not refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn addresses_have_a_store_and_a_path() {
        let none = BTreeMap::new();
        let address = parse("s3://bucket/a/b c.tar", &none).unwrap();
        assert_eq!(
            (address.root.as_str(), address.path.as_ref()),
            ("s3://bucket", "a/b c.tar")
        );
        assert!(!address.is_folder);
        assert!(parse("s3://bucket", &none).unwrap().is_folder);
        assert!(parse("gs://bucket/a/", &none).unwrap().is_folder);
        let address = parse("https://host:8443/a/b%20c.jpg", &none).unwrap();
        assert_eq!(address.of(&address.path), "https://host:8443/a/b c.jpg");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_way_out() {
        assert!(refused("ftp://host/x").contains("s3://"));
        assert!(refused("http://host/x").contains("AWS_ALLOW_HTTP"));
        assert!(refused("https://host/x?token=1").contains('?'));
        assert!(refused("az://container/x").contains("environment"));
        let allowed = BTreeMap::from([("AWS_ALLOW_HTTP".to_owned(), "true".to_owned())]);
        assert!(parse("http://host/x", &allowed).is_ok());
    }
}
