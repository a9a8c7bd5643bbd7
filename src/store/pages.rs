//! How a list is cut into pages.

use super::fault::StoreFault;
use crate::domain::record::Page;

/// The longest page of any list.
pub(super) const MAX_PAGE: usize = 1000;

/// Rows to ask for: one more than the page holds, to see whether there are more.
pub(super) fn asked(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, MAX_PAGE) + 1).unwrap_or(i64::MAX)
}

/// Cuts the row too much off. Says whether there was one.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: usize) -> bool {
    let limit = limit.clamp(1, MAX_PAGE);
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}

pub(super) fn all<R, T: TryFrom<R, Error = StoreFault>>(rows: Vec<R>) -> Result<Vec<T>, StoreFault> {
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A page of rows that were asked for with `asked`, and the name of its last one if there are more.
pub(super) fn page<R, T, C>(
    mut rows: Vec<R>,
    limit: usize,
    cursor: impl FnOnce(&T) -> C,
) -> Result<Page<T, C>, StoreFault>
where
    T: TryFrom<R, Error = StoreFault>,
{
    let more = cut(&mut rows, limit);
    let items: Vec<T> = all(rows)?;
    let next = items.last().filter(|_| more).map(cursor);
    Ok(Page { items, next })
}
