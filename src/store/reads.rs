//! Lists and single rows, each within one organization.

use diesel::prelude::*;

use super::Store;
use super::connection::{AnyConnection, MultiBackend, on_snapshot};
use super::fault::StoreFault;
use super::load::{sizes, with_parts};
use super::pages::{MAX_PAGE, all, asked, cut, page};
use super::rows::{ApprovalRow, ConversationRow, MessageRow, clean, corrupt, id, json, owned};
use super::schema::{approval, conversation, fact, idempotency, message, project, turn};
use crate::domain::approval::Approval;
use crate::domain::ids::{
    ApprovalId, ConversationId, MessageId, OrganizationId, PartId, ProjectId, Timestamp, TurnId, UserId,
};
use crate::domain::message::Message;
use crate::domain::record::{Idempotency, Page, StoredFact};
use crate::domain::settings::{ConversationState, Entity, Project, Settings, Visibility};

/// Which conversations are asked for, newest first.
#[derive(Debug, Clone)]
pub struct ConversationQuery {
    pub organization: OrganizationId,
    /// Sees its own and those of the organization.
    pub viewer: UserId,
    /// Sees all of them: for the administration.
    pub see_all: bool,
    pub project: Option<ProjectId>,
    pub status: Option<ConversationState>,
    /// Only conversations of this owner.
    pub user: Option<UserId>,
    /// Only those about such an entity.
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    /// The last one of the page before.
    pub cursor: Option<ConversationId>,
    pub limit: usize,
}

/// A user's conversation about an entity.
#[derive(Debug, Clone)]
pub struct EntityQuery {
    pub organization: OrganizationId,
    pub user: UserId,
    /// What kind of door began it, where it is about none.
    pub channel: &'static str,
    pub entity: Option<Entity>,
    pub agent: String,
}

fn list_conversations(
    c: &mut AnyConnection,
    q: &ConversationQuery,
) -> Result<Page<Settings, ConversationId>, StoreFault> {
    let mut query = conversation::table
        .filter(conversation::organization_id.eq(q.organization.to_string()))
        .select(ConversationRow::as_select())
        .into_boxed::<MultiBackend>();
    if !q.see_all {
        let own = conversation::user_id.eq(q.viewer.to_string());
        query = query.filter(own.or(conversation::visibility.eq(Visibility::Organization.name())));
    }
    if let Some(project) = q.project {
        query = query.filter(conversation::project_id.eq(project.to_string()));
    }
    if let Some(status) = q.status {
        query = query.filter(conversation::state.eq(status.name()));
    }
    if let Some(user) = &q.user {
        query = query.filter(conversation::user_id.eq(user.to_string()));
    }
    if let Some(kind) = &q.entity_type {
        query = query.filter(conversation::entity_type.eq(owned(kind)));
    }
    if let Some(id) = &q.entity_id {
        query = query.filter(conversation::entity_id.eq(owned(id)));
    }
    if let Some(cursor) = q.cursor {
        query = query.filter(conversation::id.lt(cursor.to_string()));
    }
    let mut rows = query.order(conversation::id.desc()).limit(asked(q.limit)).load(c)?;
    let more = cut(&mut rows, q.limit);
    let items: Vec<Settings> = all(rows)?;
    let next = if more { items.last().map(|settings| settings.id) } else { None };
    Ok(Page { items, next })
}

/// Bytes of one page of messages; the newest one is in it however long it is.
const PAGE_BYTES: i64 = 4 << 20;

fn list_messages(
    c: &mut AnyConnection,
    organization: &str,
    conversation: &str,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Option<Page<Message, MessageId>>, StoreFault> {
    let of_this = message::organization_id.eq(organization).and(message::conversation_id.eq(conversation));
    let mut query = message::table.filter(of_this).select(MessageRow::as_select()).into_boxed::<MultiBackend>();
    if let Some(before) = before {
        let place: Option<(i64, i32)> = message::table
            .filter(of_this)
            .filter(message::id.eq(before.to_string()))
            .select((message::turn_no, message::idx))
            .first(c)
            .optional()?;
        let Some((turn_no, idx)) = place else { return Ok(None) };
        let earlier = message::turn_no.lt(turn_no);
        query = query.filter(earlier.or(message::turn_no.eq(turn_no).and(message::idx.lt(idx))));
    }
    let mut rows: Vec<MessageRow> =
        query.order((message::turn_no.desc(), message::idx.desc())).limit(asked(limit)).load(c)?;
    let mut more = cut(&mut rows, limit);
    let sizes = sizes(c, organization, &rows)?;
    let mut bytes = 0;
    let fits = |row: &&MessageRow| {
        bytes += sizes.get(&row.id).copied().unwrap_or(0);
        bytes <= PAGE_BYTES
    };
    // Where even the first does not fit it comes alone.
    let keep = rows.iter().take_while(fits).count().max(1);
    more |= keep < rows.len();
    rows.truncate(keep);
    rows.reverse();
    let items = with_parts(c, organization, rows)?;
    let next = if more { items.first().map(|message| message.id) } else { None };
    Ok(Some(Page { items, next }))
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = project)]
pub(super) struct ProjectRow {
    pub(super) organization_id: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created_at: i64,
}

