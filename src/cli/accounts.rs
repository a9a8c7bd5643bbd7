//! `switchboard user|org|key|audit`: who may come in, administered by whoever sits at the hub's own machine. A hub that
//! runs hears of every change by itself.

use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::table::{Table, line};
use super::token::{organization, role, seconds, user};
use super::{Failure, open_shared, say};
use crate::auth::accounts::{Accounts, AuditFilter, NewKey, NewUser, UserChange};
use crate::auth::{first_start, folder};
use crate::config::Config;
use crate::domain::account::{ApiKey, Organization, StoredAudit, User};
use crate::domain::command::{Caller, Page, PageRequest};
use crate::domain::ids::{OrganizationId, Source, SystemSource, Timestamp, UserId};
use crate::domain::principal::{Credential, Principal, Role};
use crate::error::Fault;
use crate::store::Store;

/// How many entries of a list are read at a time.
const PAGE: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Where {
    /// The organization.
    #[arg(long, value_name = "O", default_value = first_start::ORGANIZATION, value_parser = organization)]
    org: OrganizationId,
}

#[derive(Debug, Args)]
pub(super) struct Form {
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Show the users of an organization.
    List {
        #[command(flatten)]
        at: Where,
        /// Only those whose id holds this.
        #[arg(long, value_name = "TEXT")]
        find: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Make a user.
    Add {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
        /// owner, admin, operator, member or viewer.
        #[arg(long, value_name = "R", default_value = "member", value_parser = role)]
        role: Role,
        /// Whether this user administers the whole hub.
        #[arg(long)]
        hub_admin: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Change a user's role or rights over the hub.
    Set {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
        /// The stored role, which counts from now on whatever a token claims.
        #[arg(long, value_name = "R", value_parser = role, required_unless_present = "hub_admin")]
        role: Option<Role>,
        /// Whether this user administers the whole hub: `--hub-admin` or `--hub-admin=false`.
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        hub_admin: Option<bool>,
    },
    /// Let a user come in no more, by any credential.
    Disable {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
    },
    /// Let a user come in again.
    Enable {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
    },
    /// Set a password, read from standard input.
    Password {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
        /// Take the password away.
        #[arg(long)]
        remove: bool,
    },
    /// End a user's browser sessions, tickets, and all tokens issued until now.
    SignOut {
        #[arg(value_parser = user)]
        user: UserId,
        #[command(flatten)]
        at: Where,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OrgCommand {
    /// Show all organizations.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Make an organization.
    Add {
        #[arg(value_parser = organization)]
        org: OrganizationId,
        /// What people call it; its id if nothing is said.
        #[arg(long)]
        name: Option<String>,
    },
    /// Let nobody of an organization come in.
    Disable {
        #[arg(value_parser = organization)]
        org: OrganizationId,
    },
    /// Let an organization come in again.
    Enable {
        #[arg(value_parser = organization)]
        org: OrganizationId,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Show the API keys of an organization.
    List {
        #[command(flatten)]
        at: Where,
        /// Only this user's.
        #[arg(long, value_name = "U", value_parser = user)]
        user: Option<UserId>,
        #[command(flatten)]
        form: Form,
    },
    /// Make an API key and print it, alone, on standard output. It cannot be shown again.
    Add {
        /// Whom it acts as.
        #[arg(long, value_name = "U", value_parser = user)]
        user: UserId,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// How long it counts, such as 1h or 90d; until it is revoked if nothing is said.
        #[arg(long, value_name = "TTL", value_parser = seconds)]
        ttl: Option<i64>,
        #[command(flatten)]
        at: Where,
    },
    /// Revoke an API key.
    Revoke {
        /// Its id, such as key_….
        id: String,
        #[command(flatten)]
        at: Where,
    },
}

#[derive(Debug, Args)]
pub(super) struct AuditWish {
    /// Only this organization's; without it all of the hub's.
    #[arg(long, value_name = "O", value_parser = organization)]
    org: Option<OrganizationId>,
    /// Only what this user did.
    #[arg(long, value_name = "U", value_parser = user)]
    actor: Option<UserId>,
    /// Only this, such as admin.users.update.
    #[arg(long)]
    action: Option<String>,
    /// How many, the newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    form: Form,
}

/// The accounts of the data folder and the operator who asks.
struct Desk {
    accounts: Accounts,
    store: Store,
    caller: Caller,
}

impl Desk {
    async fn open(config: &Config, word: &str) -> Result<Self, Failure> {
        folder::create(&config.server.data).map_err(Failure::Failed)?;
        let store = open_shared(config)?;
        // So that a folder begun by this command has its owner, and nobody else takes the name.
        let owner = first_start::create_owner(&store, SystemSource.now()).await?;
        let caller = operator(owner.organization, word)?;
        Ok(Self { accounts: Accounts::new(store.clone(), Arc::new(config.clone()), None), store, caller })
    }

    /// Ends with the store closed, also where the command failed.
    async fn close<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        self.store.close().await;
        done
    }

    /// The organization, which must exist.
    async fn known(&self, at: &Where) -> Result<OrganizationId, Fault> {
        self.accounts.organization(&self.caller.principal, Some(at.org.as_str())).await
    }
}

/// Whoever runs a command on the hub's own machine may do everything.
pub(super) fn operator(organization: OrganizationId, word: &str) -> Result<Caller, Failure> {
    let user = UserId::parse("operator").map_err(|_| Failure::Failed("the operator has no name".into()))?;
    let principal = Principal {
        organization,
        user,
        role: Role::Owner,
        hub_admin: true,
        permissions: Vec::new(),
        credential: Credential::Operator,
        expires_at: None,
    };
    let request_id = format!("req_{:032x}", uuid::Uuid::now_v7().as_u128());
    let login = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default();
    let origin =
        if login.is_empty() { format!("switchboard {word}") } else { format!("switchboard {word} by {login}") };
    Ok(Caller { principal: Arc::new(principal), request_id, origin: origin.into(), address: None })
}

/// All pages of a list, up to `most` entries.
async fn all<T, F>(most: usize, mut read: impl FnMut(PageRequest) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<Page<T>, Fault>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    while items.len() < most {
        let page = read(PageRequest { cursor, limit: PAGE.min(most - items.len()) }).await?;
        items.extend(page.items);
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    Ok(items)
}

pub(super) async fn users(config: &Config, command: UserCommand) -> Result<(), Failure> {
    let password = match &command {
        UserCommand::Password { remove: false, .. } => Some(password_from_input()?),
        _ => None,
    };
    let desk = Desk::open(config, "user").await?;
    let done = user_command(&desk, command, password).await;
    desk.close(done).await
}

async fn user_command(desk: &Desk, command: UserCommand, password: Option<SecretString>) -> Result<(), Failure> {
    let change = |change: UserChange| change;
    let (at, user, change) = match command {
        UserCommand::List { at, find, form } => {
            let org = desk.known(&at).await?;
            let read = |page| {
                let (org, find) = (&org, find.clone());
                async move { desk.accounts.users(&desk.caller, org, find, &page).await }
            };
            let users = all(usize::MAX, read).await?;
            return show(&form, &users);
        }
        UserCommand::Add { user, at, role, hub_admin, form } => {
            let org = desk.known(&at).await?;
            let new = NewUser { id: user, role, hub_admin, password: None };
            let made = desk.accounts.create_user(&desk.caller, &org, new).await?;
            return show(&form, &[made]);
        }
        UserCommand::Set { user, at, role, hub_admin } => {
            (at, user, change(UserChange { role, hub_admin, ..UserChange::default() }))
        }
        UserCommand::Disable { user, at } => {
            (at, user, change(UserChange { disabled: Some(true), ..UserChange::default() }))
        }
        UserCommand::Enable { user, at } => {
            (at, user, change(UserChange { disabled: Some(false), ..UserChange::default() }))
        }
        UserCommand::Password { user, at, .. } => {
            (at, user, change(UserChange { password: Some(password), ..UserChange::default() }))
        }
        UserCommand::SignOut { user, at } => (at, user, change(UserChange { sign_out: true, ..UserChange::default() })),
    };
    let org = desk.known(&at).await?;
    let changed = desk.accounts.update_user(&desk.caller, &org, &user, change).await?;
    show(&Form { json: false }, &[changed])
}

/// The first line of standard input, without its end.
fn password_from_input() -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_line(&mut text);
    read.map_err(|error| Failure::Failed(format!("standard input cannot be read: {error}")))?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(password.into())
}

pub(super) async fn organizations(config: &Config, command: OrgCommand) -> Result<(), Failure> {
    let desk = Desk::open(config, "org").await?;
    let done = organization_command(&desk, command).await;
    desk.close(done).await
}

async fn organization_command(desk: &Desk, command: OrgCommand) -> Result<(), Failure> {
    let (accounts, caller) = (&desk.accounts, &desk.caller);
    match command {
        OrgCommand::List { form } => {
            let read = |page| async move { accounts.organizations(caller, &page).await };
            show(&form, &all(usize::MAX, read).await?)
        }
        OrgCommand::Add { org, name } => {
            show(&Form { json: false }, &[accounts.create_organization(caller, org, name.as_deref()).await?])
        }
        OrgCommand::Disable { org } => {
            show(&Form { json: false }, &[accounts.set_organization_disabled(caller, &org, true).await?])
        }
        OrgCommand::Enable { org } => {
            show(&Form { json: false }, &[accounts.set_organization_disabled(caller, &org, false).await?])
        }
    }
}

pub(super) async fn keys(config: &Config, command: KeyCommand) -> Result<(), Failure> {
    let desk = Desk::open(config, "key").await?;
    let done = key_command(&desk, command).await;
    desk.close(done).await
}

async fn key_command(desk: &Desk, command: KeyCommand) -> Result<(), Failure> {
    let (accounts, caller) = (&desk.accounts, &desk.caller);
    match command {
        KeyCommand::List { at, user, form } => {
            let org = desk.known(&at).await?;
            let read = |page| {
                let (org, user) = (&org, user.as_ref());
                async move { accounts.keys(caller, org, user, &page).await }
            };
            show(&form, &all(usize::MAX, read).await?)
        }
        KeyCommand::Add { user, name, ttl, at } => {
            let org = desk.known(&at).await?;
            let expires_at = ttl.map(|seconds| SystemSource.now().plus_millis(seconds.saturating_mul(1000)));
            let (_, key) = accounts.create_key(caller, &org, NewKey { user, name, expires_at }).await?;
            say(key.expose_secret())
        }
        KeyCommand::Revoke { id, at } => {
            let org = desk.known(&at).await?;
            accounts.revoke_key(caller, &org, &id).await?;
            say(&format!("{} is revoked", line(&id)))
        }
    }
}

pub(super) async fn audit(config: &Config, wish: AuditWish) -> Result<(), Failure> {
    let desk = Desk::open(config, "audit").await?;
    let done = audit_command(&desk, wish).await;
    desk.close(done).await
}

async fn audit_command(desk: &Desk, wish: AuditWish) -> Result<(), Failure> {
    let org = match &wish.org {
        Some(org) => Some(desk.accounts.organization(&desk.caller.principal, Some(org.as_str())).await?),
        None => None,
    };
    let filter = AuditFilter { actor: wish.actor, action: wish.action, ..AuditFilter::default() };
    let read = |page| {
        let (org, filter) = (org.as_ref(), filter.clone());
        async move { desk.accounts.audit(&desk.caller, org, filter, &page).await }
    };
    show(&wish.form, &all(wish.limit as usize, read).await?)
}

/// What stands in a line of a table.
trait Shown {
    const TITLES: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
    fn json(&self) -> serde_json::Value;
}

fn show<T: Shown>(form: &Form, items: &[T]) -> Result<(), Failure> {
    if form.json {
        return say(&serde_json::Value::from(items.iter().map(Shown::json).collect::<Vec<_>>()).to_string());
    }
    let mut table = Table::new(T::TITLES);
    for item in items {
        table.add(&item.cells());
    }
    say(&table.print())
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".into(), Timestamp::to_rfc3339)
}

impl Shown for User {
    const TITLES: &'static [&'static str] = &["USER", "ORGANIZATION", "ROLE", "MANAGED", "HUB ADMIN", "DISABLED"];

    fn cells(&self) -> Vec<String> {
        let yes = |value: bool| if value { "yes" } else { "-" }.to_owned();
        let (managed, hub_admin) = (yes(self.managed), yes(self.hub_admin));
        let role = self.role.name().to_owned();
        vec![self.id.to_string(), self.organization.to_string(), role, managed, hub_admin, time(self.disabled_at)]
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id.as_str(),
            "organization": self.organization.as_str(),
            "role": self.role.name(),
            "managed": self.managed,
            "hubAdmin": self.hub_admin,
            "createdAt": self.created_at.to_rfc3339(),
            "disabledAt": self.disabled_at.map(Timestamp::to_rfc3339),
        })
    }
}

impl Shown for Organization {
    const TITLES: &'static [&'static str] = &["ORGANIZATION", "NAME", "CREATED", "DISABLED"];

