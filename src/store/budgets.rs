//! The books of budgets. Reserving is one transaction of the one writer, so that calls at the same time, of any worker
//! or process, cannot spend the same money; a book's row is locked before it is read.

use std::future::Future;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::fault::{CommitFault, JobFault, StoreFault};
use super::rows::{big, clean, corrupt, json, number, owned};
use super::schema::{budget_book as book, budget_hold as hold};
use super::usage::spent_since;
use super::{Store, insert_new};
use crate::domain::ids::{OrganizationId, Timestamp};
use crate::domain::spending::{Account, Amount, Book, Refusal, Unit};

/// What a call wants to have held for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    pub organization: OrganizationId,
    /// 128 bits that no other call has.
    pub id: u128,
    /// The books of all budgets that apply. Their order is the same in every call.
    pub accounts: Vec<Account>,
    /// What the call may use at most.
    pub most: Amount,
    /// What is booked if the hub dies under the call and nobody can say what it used.
    pub least: Amount,
    pub at: Timestamp,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = hold)]
struct HoldRow {
    organization_id: String,
    id: String,
    budget: String,
    subject: String,
    begins_at: i64,
    tokens: i64,
    micros: i64,
    least_tokens: i64,
    least_micros: i64,
    created_at: i64,
}

/// Where a book lies.
struct Place<'a> {
    organization: &'a str,
    budget: &'a str,
    subject: &'a str,
    begins: i64,
}

type Columns = (i64, i64, i64, i64);

fn book_of((used_tokens, used_micros, held_tokens, held_micros): Columns) -> Result<Book, StoreFault> {
    let amount = |tokens, micros| -> Result<Amount, StoreFault> {
        Ok(Amount { tokens: number("an amount", tokens)?, micros: number("an amount", micros)? })
    };
    Ok(Book { used: amount(used_tokens, used_micros)?, held: amount(held_tokens, held_micros)? })
}

const COLUMNS: (book::used_tokens, book::used_micros, book::held_tokens, book::held_micros) =
    (book::used_tokens, book::used_micros, book::held_tokens, book::held_micros);

/// The book's row: a filter, because a macro can name what a type cannot.
macro_rules! at {
    ($place:expr) => {
        book::table
            .filter(book::organization_id.eq($place.organization))
            .filter(book::budget.eq($place.budget))
            .filter(book::subject.eq($place.subject))
            .filter(book::begins_at.eq($place.begins))
    };
}

impl Place<'_> {
    /// The book, once nobody else may write it until this transaction ends. `None` where there is none.
    fn lock(&self, c: &mut AnyConnection) -> Result<Option<Book>, JobFault> {
        let locked = diesel::update(at!(self)).set(book::held_tokens.eq(book::held_tokens)).execute(c)?;
        if locked == 0 {
            return Ok(None);
        }
        Ok(Some(book_of(at!(self).select(COLUMNS).first(c)?)?))
    }

    fn write(&self, c: &mut AnyConnection, now: &Book) -> QueryResult<usize> {
        let set = (
            book::used_tokens.eq(big(now.used.tokens)),
            book::used_micros.eq(big(now.used.micros)),
            book::held_tokens.eq(big(now.held.tokens)),
            book::held_micros.eq(big(now.held.micros)),
        );
        diesel::update(at!(self)).set(set).execute(c)
    }
}

impl From<StoreFault> for JobFault {
    fn from(fault: StoreFault) -> Self {
        Self::Refused(fault.to_string())
    }
}

/// The account's book, locked. One that is new begins with what the stored turns of its period have used: a budget that
/// was added today counts what was spent this morning.
fn open(c: &mut AnyConnection, organization: &str, account: &Account) -> Result<Book, JobFault> {
    let subject = clean(&account.subject);
    let place = Place { organization, budget: &account.budget, subject: &subject, begins: account.begins.0 };
    if let Some(known) = place.lock(c)? {
        return Ok(known);
    }
    let empty = (
        book::organization_id.eq(organization),
        book::budget.eq(&account.budget),
        book::subject.eq(&*subject),
        book::begins_at.eq(account.begins.0),
        (book::used_tokens.eq(0), book::used_micros.eq(0), book::held_tokens.eq(0), book::held_micros.eq(0)),
    );
    let made = insert_new!(c, book::table, empty)?;
    let mut fresh = place.lock(c)?.unwrap_or_default();
    if made == 1 {
        fresh.used = spent_since(c, organization, account.per, &subject, account.begins)?;
        place.write(c, &fresh)?;
    }
    Ok(fresh)
}

