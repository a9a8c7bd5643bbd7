//! What was used, by model.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::Store;
use super::connection::AnyConnection;
use super::fault::StoreFault;
use super::pages::all;
use super::rows::id;
use crate::domain::admin::UsageCell;
use crate::domain::command::UsageRow;
use crate::domain::ids::{OrganizationId, Timestamp, UserId};
use crate::domain::spending::{Amount, MOST, Per};
use crate::domain::usage::Usage;

#[derive(QueryableByName)]
struct CellRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    agent: String,
    #[diesel(embed)]
    row: Row,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Text>)]
    provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    model: Option<String>,
    #[diesel(sql_type = BigInt)]
    turns: i64,
    #[diesel(sql_type = BigInt)]
    input: i64,
    #[diesel(sql_type = BigInt)]
    output: i64,
    #[diesel(sql_type = BigInt)]
    cache_read: i64,
    #[diesel(sql_type = BigInt)]
    cache_write: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    cost: Option<i64>,
}

/// Sums come as `numeric` on one backend: each is cast to what the row holds.
const SUMS: &str = "count(*) as turns, \
    cast(coalesce(sum(t.input_tokens), 0) as bigint) as input, \
    cast(coalesce(sum(t.output_tokens), 0) as bigint) as output, \
    cast(coalesce(sum(t.cache_read_tokens), 0) as bigint) as cache_read, \
    cast(coalesce(sum(t.cache_write_tokens), 0) as bigint) as cache_write, \
    cast(sum(t.cost_micros) as bigint) as cost";

#[derive(QueryableByName)]
struct Spent {
    #[diesel(sql_type = BigInt)]
    tokens: i64,
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

/// What the turns of one who spends, that began since `from`, have used.
pub(super) fn spent_since(
    c: &mut AnyConnection,
    organization: &str,
    per: Per,
    subject: &str,
    from: Timestamp,
) -> QueryResult<Amount> {
    let [one, two, three] = marks(c);
    let (join, its) = match per {
        Per::Organization => ("", "''"),
        Per::User => ("", "t.user_id"),
        Per::Agent => {
            ("join conversation c on c.organization_id = t.organization_id and c.id = t.conversation_id", "c.agent")
        }
        Per::Model => (
            "join message m on m.organization_id = t.organization_id and m.id = t.answer_id",
            "m.provider || '/' || m.model",
        ),
    };
    let query = format!(
        "select cast(coalesce(sum(t.input_tokens + t.output_tokens + t.cache_read_tokens + t.cache_write_tokens), 0) \
             as bigint) as tokens, \
         cast(coalesce(sum(t.cost_micros), 0) as bigint) as micros \
         from turn t {join} where t.organization_id = {one} and {its} = {two} and t.started_at >= {three}"
    );
    let spent: Spent = diesel::sql_query(query)
        .bind::<Text, _>(organization)
        .bind::<Text, _>(subject)
        .bind::<BigInt, _>(from.0)
        .get_result(c)?;
    let amount = |sum: i64| u64::try_from(sum).unwrap_or(0).min(MOST);
    Ok(Amount { tokens: amount(spent.tokens), micros: amount(spent.micros) })
}

/// How that backend writes its first three parameters.
fn marks(c: &AnyConnection) -> [&'static str; 3] {
    match c {
        AnyConnection::Sqlite(_) => ["?", "?", "?"],
        AnyConnection::Postgres(_) => ["$1", "$2", "$3"],
    }
}

impl Store {
    /// Turns of one user that began since `from`, summed by provider and model, the most used first.
    pub async fn usage(
        &self,
        organization: &OrganizationId,
        user: &UserId,
        from: Timestamp,
    ) -> Result<Vec<UsageRow>, StoreFault> {
        let (organization, user) = (organization.to_string(), user.to_string());
        self.read(move |c| {
            let query = |mark: [&str; 3]| {
                format!(
                    "select m.provider as provider, m.model as model, {SUMS} from turn t \
                     join message m on m.organization_id = t.organization_id and m.id = t.answer_id \
                     where t.organization_id = {} and t.user_id = {} and t.started_at >= {} \
                     group by m.provider, m.model order by 3 desc",
                    mark[0], mark[1], mark[2]
                )
            };
            let rows: Vec<Row> = diesel::sql_query(query(marks(c)))
                .bind::<Text, _>(organization)
                .bind::<Text, _>(user)
                .bind::<BigInt, _>(from.0)
                .load(c)?;
            Ok(rows.into_iter().map(UsageRow::from).collect())
        })
        .await
    }

    /// Turns of a whole organization that began since `from`, summed by user, agent, provider and model.
    pub async fn usage_of_organization(
        &self,
        organization: &OrganizationId,
        from: Timestamp,
    ) -> Result<Vec<UsageCell>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let query = |mark: [&str; 2]| {
                format!(
                    "select t.user_id as user_id, c.agent as agent, m.provider as provider, m.model as model, {SUMS} \
                     from turn t \
                     join conversation c on c.organization_id = t.organization_id and c.id = t.conversation_id \
                     join message m on m.organization_id = t.organization_id and m.id = t.answer_id \
                     where t.organization_id = {} and t.started_at >= {} \
                     group by t.user_id, c.agent, m.provider, m.model order by 1, 2, 3, 4",
                    mark[0], mark[1]
                )
            };
            let marks = match c {
                super::connection::AnyConnection::Sqlite(_) => ["?", "?"],
                super::connection::AnyConnection::Postgres(_) => ["$1", "$2"],
            };
            let rows: Vec<CellRow> =
                diesel::sql_query(query(marks)).bind::<Text, _>(organization).bind::<BigInt, _>(from.0).load(c)?;
            all(rows)
        })
        .await
    }
}

impl TryFrom<CellRow> for UsageCell {
    type Error = StoreFault;

    fn try_from(cell: CellRow) -> Result<Self, StoreFault> {
        let UsageRow { provider, model, turns, usage } = cell.row.into();
        let user = id(&cell.user_id, UserId::parse)?;
        Ok(Self { user, agent: cell.agent, provider, model, turns, usage })
    }
}

impl From<Row> for UsageRow {
    fn from(row: Row) -> Self {
        let tokens = |n: i64| u64::try_from(n).unwrap_or(0);
        Self {
            provider: row.provider.unwrap_or_default(),
            model: row.model.unwrap_or_default(),
            turns: tokens(row.turns),
            usage: Usage {
                input: tokens(row.input),
                output: tokens(row.output),
                cache_read: tokens(row.cache_read),
                cache_write: tokens(row.cache_write),
                cost: row.cost.map(tokens),
            },
        }
    }
}
