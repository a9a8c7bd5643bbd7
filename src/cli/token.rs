//! `switchboard token`: one JWT on standard output, and the rows it needs.

use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;

use super::accounts::operator;
use super::{Failure, open_shared};
use crate::auth::accounts::{Accounts, NewUser, UserChange};
use crate::auth::{self, first_start, folder, jwt::Jwt};
use crate::config::Config;
use crate::domain::account::User;
use crate::domain::ids::{OrganizationId, Source, SystemSource, UserId};
use crate::domain::principal::Role;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Wish {
    /// Who the token is for.
    #[arg(long, value_name = "U", value_parser = user)]
    user: UserId,
    /// The organization.
    #[arg(long, value_name = "O", default_value = first_start::ORGANIZATION, value_parser = organization)]
    org: OrganizationId,
    /// Sets the stored role: owner, admin, operator, member or viewer. Without it a new user is a member, and a known
    /// one keeps its role.
    #[arg(long, value_name = "R", value_parser = role)]
    role: Option<Role>,
    /// Gives the user the administration of the whole hub; `--role owner` in the organization `default` gives it too.
    #[arg(long)]
    hub_admin: bool,
    /// How long it counts, such as 90s, 30m, 1h or 7d.
    #[arg(long, value_name = "TTL", default_value = "1h", value_parser = seconds)]
    ttl: i64,
}

pub(super) fn user(text: &str) -> Result<UserId, &'static str> {
    UserId::parse(text).map_err(|_| "a user is 1 to 200 bytes of printable text")
}

pub(super) fn organization(text: &str) -> Result<OrganizationId, &'static str> {
    OrganizationId::parse(text).map_err(|_| "an organization is 1 to 200 bytes of printable text")
}

pub(super) fn role(text: &str) -> Result<Role, &'static str> {
    Role::parse(&text.to_ascii_lowercase()).ok_or("a role is one of owner, admin, operator, member, viewer")
}

/// A number and its unit, in seconds; at most ten years.
pub(super) fn seconds(text: &str) -> Result<i64, &'static str> {
    const ALLOWED: &str = "a time is a number and s, m, h or d, from 1s to 3650d";
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(ALLOWED),
    };
    let number: i64 = number.parse().map_err(|_| ALLOWED)?;
    number.checked_mul(each).filter(|seconds| (1..=3650 * 86_400).contains(seconds)).ok_or(ALLOWED)
}

pub(super) async fn make(config: &Config, wish: &Wish) -> Result<SecretString, Failure> {
    folder::create(&config.server.data).map_err(Failure::Failed)?;
    let secret = auth::secret(config).map_err(Failure::Failed)?;
    let store = open_shared(config)?;
    let now = SystemSource.now();
    // So that a folder begun by this command has its owner, and nobody else takes the name.
    first_start::create_owner(&store, now).await?;
    first_start::ensure_organization(&store, &wish.org, now).await?;
    let made = prepared(&store, config, wish).await;
    store.close().await;
    let user = made?;
    let token = Jwt::new(&secret, &config.auth).mint(&user.organization, &user.id, user.role, now, wish.ttl)?;
    Ok(token.into())
}

/// The user's row as the token needs it. That a token is made is on the record before it is.
async fn prepared(store: &Store, config: &Config, wish: &Wish) -> Result<User, Failure> {
    let accounts = Accounts::new(store.clone(), Arc::new(config.clone()), None);
    let caller = operator(wish.org.clone(), "token")?;
    let runs_the_hub = wish.org.as_str() == first_start::ORGANIZATION && wish.role == Some(Role::Owner);
    let hub_admin = wish.hub_admin || runs_the_hub;
    let user = match store.user(&wish.org, &wish.user).await? {
        Some(known) if wish.role.is_none() && !hub_admin => known,
        Some(known) => {
            let role = wish.role.filter(|role| *role != known.role || !known.managed);
            let hub_admin = (hub_admin && !known.hub_admin).then_some(true);
            if role.is_none() && hub_admin.is_none() {
                known
            } else {
                let change = UserChange { role, hub_admin, ..UserChange::default() };
                accounts.update_user(&caller, &wish.org, &wish.user, change).await?
            }
        }
        None => {
            let role = wish.role.unwrap_or(Role::Member);
            let new = NewUser { id: wish.user.clone(), role, hub_admin, password: None };
            accounts.create_user(&caller, &wish.org, new).await?
        }
    };
    accounts.record_token(&caller, &user, wish.ttl).await?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, expected) in [("1h", 3600), ("90s", 90), ("30m", 1800), ("7d", 604_800), ("45", 45)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "h", "0s", "-1h", "1w", "1.5h", "9999999999999999999h", "999999d", "é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