fn reserve(c: &mut AnyConnection, wish: &Reservation) -> Result<Result<(), Refusal>, JobFault> {
    let organization = wish.organization.to_string();
    let mut books = Vec::with_capacity(wish.accounts.len());
    for account in &wish.accounts {
        let book = open(c, &organization, account)?;
        if let Err(refusal) = book.room(account, wish.most) {
            return Ok(Err(refusal));
        }
        books.push(book);
    }
    for (account, mut book) in wish.accounts.iter().zip(books) {
        book.hold(wish.most);
        let subject = owned(&account.subject);
        let place =
            Place { organization: &organization, budget: &account.budget, subject: &subject, begins: account.begins.0 };
        place.write(c, &book)?;
        let row = HoldRow {
            organization_id: organization.clone(),
            id: format!("{:032x}", wish.id),
            budget: account.budget.clone(),
            subject,
            begins_at: account.begins.0,
            tokens: big(wish.most.tokens),
            micros: big(wish.most.micros),
            least_tokens: big(wish.least.tokens),
            least_micros: big(wish.least.micros),
            created_at: wish.at.0,
        };
        diesel::insert_into(hold::table).values(&row).execute(c)?;
    }
    Ok(Ok(()))
}

/// Ends calls: what each used takes the place of what was held for it.
fn settle_rows(c: &mut AnyConnection, rows: Vec<HoldRow>, used: Option<Amount>) -> Result<usize, JobFault> {
    for row in &rows {
        let amount = |tokens, micros| -> Result<Amount, StoreFault> {
            Ok(Amount { tokens: number("an amount", tokens)?, micros: number("an amount", micros)? })
        };
        let held = amount(row.tokens, row.micros)?;
        let used = used.map_or_else(|| amount(row.least_tokens, row.least_micros), Ok)?;
        let place = Place {
            organization: &row.organization_id,
            budget: &row.budget,
            subject: &row.subject,
            begins: row.begins_at,
        };
        // A book that was forgotten by age in the meantime counts for nobody any more.
        if let Some(mut book) = place.lock(c)? {
            book.settle(held, used);
            place.write(c, &book)?;
        }
        let this = hold::table
            .filter(hold::organization_id.eq(&row.organization_id))
            .filter(hold::id.eq(&row.id))
            .filter(hold::budget.eq(&row.budget));
        diesel::delete(this).execute(c)?;
    }
    Ok(rows.len())
}

/// What a process that died had under way: booked with the least that is sure to have been used.
pub(super) fn settle_left(c: &mut AnyConnection) -> Result<usize, JobFault> {
    let rows: Vec<HoldRow> = hold::table.order((hold::created_at, hold::id)).select(HoldRow::as_select()).load(c)?;
    settle_rows(c, rows, None)
}

impl Store {
    /// Holds what a call may use at most in all its books, or in none: then the first budget without room says so.
    pub async fn reserve(&self, wish: Reservation) -> Result<Result<(), Refusal>, CommitFault> {
        self.write(move |c| reserve(c, &wish)).await
    }

    /// Ends a call. Queues that at once, before the first await: whoever reserves after this call sees its end. Gives in
    /// how many books it stood; 0 where it had ended before.
    pub fn settle(
        &self,
        organization: &OrganizationId,
        id: u128,
        used: Amount,
    ) -> impl Future<Output = Result<usize, CommitFault>> + Send + use<> {
        let (organization, id) = (organization.to_string(), format!("{id:032x}"));
        self.write_now(move |c| {
            let these = hold::table.filter(hold::organization_id.eq(organization)).filter(hold::id.eq(id));
            let rows: Vec<HoldRow> = these.order(hold::budget).select(HoldRow::as_select()).load(c)?;
            settle_rows(c, rows, Some(used))
        })
    }

    /// What stands in those books, in their order; nothing where nobody has spent yet.
    pub async fn books(&self, organization: &OrganizationId, accounts: Vec<Account>) -> Result<Vec<Book>, StoreFault> {
        let organization = organization.to_string();
        self.read(move |c| {
            let one = |account: &Account| {
                let subject = clean(&account.subject);
                let place = Place {
                    organization: &organization,
                    budget: &account.budget,
                    subject: &subject,
                    begins: account.begins.0,
                };
                let found: Option<Columns> = at!(place).select(COLUMNS).first(c).optional()?;
                found.map_or(Ok(Book::default()), book_of)
            };
            accounts.iter().map(one).collect()
        })
        .await
    }
}

/// As it lies in a turn's row.
pub(super) fn refusal_text(refusal: &Refusal) -> String {
    serde_json::json!({
        "budget": refusal.budget, "unit": refusal.unit.name(), "limit": refusal.limit, "used": refusal.used, "held": refusal.held,
        "asked": refusal.asked, "renews": refusal.renews.0,
    })
    .to_string()
}

pub(super) fn refusal(text: &str) -> Result<Refusal, StoreFault> {
    let value = json("a refusal", text)?;
    let part = |name: &str| value[name].as_u64().ok_or_else(|| corrupt("a refusal", &text));
    let word = |name: &str| value[name].as_str().ok_or_else(|| corrupt("a refusal", &text));
    Ok(Refusal {
        budget: word("budget")?.to_owned(),
        unit: Unit::parse(word("unit")?).ok_or_else(|| corrupt("a refusal", &text))?,
        limit: part("limit")?,
        used: part("used")?,
        held: part("held")?,
        asked: part("asked")?,
        renews: Timestamp(value["renews"].as_i64().ok_or_else(|| corrupt("a refusal", &text))?),
    })
}
