//! Settings of the hub that were changed while it ran. One document; its number tells every process of a change.

use diesel::prelude::*;
use serde_json::Value;

use super::Store;
use super::changes::one_at_a_time;
use super::fault::{CommitFault, JobFault, StoreFault};
use super::rows::{big, json, number};
use super::schema::hub_settings;
use crate::domain::ids::Timestamp;

impl Store {
    /// The document and its number, where the number is above `n`; 0 finds any.
    pub async fn hub_settings_after(&self, n: u64) -> Result<Option<(u64, Value)>, StoreFault> {
        self.read(move |c| {
            let row: Option<(i64, String)> = hub_settings::table
                .filter(hub_settings::n.gt(big(n)))
                .order(hub_settings::n.desc())
                .select((hub_settings::n, hub_settings::document))
                .first(c)
                .optional()?;
            let read =
                |(n, text): (i64, String)| Ok((number("the number of the settings", n)?, json("settings", &text)?));
            row.map(read).transpose()
        })
        .await
    }

    /// Replaces the document numbered `n` (0: there is none yet). Gives the number of the new one, once it is on disk.
    /// `Conflict` where somebody else was first.
    pub async fn put_hub_settings(&self, n: u64, document: &Value, now: Timestamp) -> Result<u64, CommitFault> {
        let text = document.to_string();
        let done = self.write(move |c| {
            one_at_a_time(c)?;
            let newest: Option<i64> = hub_settings::table.select(diesel::dsl::max(hub_settings::n)).first(c)?;
            if newest.unwrap_or(0) != big(n) {
                return Err(JobFault::Conflict("the configuration was changed at the same time: look again".into()));
            }
            diesel::delete(hub_settings::table).execute(c)?;
            let row = (hub_settings::n.eq(big(n + 1)), hub_settings::at.eq(now.0), hub_settings::document.eq(text));
            diesel::insert_into(hub_settings::table).values(row).execute(c)?;
            Ok(n + 1)
        });
        let done = done.await?;
        self.0.changed.notify_one();
        Ok(done)
    }
}