    fn cells(&self) -> Vec<String> {
        vec![self.id.to_string(), self.name.clone(), self.created_at.to_rfc3339(), time(self.disabled_at)]
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id.as_str(),
            "name": self.name,
            "createdAt": self.created_at.to_rfc3339(),
            "disabledAt": self.disabled_at.map(Timestamp::to_rfc3339),
        })
    }
}

impl Shown for ApiKey {
    const TITLES: &'static [&'static str] = &["KEY", "USER", "NAME", "CREATED", "EXPIRES", "REVOKED"];

    fn cells(&self) -> Vec<String> {
        let created = self.created_at.to_rfc3339();
        let (expires, revoked) = (time(self.expires_at), time(self.revoked_at));
        vec![self.id.to_string(), self.user.to_string(), self.name.clone(), created, expires, revoked]
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id.to_string(),
            "user": self.user.as_str(),
            "name": self.name,
            "createdAt": self.created_at.to_rfc3339(),
            "expiresAt": self.expires_at.map(Timestamp::to_rfc3339),
            "revokedAt": self.revoked_at.map(Timestamp::to_rfc3339),
        })
    }
}

impl Shown for StoredAudit {
    const TITLES: &'static [&'static str] =
        &["AT", "ORGANIZATION", "ACTOR", "BY", "ACTION", "TARGET", "OUTCOME", "ORIGIN", "DETAILS"];

    fn cells(&self) -> Vec<String> {
        let e = &self.entry;
        let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        vec![
            e.at.to_rfc3339(),
            or(e.organization.as_ref().map(ToString::to_string)),
            or(e.actor.as_ref().map(ToString::to_string)),
            or(e.credential.as_ref().map(|credential| credential.name().to_owned())),
            e.action.clone(),
            or(e.target.clone()),
            or(e.outcome.clone()),
            e.origin.clone(),
            e.details.to_string(),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let e = &self.entry;
        let credential = e.credential.as_ref();
        serde_json::json!({
            "n": self.n,
            "at": e.at.to_rfc3339(),
            "organization": e.organization.as_ref().map(OrganizationId::as_str),
            "actor": e.actor.as_ref().map(UserId::as_str),
            "credential": credential.map(|c| serde_json::json!({ "kind": c.name(), "id": c.id() })),
            "action": e.action,
            "target": e.target,
            "details": e.details,
            "outcome": e.outcome,
            "origin": e.origin,
            "requestId": e.request_id,
        })
    }
}
