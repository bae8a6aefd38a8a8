//! The name of a gallery on a cluster.

use std::fmt;
use std::str::FromStr;

use crate::GalleryError;

/// The port of Qdrant's gRPC interface.
const DEFAULT_PORT: u16 = 6334;
const PLAIN: &str = "qdrant://";
const TLS: &str = "qdrants://";

/// Where a collection is: `qdrant://HOST[:PORT][,HOST[:PORT]…]/NAME`, or `qdrants://…` with TLS.
///
/// Several hosts are nodes of one cluster; where one does not answer, the next is asked. `NAME` is
/// a collection or an alias of one. The port is that of gRPC, 6334 unless another is given.
///
/// ```
/// use lookalike_gallery::ClusterAddress;
///
/// let address: ClusterAddress = "qdrant://one,two:7334/photos".parse()?;
/// assert_eq!(address.to_string(), "qdrant://one:6334,two:7334/photos");
/// assert!(ClusterAddress::is_address("qdrants://one/photos"));
/// assert!(!ClusterAddress::is_address("photos.gallery"));
/// # Ok::<(), lookalike_gallery::GalleryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAddress {
    tls: bool,
    /// Each with its port.
    hosts: Vec<String>,
    name: String,
}

impl ClusterAddress {
    /// Whether a gallery's name means one on a cluster; otherwise it is a folder. An address of
    /// another kind means one as well, and is refused when it is read: nobody wants a folder of
    /// that name.
    pub fn is_address(name: &str) -> bool {
        name.contains("://")
    }

    /// The collection's or alias's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same cluster's collection or alias of another name.
    ///
    /// # Errors
    /// [`GalleryError::BadRequest`] if it cannot be one's name.
    pub fn named(&self, name: &str) -> Result<Self, GalleryError> {
        check_name(name).map_err(|why| {
            GalleryError::BadRequest(format!("{name:?} can be no name of a collection: {why}"))
        })?;
        Ok(Self {
            name: name.to_owned(),
            ..self.clone()
        })
    }

    /// How many nodes it names.
    #[cfg(feature = "cluster")]
    pub(crate) fn nodes(&self) -> usize {
        self.hosts.len()
    }

    /// The nodes' addresses, for the client.
    #[cfg(feature = "cluster")]
    pub(crate) fn urls(&self) -> impl Iterator<Item = String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.hosts
            .iter()
            .map(move |host| format!("{scheme}://{host}"))
    }
}

impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { TLS } else { PLAIN };
        write!(f, "{scheme}{}/{}", self.hosts.join(","), self.name)
    }
}

impl FromStr for ClusterAddress {
    type Err = GalleryError;

    /// # Errors
    /// [`GalleryError::BadRequest`] says what of the address cannot be understood.
    fn from_str(text: &str) -> Result<Self, GalleryError> {
        // Never with what was given: a key may have been typed into it.
        let bad = |why: &str| {
            GalleryError::BadRequest(format!(
                "the address of the gallery on a cluster cannot be used: {why}; write it as \
                 qdrant://host:6334/name, or qdrants:// with TLS"
            ))
        };
        let (tls, rest) = match (text.strip_prefix(TLS), text.strip_prefix(PLAIN)) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(bad("it begins with neither qdrant:// nor qdrants://"));
            }
        };
        if rest.contains('@') {
            return Err(bad(
                "it has an @ in it; an API key is taken from LOOKALIKE_QDRANT_API_KEY",
            ));
        }
        let (hosts, name) = rest.split_once('/').ok_or_else(|| bad("it has no name"))?;
        check_name(name).map_err(bad)?;
        let hosts = hosts
            .split(',')
            .map(host_with_port)
            .collect::<Result<_, _>>()
            .map_err(bad)?;
        Ok(Self {
            tls,
            hosts,
            name: name.to_owned(),
        })
    }
}

fn host_with_port(text: &str) -> Result<String, &'static str> {
    // An IPv6 address stands in brackets, so that its colons are not taken for a port's.
    let end = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[end..].split_once(':') {
        Some((host, port)) => {
            let port: u16 = port
                .parse()
                .map_err(|_| "the port must be a number from 0 to 65535")?;
            (&text[..end + host.len()], port)
        }
        None => (text, DEFAULT_PORT),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    match !host.is_empty() && host.chars().all(plain) {
        true => Ok(format!("{host}:{port}")),
        false => Err("the host name is empty or has a character that is not allowed"),
    }
}

/// Qdrant keeps collections in folders of their names.
fn check_name(name: &str) -> Result<(), &'static str> {
    let bad = |c: char| c.is_control() || "<>:\"/\\|?*#".contains(c);
    match name {
        "" => Err("the name is empty"),
        "." | ".." => Err("the name means a folder"),
        name if name.len() > 255 => Err("the name is longer than 255 bytes"),
        name if name.contains(bad) => Err(
            "the name has a character that is not allowed (< > : \" / \\ | ? * # or a control character)",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("qdrant://h/n", "qdrant://h:6334/n"),
            ("qdrants://h:1/n", "qdrants://h:1/n"),
            (
                "qdrant://a,b:2,c/n-1.x y",
                "qdrant://a:6334,b:2,c:6334/n-1.x y",
            ),
            ("qdrant://[::1]/n", "qdrant://[::1]:6334/n"),
            ("qdrant://[::1]:7/n", "qdrant://[::1]:7/n"),
        ] {
            let address: ClusterAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse::<ClusterAddress>().unwrap(), address);
        }
        let address: ClusterAddress = "qdrants://a,b/n".parse().unwrap();
        assert_eq!(
            address.named("m").unwrap().to_string(),
            "qdrants://a:6334,b:6334/m"
        );
        assert!(address.named("a/b").is_err());
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "qdrant://",
            "qdrant://h",
            "qdrant://h/",
            "qdrant:///n",
            "qdrant://a,/n",
            "qdrant://h:99999/n",
            "qdrant://h:x/n",
            "qdrant://h/a/b",
            "qdrant://h/..",
            "qdrant://secret@h/n",
            "qdrant://h h/n",
            "http://h/n",
            "qdrant://h/n?secret",
            "",
        ] {
            let error = text.parse::<ClusterAddress>().unwrap_err().to_string();
            assert!(error.contains("write it as"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[cfg(feature = "cluster")]
    #[test]
    fn every_node_has_an_address() {
        let address: ClusterAddress = "qdrants://a,b:1/n".parse().unwrap();
        let urls: Vec<_> = address.urls().collect();
        assert_eq!(urls, ["https://a:6334", "https://b:1"]);
        assert_eq!(address.nodes(), 2);
    }

    proptest::proptest! {
        /// Whatever is taken for an address is written as one that means the same, and may be asked
        /// for.
        #[test]
        fn what_is_an_address_stays_one(text in "qdrants?://[ah1:,.é\\[\\]@ _-]{0,9}/[nN.é /#]{0,4}") {
            if let Ok(address) = text.parse::<ClusterAddress>() {
                proptest::prop_assert_eq!(address.to_string().parse::<ClusterAddress>().unwrap(), address.clone());
            }
        }
    }
}
