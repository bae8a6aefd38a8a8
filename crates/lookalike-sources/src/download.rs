//! Downloading a file whose content is known beforehand.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::SourceError;

/// How far a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadProgress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The address it comes from.
    pub address: &'a str,
    /// Bytes that have come.
    pub received: u64,
    /// Bytes that will come, if the mirror says so.
    pub total: Option<u64>,
}

/// A gzip file that is known by its unpacked content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The name of the packed file, both at the mirrors and in the folder.
    pub(crate) file: &'a str,
    /// Bytes of the unpacked content.
    pub(crate) bytes: u64,
    /// SHA-256 of the unpacked content, in hex.
    pub(crate) sha256: &'a str,
}

/// Fetches `wanted` from the first mirror that gives a good copy, and puts it into `folder`.
///
/// The bytes go to a file of their own beside the goal, are checked, and only then renamed to it:
/// the goal is never half a file, however many processes download at once, and what failed is taken
/// away.
pub(crate) fn download(
    wanted: &Wanted,
    mirrors: &[String],
    folder: &Path,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<PathBuf, SourceError> {
    let goal = folder.join(wanted.file);
    let refused = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| SourceError::Io {
            doing,
            path,
            source,
        }
    };
    std::fs::create_dir_all(folder).map_err(refused("create the folder", folder))?;
    let mut failures = Vec::new();
    for mirror in mirrors {
        let address = format!("{}/{}", mirror.trim_end_matches('/'), wanted.file);
        // The local disk's faults are not the mirror's: another mirror would not help.
        let mut aside = new_file_aside(folder).map_err(refused("write in", folder))?;
        match fetch(wanted, &address, aside.as_file_mut(), progress) {
            Ok(()) => {}
            Err(Failure::Mirror(reason)) => {
                failures.push(format!("{address}: {reason}"));
                continue;
            }
            Err(Failure::Disk(source)) => return Err(refused("write", aside.path())(source)),
        }
        if let Err(reason) = check(wanted, aside.path()) {
            failures.push(format!("{address}: {reason}"));
            continue;
        }
        aside
            .as_file()
            .sync_all()
            .map_err(refused("write", &goal))?;
        aside
            .persist(&goal)
            .map_err(|error| refused("write", &goal)(error.error))?;
        // The new name is durable once the folder is; a folder that cannot be synced is no fault.
        let _ = lookalike_files::sync_folder(folder);
        return Ok(goal);
    }
    Err(SourceError::Download {
        file: wanted.file.to_owned(),
        failures,
    })
}

/// A new file of a name of its own in `folder`, gone when dropped unless it is renamed to its goal.
pub(crate) fn new_file_aside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lookalike-").suffix(".part");
    #[cfg(unix)]
    {
        // As any file: the user's umask takes away from this.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

enum Failure {
    Mirror(String),
    Disk(io::Error),
}

fn fetch(
    wanted: &Wanted,
    address: &str,
    file: &mut File,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<(), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("lookalike/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mirror = |error: ureq::Error| Failure::Mirror(error.to_string());
    let body = agent.get(address).call().map_err(mirror)?.into_body();
    let total = body.content_length();
    // Packed is never much larger than unpacked.
    let most = wanted.bytes + (1 << 16);
    let mut reader = body.into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        progress(DownloadProgress {
            file: wanted.file,
            address,
            received,
            total,
        });
        let come = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(come) => come,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::Mirror(format!(
                    "broken off after {received} bytes: {error}"
                )));
            }
        };
        received += come as u64;
        if received > most {
            return Err(Failure::Mirror(format!(
                "more than {most} bytes; not the file"
            )));
        }
        file.write_all(&buffer[..come]).map_err(Failure::Disk)?;
    }
    match total {
        Some(total) if total != received => Err(Failure::Mirror(format!(
            "broken off after {received} of {total} bytes"
        ))),
        _ => Ok(()),
    }
}

/// Compares the unpacked content with what is wanted.
fn check(wanted: &Wanted, path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut content = MultiGzDecoder::new(file).take(wanted.bytes + 1);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(come) => {
                hasher.update(&buffer[..come]);
                bytes += come as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("not a gzip file, or a damaged one: {error}")),
        }
    }
    if bytes != wanted.bytes {
        let found = if bytes > wanted.bytes {
            "more"
        } else {
            "fewer"
        };
        return Err(format!(
            "expected {} bytes once unpacked, found {found}",
            wanted.bytes
        ));
    }
    let found: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found != wanted.sha256 {
        return Err(format!(
            "expected the SHA-256 {}, found {found}",
            wanted.sha256
        ));
    }
    Ok(())
}
