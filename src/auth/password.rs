//! Passwords of people: argon2id, off the workers' threads, and never more of it at once than memory allows.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::sign_in::SignedIn;
use super::{Authenticator, fault_of, first_start};
use crate::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use crate::error::{Code, Fault};

/// Characters a password has at least.
pub const SHORTEST: usize = 12;
/// Bytes a password has at most.
pub const LONGEST: usize = 1024;

/// Hashes made at the same time; each takes 19 MiB.
const AT_ONCE: usize = 4;
/// Askers that may wait for their turn.
const WAITING: usize = 64;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes and verifies hashes.
pub struct Passwords {
    turns: Arc<Semaphore>,
    places: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Semaphore::new(WAITING) }
    }
}

/// Whether a text may be a password: `bad_request` says why not.
pub fn check(password: &SecretString) -> Result<(), Fault> {
    let text = password.expose_secret();
    if text.chars().count() < SHORTEST {
        return Err(Fault::field("password", format!("must have at least {SHORTEST} characters")));
    }
    if text.len() > LONGEST {
        return Err(Fault::field("password", format!("must have at most {LONGEST} bytes")));
    }
    Ok(())
}

impl Passwords {
    /// The hash to keep, a PHC string. `bad_request` for what may be no password, `rate_limited` where too many wait.
    pub async fn hash(&self, password: SecretString) -> Result<String, Fault> {
        check(&password)?;
        let made = self.work(move || {
            let hash = Argon2::default().hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
        });
        made.await?.map_err(|error| Fault::internal(format!("the password could not be hashed: {error}")))
    }

    /// Whether it is the password behind the kept hash. Without one (no such user, or one without a password) the
    /// answer is no and takes as long.
    pub async fn verify(&self, password: SecretString, kept: Option<String>) -> Result<bool, Fault> {
        if password.expose_secret().len() > LONGEST {
            return Ok(false);
        }
        self.work(move || {
            let password = password.expose_secret().as_bytes();
            let kept = kept.as_deref().and_then(|kept| PasswordHash::new(kept).ok());
            match kept {
                Some(kept) => Argon2::default().verify_password(password, &kept).is_ok(),
                None => {
                    // The same work for nothing.
                    let _ = Argon2::default().hash_password(password);
                    false
                }
            }
        })
        .await
    }

    /// Does the work on a thread for what takes long, in its turn. It keeps its turn until it is done, also when nobody
    /// waits for it any more.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let crowded = || Fault::new(Code::RateLimited, "too many passwords are being checked; try again in a moment");
        let _place = self.places.try_acquire().map_err(|_| crowded())?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn: OwnedSemaphorePermit = turn.map_err(|_| crowded())?.map_err(|_| crowded())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Fault::internal("the password could not be checked"))
    }
}

impl Authenticator {
    /// Begins a session for who knows the password. Whatever is wrong, the refusal is the same, and takes as long.
    /// `organization`: without one the configured default, else that of the first start.
    pub async fn sign_in_with_password(
        &self,
        organization: Option<&str>,
        user: &str,
        password: SecretString,
    ) -> Result<SignedIn, Fault> {
        let config = self.config.get();
        let default = Some(config.auth.default_organization.as_str()).filter(|name| !name.is_empty());
        let organization = organization.or(default).unwrap_or(first_start::ORGANIZATION);
        let named = OrganizationId::parse(organization).ok().zip(UserId::parse(user).ok());
        let kept = match &named {
            Some((organization, user)) => self.store.password(organization, user).await.map_err(fault_of)?,
            None => None,
        };
        let refused = || Fault::new(Code::Unauthorized, "the user or the password is not right");
        let right = self.passwords.verify(password, kept).await?;
        let (organization, user) = named.filter(|_| right).ok_or_else(refused)?;
        let account = self.store.user(&organization, &user).await.map_err(fault_of)?;
        let tenant = self.store.organization(&organization).await.map_err(fault_of)?;
        let active = account.is_some_and(|user| user.disabled_at.is_none())
            && tenant.is_some_and(|organization| organization.disabled_at.is_none());
        if !active {
            return Err(refused());
        }
        self.begin_session(organization, user, SystemSource.now()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn secret(text: &str) -> SecretString {
        text.into()
    }

    #[actix_web::test]
    async fn a_password_is_known_by_its_hash_and_no_other_is() {
        let passwords = Passwords::default();
        let kept = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(kept, passwords.hash(secret("correct horse battery")).await.unwrap(), "each has its own salt");
        assert!(passwords.verify(secret("correct horse battery"), Some(kept.clone())).await.unwrap());
        for (wrong, kept) in [
            ("correct horse batterx", Some(kept.clone())),
            ("", Some(kept.clone())),
            ("correct horse battery", None),
            ("correct horse battery", Some("nonsense".into())),
            ("correct horse battery", Some(String::new())),
            (&"x".repeat(2000), Some(kept)),
        ] {
            assert!(!passwords.verify(secret(wrong), kept).await.unwrap(), "{wrong}");
        }
    }

    #[actix_web::test]
    async fn short_and_endless_passwords_are_refused() {
        let passwords = Passwords::default();
        for bad in ["", "elevenchars", &"x".repeat(1025)] {
            let fault = passwords.hash(secret(bad)).await.unwrap_err();
            assert_eq!(fault.code, Code::BadRequest);
        }
        // Characters, not bytes.
        assert!(check(&secret("äöüäöüäöüäö")).is_err());
        assert!(check(&secret("äöüäöüäöüäöü")).is_ok());
        assert!(check(&secret(&"x".repeat(1024))).is_ok());
    }

    #[actix_web::test]
    async fn never_more_at_once_than_there_are_turns_and_a_crowd_is_sent_away() {
        let passwords = Passwords::default();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (running, most) = (running.clone(), most.clone());
            passwords.work(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        let answers = futures_util::future::join_all((0..WAITING + 10).map(|_| work())).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), WAITING);
        let refused = answers.into_iter().find_map(Result::err).unwrap();
        assert_eq!(refused.code, Code::RateLimited);
        assert!(most.load(Ordering::SeqCst) <= AT_ONCE);
        assert!(work().await.is_ok(), "the places are free again");
    }
}