impl TryFrom<ProjectRow> for Project {
    type Error = StoreFault;

    fn try_from(row: ProjectRow) -> Result<Self, StoreFault> {
        Ok(Self {
            id: id(&row.id, ProjectId::parse)?,
            organization: id(&row.organization_id, OrganizationId::parse)?,
            name: row.name,
            created_at: Timestamp(row.created_at),
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = fact)]
struct FactRow {
    n: i64,
    at: i64,
    kind: String,
    turn_id: Option<String>,
    user_id: Option<String>,
    refs: String,
}

impl TryFrom<FactRow> for StoredFact {
    type Error = StoreFault;

    fn try_from(row: FactRow) -> Result<Self, StoreFault> {
        Ok(Self {
            n: u64::try_from(row.n).map_err(|_| corrupt("a fact's number", &row.n))?,
            at: Timestamp(row.at),
            kind: row.kind,
            turn: row.turn_id.map(|t| id(&t, TurnId::parse)).transpose()?,
            by: row.user_id.map(|u| id(&u, UserId::parse)).transpose()?,
            refs: json("a fact's references", &row.refs)?,
        })
    }
}

type Asked = (ConversationId, Approval);

fn with_home(row: ApprovalRow) -> Result<Asked, StoreFault> {
    Ok((id(&row.conversation_id, ConversationId::parse)?, row.try_into()?))
}

impl Store {
    /// Conversations with a turn that has not ended, of all organizations: for the start of the hub alone.
    pub async fn unsettled(&self) -> Result<Vec<(OrganizationId, ConversationId)>, StoreFault> {
        self.read(|c| {
            let rows: Vec<(String, String)> = turn::table
                .filter(turn::live)
                .select((turn::organization_id, turn::conversation_id))
                .distinct()
                .order((turn::organization_id, turn::conversation_id))
                .load(c)?;
            let parse = |(o, c): (String, String)| Ok((id(&o, OrganizationId::parse)?, id(&c, ConversationId::parse)?));
            rows.into_iter().map(parse).collect()
        })
        .await
    }

    pub async fn idempotency(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        key: &str,
    ) -> Result<Option<Idempotency>, StoreFault> {
        let (organization, user, key) = (organization.to_string(), user.clone(), key.to_owned());
        self.read(move |c| {
            let row: Option<(Vec<u8>, String)> = idempotency::table
                .find((organization, user.to_string(), clean(&key)))
                .select((idempotency::request, idempotency::answer))
                .first(c)
                .optional()?;
            let Some((request, answer)) = row else { return Ok(None) };
            let request = request.try_into().map_err(|bytes: Vec<u8>| corrupt("the length of a hash", &bytes.len()))?;
            Ok(Some(Idempotency { user, key, request, answer }))
        })
        .await
    }

    /// Newest first, by the time they were made: a page is stable while others come and change.
    pub async fn conversations(&self, query: ConversationQuery) -> Result<Page<Settings, ConversationId>, StoreFault> {
        self.read(move |c| list_conversations(c, &query)).await
    }

    pub async fn conversation(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
    ) -> Result<Option<Settings>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let row: Option<ConversationRow> = conversation::table
                .find((organization, conversation.to_string()))
                .select(ConversationRow::as_select())
                .first(c)
                .optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// The user's newest conversation of that channel which is not archived.
    pub async fn find_by_channel(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        channel: &str,
    ) -> Result<Option<ConversationId>, StoreFault> {
        let (organization, user, channel) = (organization.to_string(), user.to_string(), owned(channel));
        self.read(move |c| {
            let found: Option<String> = conversation::table
                .filter(conversation::organization_id.eq(organization))
                .filter(conversation::user_id.eq(user))
                .filter(conversation::channel.eq(channel))
                .filter(conversation::state.ne(ConversationState::Archived.name()))
                .order(conversation::id.desc())
                .select(conversation::id)
                .first(c)
                .optional()?;
            found.map(|text| id(&text, ConversationId::parse)).transpose()
        })
        .await
    }

    /// The user's newest conversation about that entity with that agent which is not archived. Those about none are
    /// looked for among the ones that the channel began.
    pub async fn find_by_entity(&self, query: EntityQuery) -> Result<Option<ConversationId>, StoreFault> {
        self.read(move |c| {
            let mut found = conversation::table
                .filter(conversation::organization_id.eq(query.organization.to_string()))
                .filter(conversation::user_id.eq(query.user.to_string()))
                .filter(conversation::agent.eq(owned(&query.agent)))
                .filter(conversation::state.ne(ConversationState::Archived.name()))
                .select(conversation::id)
                .into_boxed::<MultiBackend>();
            found = match &query.entity {
                Some(entity) => found
                    .filter(conversation::entity_type.eq(owned(&entity.kind)))
                    .filter(conversation::entity_id.eq(owned(&entity.id))),
                None => {
                    found.filter(conversation::entity_type.is_null()).filter(conversation::channel.eq(query.channel))
                }
            };
            let found: Option<String> = found.order(conversation::id.desc()).first(c).optional()?;
            found.map(|text| id(&text, ConversationId::parse)).transpose()
        })
        .await
    }

    /// The newest messages before `before`, oldest first, at most `limit` and some 4 MiB of them. `None` where `before`
    /// is no message of the conversation.
    /// Text that still grows is not in it: that is the conversation's own to tell.
    pub async fn messages(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Option<Page<Message, MessageId>>, StoreFault> {
        let (organization, conversation) = (organization.to_string(), conversation.to_string());
        self.read(move |c| on_snapshot(c, |c| list_messages(c, &organization, &conversation, before, limit))).await
    }

    pub async fn project(
        &self,
        organization: &OrganizationId,
        wanted: ProjectId,
    ) -> Result<Option<Project>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let row: Option<ProjectRow> = project::table
                .find((organization, wanted.to_string()))
                .select(ProjectRow::as_select())
                .first(c)
                .optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    pub async fn find_project(&self, organization: &OrganizationId, name: &str) -> Result<Option<Project>, StoreFault> {
        let (organization, name) = (organization.to_string(), owned(name));
        self.read(move |c| {
            let row: Option<ProjectRow> = project::table
                .filter(project::organization_id.eq(organization))
                .filter(project::name.eq(name))
                .select(ProjectRow::as_select())
                .first(c)
                .optional()?;
            row.map(TryInto::try_into).transpose()
        })
        .await
    }

    /// An organization's projects, newest first.
    pub async fn projects(
        &self,
        organization: &OrganizationId,
        cursor: Option<ProjectId>,
        limit: usize,
    ) -> Result<Page<Project, ProjectId>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let mut query = project::table
                .filter(project::organization_id.eq(organization))
                .select(ProjectRow::as_select())
                .into_boxed::<MultiBackend>();
            if let Some(cursor) = cursor {
                query = query.filter(project::id.lt(cursor.to_string()));
            }
            let rows: Vec<ProjectRow> = query.order(project::id.desc()).limit(asked(limit)).load(c)?;
            page(rows, limit, |project: &Project| project.id)
        })
        .await
    }

