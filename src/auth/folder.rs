//! The data folder and the secrets in it: made at the first start, readable by their owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::keys;

/// Where the hub's own JWT secret is kept.
pub fn jwt_secret_path(data: &Path) -> PathBuf {
    data.join("secrets").join("jwt")
}

/// Makes the data folder and the folder of secrets where they are missing, for this user alone.
pub fn create(data: &Path) -> Result<(), String> {
    for folder in [data.to_path_buf(), data.join("secrets")] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    }
    check_private(&data.join("secrets"), 0o700)
}

/// Refuses what others may read: a secret that was readable is no secret.
pub fn check_private(path: &Path, mode: u32) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let found = metadata.mode() & 0o777;
    if found & !mode == 0 {
        return Ok(());
    }
    Err(format!(
        "{} may be read or written by others (mode {found:04o}); run `chmod {mode:o} {}`, and renew the secret if \
         anybody else uses this machine",
        path.display(),
        path.display()
    ))
}

/// The secret in the data folder; a new one where there is none. Several processes may race: the first one counts.
pub fn jwt_secret(data: &Path) -> Result<SecretString, String> {
    create(data)?;
    let path = jwt_secret_path(data);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let fresh = keys::generate("").map_err(|fault| fault.message)?;
    let cannot = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    // Written aside and linked into place: nobody ever reads half a secret, and an existing one is never replaced.
    let aside = keys::generate("new-").map_err(|fault| fault.message)?;
    let aside = path.with_file_name(aside.expose_secret());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(cannot)?;
    file.write_all(fresh.expose_secret().as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
    let linked = fs::hard_link(&aside, &path);
    let _ = fs::remove_file(&aside);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(error)),
    }
    if let Ok(folder) = fs::File::open(data.join("secrets")) {
        let _ = folder.sync_all();
    }
    read(&path)?.ok_or_else(|| format!("{} vanished while it was made", path.display()))
}

fn read(path: &Path) -> Result<Option<SecretString>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    check_private(path, 0o600)?;
    let secret = text.trim();
    if secret.len() < 32 {
        return Err(format!(
            "{} holds {} bytes and needs at least 32; remove it and a new secret is made (all tokens end then)",
            path.display(),
            secret.len()
        ));
    }
    Ok(Some(secret.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_secret_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("deep/data");
        let first = jwt_secret(&data).unwrap();
        assert_eq!(jwt_secret(&data).unwrap().expose_secret(), first.expose_secret());
        assert_eq!((mode(&data), mode(&data.join("secrets")), mode(&jwt_secret_path(&data))), (0o700, 0o700, 0o600));
        assert_eq!(fs::read_dir(data.join("secrets")).unwrap().count(), 1);
    }

    #[test]
    fn racing_starts_agree_on_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let seen: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| jwt_secret(&data).unwrap())).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(seen.iter().all(|secret| secret.expose_secret() == seen[0].expose_secret()));
        assert_eq!(fs::read_dir(data.join("secrets")).unwrap().count(), 1);
    }

    #[test]
    fn loose_permissions_and_short_secrets_are_refused_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        jwt_secret(&data).unwrap();
        let path = jwt_secret_path(&data);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(jwt_secret(&data).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(jwt_secret(&data).unwrap_err().contains("at least 32"));
        fs::set_permissions(data.join("secrets"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(jwt_secret(&data).unwrap_err().contains("chmod 700"));
    }
}
