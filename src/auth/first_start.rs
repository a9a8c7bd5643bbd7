//! The first start: an organization, its owner, and a link that lets the owner in.

use secrecy::{ExposeSecret, SecretString};

use super::keys;
use crate::config::Config;
use crate::domain::account::{Organization, SignInLink, User};
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::principal::Role;
use crate::error::Fault;
use crate::store::Store;

use super::fault_of;

/// The organization of the first start, and of `switchboard token` without `--org`.
pub const ORGANIZATION: &str = "default";
/// The user of the first start.
pub const OWNER: &str = "owner";

fn owner_key() -> Result<(OrganizationId, UserId), Fault> {
    let bad = |_| Fault::internal("the names of the first owner are no names");
    Ok((OrganizationId::parse(ORGANIZATION).map_err(bad)?, UserId::parse(OWNER).map_err(bad)?))
}

/// Makes the organization's row where it is missing.
pub async fn ensure_organization(store: &Store, id: &OrganizationId, now: Timestamp) -> Result<(), Fault> {
    let row = Organization { id: id.clone(), name: id.to_string(), created_at: now, disabled_at: None };
    store.ensure_organization(row).await.map(drop).map_err(fault_of)
}

/// Makes the first owner, who administers the hub, where it is missing. Before anybody can connect: so that no token
/// from elsewhere takes the name first.
pub async fn create_owner(store: &Store, now: Timestamp) -> Result<User, Fault> {
    let (organization, id) = owner_key()?;
    ensure_organization(store, &organization, now).await?;
    let owner = User { managed: true, hub_admin: true, ..User::new(organization, id, Role::Owner, now) };
    store.ensure_user(owner).await.map_err(fault_of)
}

/// A link for the owner, if nobody ever signed in as the owner: at the first start, and again until it was used.
pub async fn invite(store: &Store, config: &Config, now: Timestamp) -> Result<Option<SecretString>, Fault> {
    let owner = create_owner(store, now).await?;
    if store.has_signed_in(&owner.organization, &owner.id).await.map_err(fault_of)? {
        return Ok(None);
    }
    let code = keys::generate("")?;
    let lifetime = i64::try_from(config.auth.sign_in_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let link = SignInLink {
        hash: keys::hash(code.expose_secret()),
        organization: owner.organization,
        user: owner.id,
        created_at: now,
        expires_at: now.plus_millis(lifetime),
    };
    store.put_sign_in_link(link).await.map_err(fault_of)?;
    Ok(Some(format!("{}/sign-in?code={}", config.base_url(), code.expose_secret()).into()))
}