    /// Approvals that wait, oldest first: in the user's own conversations, or with `see_all` in any of them.
    pub async fn pending_approvals(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        see_all: bool,
    ) -> Result<Vec<Asked>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| {
            let of_conversation = conversation::organization_id
                .eq(approval::organization_id)
                .and(conversation::id.eq(approval::conversation_id));
            let mut query = approval::table
                .inner_join(conversation::table.on(of_conversation))
                .filter(approval::organization_id.eq(organization))
                .filter(approval::pending)
                .select(ApprovalRow::as_select())
                .into_boxed::<MultiBackend>();
            if !see_all {
                query = query.filter(conversation::user_id.eq(user));
            }
            let rows: Vec<ApprovalRow> = query.order((approval::requested_at, approval::id)).load(c)?;
            rows.into_iter().map(with_home).collect()
        })
        .await
    }

    /// An approval with its decision, and the conversation it belongs to.
    pub async fn approval(
        &self,
        organization: &OrganizationId,
        wanted: ApprovalId,
    ) -> Result<Option<Asked>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let row: Option<ApprovalRow> = approval::table
                .find((organization, wanted.to_string()))
                .select(ApprovalRow::as_select())
                .first(c)
                .optional()?;
            row.map(with_home).transpose()
        })
        .await
    }

    /// Which conversation a tool call that was asked about belongs to.
    pub async fn approval_of_call(
        &self,
        organization: &OrganizationId,
        call: PartId,
    ) -> Result<Option<ConversationId>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let row: Option<ApprovalRow> = approval::table
                .filter(approval::organization_id.eq(organization))
                .filter(approval::call_id.eq(call.to_string()))
                .select(ApprovalRow::as_select())
                .first(c)
                .optional()?;
            row.map(with_home).transpose().map(|found| found.map(|(conversation, _)| conversation))
        })
        .await
    }

    /// A conversation's approvals, decided ones too, oldest first.
    pub async fn approvals(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
    ) -> Result<Vec<Approval>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let rows: Vec<ApprovalRow> = approval::table
                .filter(approval::organization_id.eq(organization))
                .filter(approval::conversation_id.eq(conversation.to_string()))
                .order((approval::requested_at, approval::id))
                .select(ApprovalRow::as_select())
                .load(c)?;
            all(rows)
        })
        .await
    }

    /// Facts after number `after`, in order; 0 begins at the first.
    pub async fn facts(
        &self,
        organization: &OrganizationId,
        conversation: ConversationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredFact>, StoreFault> {
        let (organization, after) = (organization.to_string(), i64::try_from(after).unwrap_or(i64::MAX));
        let limit = i64::try_from(limit.min(MAX_PAGE)).unwrap_or(i64::MAX);
        self.read(move |c| {
            let rows: Vec<FactRow> = fact::table
                .filter(fact::organization_id.eq(organization))
                .filter(fact::conversation_id.eq(conversation.to_string()))
                .filter(fact::n.gt(after))
                .order(fact::n)
                .limit(limit)
                .select(FactRow::as_select())
                .load(c)?;
            all(rows)
        })
        .await
    }
}
